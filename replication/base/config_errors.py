"""The errors that pydantic finds in a configuration, as sentences that a person can act on."""

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from replication.base.errors import UserError

Part = TypeVar("Part", bound=BaseModel)


def validated(cls: type[Part], values: Any, place: str, from_file: bool = True) -> Part:
    """`values` as an instance of `cls`.

    Args:
        cls: A part of the configuration.
        values: What YAML or JSON gave.
        place: Key of the part in the configuration; empty for the whole configuration.
        from_file: Whether they come from a file, where quotes or YAML's reading of a number may be the fault.

    Raises:
        UserError: One sentence per fault, naming the key, the value and what would be right.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise UserError("; ".join(_sentence(fault, place, from_file) for fault in error.errors())) from None


def _sentence(fault: Any, prefix: str, from_file: bool) -> str:
    """One pydantic fault as a sentence: the key, its value, what would be right."""
    # Union branches and pydantic's "[key]" markers are not keys of the file.
    keys = [str(part) for part in fault["loc"] if not re.search(r"[\[(]", str(part))]
    value = fault["input"]
    if fault["type"] == "invalid_key":
        # pydantic names such a key by what is left of it: 0 for the `no` that YAML reads as False.
        keys[-1:] = []
    where = ".".join(filter(None, [prefix, *map(_shown, keys)]))
    place = where or "configuration"
    if fault["type"] == "invalid_key":
        return f"{place}: the key {_shortened(value)} is not text; put it in quotes"
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key; check its spelling or remove it"
    if fault["type"] == "missing":
        return f"{place}: this key is missing"
    if fault["type"] == "value_error":
        # A sentence about the whole configuration names its keys itself.
        return ": ".join(filter(None, [where, str(fault["ctx"]["error"])]))
    expectation = fault["msg"].removeprefix("Input ").replace("'^", "^").replace("$'", "$")
    if not from_file:
        return f"{place}: {expectation}, found {_shortened(value)}"
    hint = "; put it in quotes" if fault["type"] == "string_type" and not isinstance(value, dict | list) else ""
    if isinstance(value, str) and fault["type"] in ("float_type", "int_type"):
        hint = "; write it as a plain number (YAML reads 1e3 as text, 1.0e+3 as a number)"
        if re.fullmatch(r"[-+]?\d+(\.\d+)?", value):
            hint = "; remove its quotes (on Snakemake's command line nested values are text: use a --configfile)"
    return f"{place}: {expectation}, found {_shortened(value)}{hint}"


def _shown(key: str) -> str:
    """A key as in the file; a long or unprintable one as Python writes it."""
    return key if key.isprintable() and len(key) <= 80 else _shortened(key)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
