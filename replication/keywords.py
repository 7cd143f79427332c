"""The keywords by which a vector is given in Python -> an experiment as the configuration has it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from replication.base.config import Experiment
from replication.base.config_errors import validated
from replication.base.errors import UserError
from replication.base.recorded import SIDES
from replication.engine.vector_file import stored_settings
from replication.result import plain


class Added(TypedDict, total=False):
    """An addition, as keywords or in a list; docs/configuration.md says what each is, and its default."""

    layer: int
    """Block whose input is read and changed; 0 is the first. May be left out where the file of `vector` names it."""
    coefficient: float
    """Factor on the vector; may be 0 or negative. May be left out as `layer` may."""
    added: str
    """Text of the added side; left out, the vector is the subtracted side alone."""
    subtracted: str
    """Text of the subtracted side; left out, the vector is the added side alone. An empty text stands for padding."""
    padding: str
    """Text of the token that the shorter side is padded with; left out, a space."""
    position: str | int
    """Where it starts: "front", "middle", "back", or a position."""
    vector: str | Path
    """File of a vector, instead of texts: `Result.save_vector` makes one."""
    positions: Sequence[int]
    """Positions at which a vector of one row is added."""


def experiment_of(
    prompt: str,
    additions: Sequence[Added],
    addition: Added,
    key_tokens: str | Sequence[str | int] = (),
    **settings: Any,
) -> Experiment:
    """The experiment that a call describes.

    Args:
        prompt: Its prompt.
        additions: Several vectors, or none.
        addition: The one vector; empty if there are several.
        key_tokens: Tokens or places that figures single out; one may stand alone.
        settings: What else it has, as the configuration's keys.

    Raises:
        UserError: One sentence: which argument, its value, and what would be right.
    """
    if additions and addition:
        raise UserError(f"{next(iter(addition))}: put it into each of the additions instead")
    named = [key_tokens] if isinstance(key_tokens, str) else [plain(token) for token in key_tokens]
    every = [_settings(each) for each in additions or [addition]]
    settings |= {
        "title": ", then ".join(_title(each) for each in every),
        "prompt": prompt,
        "steering": every,
        "key_tokens": named,
    }
    return validated(Experiment, settings, "", from_file=False)


def _settings(addition: Added) -> dict[str, Any]:
    """An addition as the configuration has it, with Python's own numbers, and settings from a vector's file."""
    settings = {key: plain(value) for key, value in addition.items()}
    if "positions" in settings:
        settings["positions"] = [plain(position) for position in settings["positions"]]
    if "vector" in settings:
        settings["vector"] = str(Path(settings["vector"]).resolve())
        settings = stored_settings(Path(settings["vector"])) | settings
    return settings


def _title(settings: dict[str, Any]) -> str:
    if "vector" in settings:
        return Path(settings["vector"]).name
    sides = [str(settings[side]).strip() or "nothing" for side in SIDES if settings.get(side) is not None]
    return ("" if "added" in settings else "- ") + " - ".join(sides)


@contextmanager
def arguments_named() -> Iterator[None]:
    """Makes errors name an argument, where those of a configuration name its key below `steering`."""
    try:
        yield
    except UserError as error:
        sentence = re.sub(r"(^|; )steering\.(\d)", r"\1additions.\2", str(error))
        raise UserError(re.sub(r"(^|; )(steering\b[.:]|completions\.) ?", r"\1", sentence)) from None
