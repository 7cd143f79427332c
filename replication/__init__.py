"""Replication package for "[ASoT] GPT2 Steering & The Tuned Lens" (Ulisse Mini, 2023).

From Python, `load` a model and `steer` it (docs/python.md). Importing this package imports nothing else: torch must not
be imported before its arithmetic is settled, which `load` does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replication.api import Completion, Model, Result, complete, load, steer, sweep
    from replication.base.errors import UserError

__version__ = "0.1.0"
__all__ = ["Completion", "Model", "Result", "UserError", "complete", "load", "steer", "sweep"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from replication import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """The public names, which nothing has imported yet."""
    return sorted({*globals(), *__all__})
