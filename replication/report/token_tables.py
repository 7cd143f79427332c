"""The loss of every token as a table to read: contents, caption, and the Markdown of it.

A table is a view of the summary, one per protocol: every token of the prompt has three rows (unsteered, steered,
change) and one column per chosen layer. The summary holds the numbers in full; here they are rounded to `DIGITS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from replication.base.numbers import fixed, general, signed
from replication.base.recorded import SIDES, additions, block_in_words, lens_name
from replication.base.window import positions_in_words, window, window_note
from replication.report import markdown
from replication.verification.summary import chosen_layers

DIGITS = 3
"""Digits after the decimal point, in nats."""

ROWS = {"unsteered": "loss_unsteered", "steered": "loss_steered", "change": "change"}
"""Rows of every token, and the column of `tables.SUMMARY` each is taken from."""


@dataclass(frozen=True)
class Token:
    """A token to be predicted, with its numbers."""

    position: int
    """The position that predicts it."""
    text: str
    key: bool
    """Whether the experiment names it as a key token."""
    cells: dict[str, list[str]]
    """For each of `ROWS` one number per layer, in nats."""


@dataclass(frozen=True)
class TokenTable:
    """What a table says, in no markup yet."""

    model: str
    experiment: str
    protocol: str
    record: dict[str, Any]
    """The experiment's record."""
    note: str | None
    """What a reader must know of the model's numbers."""
    layers: list[str]
    tokens: list[Token]
    """In the order of the prompt; of a long one a window."""


def token_table(
    summary: pd.DataFrame, record: dict[str, Any], experiment: str, protocol: str, note: str | None
) -> TokenTable:
    """The table of one experiment and protocol.

    Args:
        summary: Columns of `tables.SUMMARY`; losses in nats.
        record: The experiment's record.
        experiment: Its name.
        protocol: One of `tables.PROTOCOLS`.
        note: The model's, if it has one.
    """
    layers = chosen_layers(record)
    tokens = []
    printed = summary[(summary["protocol"] == protocol) & summary["position"].isin(window(record))]
    for position, part in printed.groupby("position"):
        by_layer = part.set_index("layer").loc[layers]
        cells = {row: [_cell(value, row) for value in by_layer[column]] for row, column in ROWS.items()}
        first = by_layer.iloc[0]
        tokens.append(Token(int(position), first["target_token"], bool(first["key"]), cells))
    return TokenTable(record["model"], experiment, protocol, record, note, layers, tokens)


def caption_of(table: TokenTable, plain: Callable[[str], str]) -> str:
    """What the table shows, in at most three lines of a page.

    Args:
        table: What the caption is of.
        plain: Writes text in the markup at hand.
    """
    title = markdown.abridged(table.record["experiment"]["title"], 60)
    return plain(
        f"{title}, model {table.model}: loss of every token in nats, unsteered and steered, through the "
        f"{lens_name(table.record)} at the residual stream entering a layer ({table.protocol} protocol), and at the "
        "model's output."
    )


def notes_of(table: TokenTable, plain: Callable[[str], str], token: Callable[[str], str], marked: str) -> str:
    """Prompt, vector, units and conditions.

    Args:
        table: What the notes are on.
        plain: Writes text in the markup at hand.
        token: Writes token text in it.
        marked: How key tokens are set off, such as "bold".
    """
    part = window_note(table.record)
    sentences = [
        plain("Prompt:"),
        token(markdown.abridged(table.record["experiment"]["prompt"])) + plain("."),
        *(_steered(table.record, addition, plain, token) for addition in additions(table.record)),
        plain("Loss: cross-entropy, -log p(token). Position i predicts the token of position i + 1."),
        plain("Change: steered minus unsteered; 0 without decimals means that no bit changed."),
        plain(f"Key tokens are {marked}.") if any(each.key for each in table.tokens) else "",
        plain(f"Shown are {part}; summary.csv has all." if part else ""),
        plain(table.note or ""),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _steered(
    record: dict[str, Any], addition: dict[str, Any], plain: Callable[[str], str], token: Callable[[str], str]
) -> str:
    """What one addition adds, and where."""
    steering, positions = addition["steering"], addition["injection"]["positions"]
    factor, bos = general(steering["coefficient"]), token(record["bos"]["token"]) + plain(",")
    shown = [token(steering[side]) if steering[side] else plain("nothing") for side in SIDES if side in addition]
    if "vector" in addition:
        vector = f"{plain(f'Steered: {factor} times the vector of')} {token(steering['vector'])}{plain(',')}"
    elif len(shown) == 2:
        both = f" {plain('minus')} ".join(shown)
        vector = f"{plain(f'Steered: {factor} times (')}{both}{plain('), each after')} {bos}"
    else:
        sign = "" if "added" in addition else "minus "
        vector = f"{plain(f'Steered: {factor} times {sign}')}{shown[0]}{plain(', after')} {bos}"
    where = f"entering layer {block_in_words(addition, record['shape']['layers'])}"
    return f"{vector} {plain(f'added to the residual stream {where}, {positions_in_words(positions)}.')}"


def markdown_table(table: TokenTable) -> str:
    """The table in Markdown, its caption below it."""
    lines = [
        "| position | token | | " + " | ".join(table.layers) + " |",
        "|---:|---|---|" + "---:|" * len(table.layers),
    ]
    for token in table.tokens:
        shown = markdown.cell(token.text)
        names = [str(token.position), f"**{shown}**" if token.key else shown]
        for row, cells in token.cells.items():
            lines.append("| " + " | ".join([*names, row, *cells]) + " |")
            names = ["", ""]
    caption, notes = caption_of(table, markdown.plain), notes_of(table, markdown.plain, markdown.code, "bold")
    return "\n".join([*lines, "", f"{caption} {notes}", ""])


def _cell(value: float, row: str) -> str:
    return signed(value, DIGITS) if row == "change" else fixed(value, DIGITS)
