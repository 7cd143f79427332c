"""The positions of an experiment's prompt: the tokens there, where the vector was added, and which are drawn."""

from typing import Any

import pandas as pd

from replication.base.window import BY_POSITION, window, window_note

Record = dict[str, Any]
"""An experiment's record.json."""


def tokens(record: Record) -> tuple[list[str], list[str]]:
    """Context tokens by position, `<|endoftext|>` first, and target tokens, `<|endoftext|>` last."""
    context = record["prompt"]["tokens"]
    return context, [*context[1:], record["prompt"].get("next", record["bos"]["token"])]


def changed_positions(record: Record) -> list[int]:
    """Positions where a vector other than zero was added; position 0 is bos - bos = 0."""
    norms = record["norms"]["vector"]
    return [position for position, norm in zip(record["injection"]["positions"], norms, strict=True) if norm > 0]


def in_window(
    kind: str, losses: pd.DataFrame, effect: pd.DataFrame, record: Record
) -> tuple[pd.DataFrame, pd.DataFrame, Record]:
    """What a kind of figure shows of tables and record: of a long prompt a window, counted from its first position.

    The record then says in `window` which positions those are, and in `prompt` what is `next` after them.
    """
    shown = window(record)
    if kind not in BY_POSITION or len(shown) == len(record["prompt"]["ids"]):
        return losses, effect, record
    start, stop = shown.start, shown.stop
    prompt = {name: values[start:stop] for name, values in record["prompt"].items()}
    part = {
        "window": window_note(record),
        "prompt": prompt | {"next": tokens(record)[1][stop - 1]},
        "key_positions": [key - start for key in record["key_positions"] if key in shown],
        "injection": record["injection"]
        | {"positions": [position - start for position in record["injection"]["positions"] if position in shown]},
        "norms": {"vector": record["norms"]["vector"][start:stop]},
    }
    losses, effect = (
        table[table["position"].isin(shown)].assign(position=lambda rows: rows["position"] - start)
        for table in (losses, effect)
    )
    return losses, effect, record | part
