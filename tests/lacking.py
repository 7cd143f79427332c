"""What a test needs that is not on this machine."""

import os
from typing import NoReturn

import pytest


def lacking(what: str, variable: str, remedy: str) -> NoReturn:
    """Skips the test, or fails it where the environment variable asks for what it needs."""
    assert os.environ.get(variable) != "1", f"{variable}=1, but there is no {what}"
    pytest.skip(f"no {what} here: {remedy}")
