"""The positions of an experiment's prompt: the tokens there, and where the vector was added."""

from typing import Any

Record = dict[str, Any]
"""An experiment's record.json."""


def tokens(record: Record) -> tuple[list[str], list[str]]:
    """Context tokens by position, `<|endoftext|>` first, and target tokens, `<|endoftext|>` last."""
    context = record["prompt"]["tokens"]
    return context, [*context[1:], record["bos"]["token"]]


def changed_positions(record: Record) -> list[int]:
    """Positions where a vector other than zero was added; position 0 is bos - bos = 0."""
    norms = record["norms"]["vector"]
    return [position for position, norm in zip(record["injection"]["positions"], norms, strict=True) if norm > 0]
