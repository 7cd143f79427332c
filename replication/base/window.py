"""Which positions of a long prompt are drawn and printed: neighbours, as many as can be read; the tables hold all."""

from collections.abc import Iterable, Sequence
from typing import Any

WIDEST = 60
"""Most positions that a figure or a printed table shows; a prompt of so many tokens is shown whole."""

_AFTER = 4
"""Positions shown after the last key token."""

MOST_KEYS = 12
"""Most key tokens that get a panel, a sentence or rows of their own."""

BY_POSITION = ("post_raw", "post_centred", "lens", "output", "kl")
"""Kinds of figures that have a column per position."""


def window(record: dict[str, Any]) -> range:
    """The positions that are shown: from 0 on, or moved to the right until the first key tokens are among them."""
    positions, keys = len(record["prompt"]["ids"]), record["key_positions"]
    last = max((key for key in keys if key - keys[0] < WIDEST - _AFTER), default=0)
    stop = min(positions, WIDEST if last < WIDEST else last + 1 + _AFTER)
    return range(max(0, stop - WIDEST), stop)


def window_note(record: dict[str, Any]) -> str:
    """Says which positions of a prompt are shown, and how much of key tokens and vector is not; empty if all are."""
    shown = window(record)
    return "" if len(shown) == len(record["prompt"]["ids"]) else positions_note(record, shown)


def positions_note(record: dict[str, Any], shown: Sequence[int]) -> str:
    """Says which positions, given in ascending order, are shown, and how much of key tokens and vector is not."""
    keys, vector = record["key_positions"], record["injection"]["positions"]
    note = f"{positions_in_words(shown)} of 0 to {len(record['prompt']['ids']) - 1}"
    inside = sum(key in shown for key in keys)
    if inside < len(keys):
        note += f", {inside} of {len(keys)} key tokens"
    if not {vector[0], vector[-1]} <= set(shown):
        note += f"; the vector was added at {vector[0]} to {vector[-1]}"
    return note


def positions_in_words(positions: Sequence[int]) -> str:
    """Ascending positions in words: "position 3", "positions 0 to 2", "positions 1, 4 to 6"."""
    parts = [f"{first} to {last}" if first < last else str(first) for first, last in runs(positions)]
    return f"position{'s' if len(positions) > 1 else ''} {', '.join(parts)}"


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of neighbours, each (first, last)."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def shown_keys(record: dict[str, Any]) -> list[int]:
    """Positions of the key tokens that get a panel, a sentence or rows of their own."""
    return list(record["key_positions"][:MOST_KEYS])


def keys_note(record: dict[str, Any]) -> str:
    """Says which key tokens get a panel, a sentence or rows of their own; empty if all do."""
    keys = len(record["key_positions"])
    return f"the first {MOST_KEYS} of {keys} key tokens" if keys > MOST_KEYS else ""
