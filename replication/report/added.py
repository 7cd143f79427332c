"""What the report prints of the vectors that were added: where, of which tokens, with which norms."""

from typing import Any

from replication.base.addition import SPACE, Addition
from replication.base.numbers import signed
from replication.base.recorded import SIDES, additions, block_in_words
from replication.base.window import WIDEST, positions_in_words
from replication.report.markdown import cell


def added(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Each addition: its settings, block and positions in words, and what the record has of it."""
    layers = record["shape"]["layers"]
    return [
        {
            **addition,
            "settings": Addition(**addition["steering"]),
            "block": addition["injection"]["block"],
            "layer": block_in_words(addition, layers),
            "positions": positions_in_words(addition["injection"]["positions"]),
            "sides": [side for side in SIDES if side in addition],
        }
        for addition in additions(record)
    ]


def padding(experiments: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The padding token of most vectors of two sides; None if all are of files."""
    every = [addition["padding"] for each in experiments for addition in each["added"] if "padding" in addition]
    return next((each for each in every if each["token"] == SPACE), every[0] if every else None)


def x_vector_table(record: dict[str, Any]) -> list[list[str]]:
    """The post's table of steering vectors: header, the prompt's row, one row per side or file; cells are Markdown.

    Columns are the sides' own positions, from `<|endoftext|>` on, wherever they were added.
    """
    rows = [["0 (Prompt)", "+1", *_first(record["original_prompt"]["tokens"])]]
    for addition in additions(record):
        layer, factor = str(addition["injection"]["block"]), addition["steering"]["coefficient"]
        for sign, side in ((1, "added"), (-1, "subtracted")):
            if side in addition:
                rows.append([layer, signed(sign * factor, 6, "g"), *_first(addition[side]["tokens"])])
        if "vector" in addition:
            rows.append([layer, signed(factor, 6, "g"), addition["vector"]["file"]])
    width = max(map(len, rows))
    header = ["Layer", "Coeff", *(str(position) for position in range(width - 2))]
    return [header] + [[*row[:2], *map(cell, row[2:]), *[""] * (width - len(row))] for row in rows]


def _first(tokens: list[str]) -> list[str]:
    return tokens if len(tokens) <= WIDEST else [*tokens[:WIDEST], "…"]
