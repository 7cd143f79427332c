"""The table of published against measured values: its rows, its verdicts, and a round trip through a file."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replication.base import tables
from replication.verification.cells import AGREES, DESPITE, DIFFERS, NOT_RUN
from replication.verification.published_sets import LENS, MODELS, WEIGHTS, Array, Check, MeasuredSet, PublishedSet

PUBLISHED = {
    "set": "str",
    "quantity": "str",
    "values": "int64",
    "published": "float64",
    "measured": "float64",
    "difference": "float64",
    "tolerance": "float64",
    "verdict": "str",
    "note": "str",
    "source": "str",
}
"""Columns of the table. A row stands for `values` numbers and shows the one whose difference is largest relative
to its tolerance; `note` says where that is, or why a set was not run. Numbers that were not measured
are missing."""

NUMBERS = [name for name, kind in PUBLISHED.items() if kind == "float64"]
ON_DISK = {name: "str" if name in NUMBERS else kind for name, kind in PUBLISHED.items()}


def sets_to_run(known: Sequence[PublishedSet], sha256: dict[str, str]) -> list[PublishedSet]:
    """The sets that were measured on the weights at hand and, where they need one, their lens.

    Args:
        known: Published sets.
        sha256: SHA-256 of the files at hand, as in a model's stamp.
    """
    own = [each for each in known if each.sha256[WEIGHTS] == sha256[WEIGHTS]]
    return [each for each in own if not each.lens or each.sha256[LENS] == sha256.get(LENS)]


def comparison(known: Sequence[PublishedSet], sha256: dict[str, str], measured: dict[str, MeasuredSet]) -> pd.DataFrame:
    """Every published number that was measured on these weights, beside ours.

    Sets belong to weights by SHA-256. For weights without any, the sets of GPT-2 XL are listed as not run; so are sets
    that need a lens, beside another lens.

    Args:
        known: Published sets.
        sha256: SHA-256 of the files at hand.
        measured: What they give for `sets_to_run`, by the sets' names.

    Returns:
        Columns of `PUBLISHED`.
    """
    own = [each for each in known if each.sha256[WEIGHTS] == sha256[WEIGHTS]]
    if not own:
        absent = [each for each in known if each.model == MODELS[0]]
        return pd.concat([not_run(each, _other(each, sha256, WEIGHTS)) for each in absent], ignore_index=True)
    parts = []
    for each in own:
        if each.lens and each.sha256[LENS] != sha256.get(LENS):
            parts.append(not_run(each, _other(each, sha256, LENS)))
            continue
        ours = measured[each.name]
        parts.append(_tokens_compared(each, ours.token_ids))
        parts += [compared(each, check, values) for check, values in zip(each.checks, ours.values, strict=True)]
    return pd.concat(parts, ignore_index=True)


def _other(published: PublishedSet, ours: dict[str, str], file: str) -> str:
    theirs = published.sha256[file]
    here = f"it is {ours[file][:12]}..." if file in ours else "there is none"
    return f"measured on {published.model}, whose {file} has SHA-256 {theirs[:12]}...; here {here}"


def compared(published: PublishedSet, check: Check, measured: Array) -> pd.DataFrame:
    """Rows of one check: measured against published numbers.

    A number agrees when it is within absolute + relative * |published|; one that is not finite never does.
    """
    if measured.shape != check.expected.shape:
        raise ValueError(
            f"{published.name}, {check.quantity}: measured {measured.shape}, published {check.expected.shape}"
        )
    expected, ours = check.expected.ravel(), measured.ravel()
    tolerance = check.tolerance.absolute + check.tolerance.relative * np.abs(expected)
    difference = np.where(np.isfinite(ours), np.abs(ours - expected), np.inf)
    # A tolerance of 0 requires the exact number: any difference is then infinitely many tolerances.
    excess = np.divide(difference, tolerance, out=np.where(difference > 0, np.inf, 0.0), where=tolerance > 0)
    places = [_place(check.axes, index) for index in np.ndindex(check.expected.shape)]
    rows = []
    for label, cells in _groups(check):
        worst = cells[int(np.argmax(excess[cells]))]
        count = f"largest of {len(cells)} differences, at {places[worst]}" if len(cells) > 1 else ""
        rows.append(
            {
                "set": published.name,
                "quantity": f"{check.quantity}, {label}" if label else check.quantity,
                "values": len(cells),
                "published": expected[worst],
                "measured": ours[worst],
                "difference": ours[worst] - expected[worst],
                "tolerance": tolerance[worst],
                "verdict": AGREES if excess[worst] <= 1 else DIFFERS,
                "note": count,
                "source": _source(published),
            }
        )
    return pd.DataFrame(rows)[list(PUBLISHED)]


def _tokens_compared(published: PublishedSet, token_ids: list[tuple[str, list[int], list[int]]]) -> pd.DataFrame:
    """The row that says whether the tokenizer gives the ids that a set was measured with, BOS and padding included.

    Texts count whole or not at all.
    """
    texts = {(text, tuple(expected)): tuple(ours) for text, expected, ours in token_ids}
    tokens = sum(len(expected) for _, expected in texts)
    agreeing = sum(len(expected) for (_, expected), ours in texts.items() if ours == expected)
    wrong = [text for (text, expected), ours in texts.items() if ours != expected]
    row = {
        "set": published.name,
        "quantity": "token ids of its texts",
        "values": tokens,
        "published": float(tokens),
        "measured": float(agreeing),
        "difference": float(agreeing - tokens),
        "tolerance": 0.0,
        "verdict": DIFFERS if wrong else AGREES,
        "note": f"other ids for {wrong[0]!r}" if wrong else "",
        "source": _source(published),
    }
    return pd.DataFrame([row])[list(PUBLISHED)]


def not_run(published: PublishedSet, reason: str) -> pd.DataFrame:
    """The one row of a set that does not belong to these weights."""
    row: dict[str, Any] = dict.fromkeys(NUMBERS, np.nan) | {
        "set": published.name,
        "quantity": published.measures,
        "values": sum(check.expected.size for check in published.checks),
        "verdict": NOT_RUN,
        "note": reason,
        "source": _source(published),
    }
    return pd.DataFrame([row])[list(PUBLISHED)]


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes the table, whole or not at all; missing numbers as empty text, the others so that they read back."""
    text = {name: ["" if np.isnan(value) else repr(float(value)) for value in table[name]] for name in NUMBERS}
    tables.write(table.assign(**text), ON_DISK, path)


