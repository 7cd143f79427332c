"""What the fuzz tests share: their two profiles, and how an attempt may end."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from replication.base.errors import UserError

# Examples follow from the tests' source alone: a run on another machine tries the same ones.
_COMMON = settings(
    deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip

Value = TypeVar("Value")


def profile(examples: int) -> settings:
    """Settings of a test that tries so many examples."""
    return settings(_COMMON, max_examples=examples)


WIDE = 20
"""How many times more examples the slow form of a test tries."""

both_profiles = pytest.mark.parametrize(
    "factor", [pytest.param(1, id="short"), pytest.param(WIDE, id="wide", marks=pytest.mark.slow)]
)


def accepted(attempt: Callable[[], Value]) -> Value | None:
    """What `attempt` gives; None where it ends in one sentence for the user. Nothing else may be raised."""
    try:
        return attempt()
    except UserError as error:
        sentence = str(error)
        assert sentence.strip(), "an empty sentence"
        assert "\n" not in sentence, sentence
        assert len(sentence) < 2000, sentence
        return None