def read(path: Path) -> pd.DataFrame:
    """The table at `path`; raises UserError as `tables.read` does."""
    table = tables.read(path, ON_DISK)
    numbers = {name: [float(text) if text else np.nan for text in table[name]] for name in NUMBERS}
    return table.assign(**numbers).astype(PUBLISHED)


def outcome(table: pd.DataFrame, despite: Collection[str] = ()) -> dict[str, Any]:
    """The whole table in one verdict, for the report's first page and for `verify`.

    Args:
        table: Columns of `PUBLISHED`.
        despite: Names of sets that may differ.

    Returns:
        status ("agrees", "differs", "differs, pinned despite", or "not run" with the reason), the numbers of sets and
        values compared, by name the `verdicts` of sets that differ, and the rows that differ.
    """
    run = table[table["verdict"] != NOT_RUN]
    off = run[run["verdict"] == DIFFERS]
    if not len(run):
        return {"status": NOT_RUN, "reason": table["note"].iloc[0]}
    verdicts = {name: DESPITE if name in despite else DIFFERS for name in off["set"].unique()}
    return {
        "status": next((each for each in (DIFFERS, DESPITE) if each in verdicts.values()), AGREES),
        "sets": int(run["set"].nunique()),
        "sets_not_run": int(table.loc[table["verdict"] == NOT_RUN, "set"].nunique()),
        "values": int(run["values"].sum()),
        "verdicts": verdicts,
        "off": [
            {name: row[name] for name in ("set", "quantity", "published", "measured", "tolerance", "note")}
            for row in off.to_dict("records")
        ],
    }


def _groups(check: Check) -> list[tuple[str, list[int]]]:
    """Label and flat indices of every row of a check."""
    cells = list(range(check.expected.size))
    if check.rows == "all" or not check.axes:
        return [("", cells)]
    if check.rows == "each":
        return [(_place(check.axes, index), [cell]) for cell, index in enumerate(np.ndindex(check.expected.shape))]
    axis, labels = next(iter(check.axes.items()))
    size = len(cells) // len(labels)
    return [(_label(axis, label), cells[i * size : (i + 1) * size]) for i, label in enumerate(labels)]


def _place(axes: dict[str, list[Any]], index: tuple[int, ...]) -> str:
    return ", ".join(_label(axis, labels[i]) for (axis, labels), i in zip(axes.items(), index, strict=True))


def _label(axis: str, label: Any) -> str:
    return f"{axis} {label!r}" if isinstance(label, str) and axis in ("token", "prompt") else f"{axis} {label}"


def _source(published: PublishedSet) -> str:
    return "; ".join(published.sources)
