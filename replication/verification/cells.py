"""The cells of two tables, matched by their keys, not by their order, and compared.

A value is the same if it is the same float32. It is within tolerance if losses, entropies and KLs differ by no more
than theirs and rank and most probable token are the same, or differ where both tables have a tie: the target and its
nearest neighbour, or the two most probable tokens, are closer than twice the tolerance of a loss.
"""

from typing import Any

import numpy as np
import pandas as pd

from replication.base.tables import CONDITIONS, OUTPUT, PROTOCOLS
from replication.verification.rounding import FACTORS, Tolerance

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"
ONLY_A, ONLY_B = "only in A", "only in B"

AGREES, DIFFERS, NOT_RUN, DESPITE = "agrees", "differs", "not run", "differs, pinned despite"
"""The statuses of a check: every cell is equal or within tolerance, one is not, there is nothing to compare with, or
published values differ that were excused by name when the pins were recorded."""

CELL = ["protocol", "condition", "layer", "position", "target_token"]
NATS = list(FACTORS)
"""Statistics that the tolerance is for; pins have the first only."""

TOP = ["top_id", "top_token", "top_margin"]
"""The most probable token, and how far ahead of the second it is: log p_1 - log p_2, in nats."""

LISTED = 20
"""How many of the cells that differ a verdict lists, the largest difference first."""

_ORDERED = ("protocol", "condition", "layer", "position")


def compared(
    a: pd.DataFrame, b: pd.DataFrame, keys: list[str], tolerance: Tolerance, top: str = "top_id"
) -> pd.DataFrame:
    """Every cell of two tables, with its verdict.

    Args:
        a: A table of statistics by cell.
        b: Another; what both have is compared.
        keys: Columns that say which cell a row is.
        tolerance: Largest difference that passes, in nats, by statistic.
        top: Column that says which token is the most probable.

    Returns:
        One row per cell: `keys`, every statistic that both have as `<name>_a` and `<name>_b`, `statistic` (of `NATS`
        the one that is furthest apart for its tolerance) and its `difference` in nats, `top_changed` and
        `rank_changed`, `top_tie` and `rank_tie` (changed, but a tie in both), and `verdict`: equal, within tolerance,
        different, or only in one.
    """
    shared = [name for name in [*NATS, "rank", "rank_margin", "top_probability", *TOP] if name in a and name in b]
    both = a[keys + shared].merge(
        b[keys + shared], on=keys, how="outer", suffixes=("_a", "_b"), indicator="side", validate="one_to_one"
    )
    both = both.sort_values([key for key in keys if key in _ORDERED], key=_in_order, ignore_index=True)
    in_nats = [name for name in NATS if name in shared]
    apart = pd.DataFrame({name: (both[f"{name}_a"].astype("float64") - both[f"{name}_b"]).abs() for name in in_nats})
    # Without a tolerance the largest is the furthest.
    statistic = (apart / [tolerance[name] or 1.0 for name in in_nats]).fillna(-1.0).idxmax(axis=1)
    top_changed, top_tie = _discrete(both, top, "top_margin", tolerance["loss"])
    rank_changed, rank_tie = _discrete(both, "rank", "rank_margin", tolerance["loss"])
    values = [name for name in shared if name not in (*TOP, "rank", "rank_margin")]
    same = np.logical_and.reduce([both[f"{name}_a"] == both[f"{name}_b"] for name in values])
    same &= ~top_changed & ~rank_changed
    within = (
        (apart <= [tolerance[name] for name in in_nats]).all(axis=1)
        & (~top_changed | top_tie)
        & (~rank_changed | rank_tie)
    )
    verdict = np.select(
        [both["side"] == "left_only", both["side"] == "right_only", same, within],
        [ONLY_A, ONLY_B, EQUAL, WITHIN],
        DIFFERENT,
    )
    matched = both["side"] == "both"
    return both.drop(columns="side").assign(
        difference=apart.to_numpy()[range(len(apart)), [in_nats.index(name) for name in statistic]],
        statistic=statistic,
        top_changed=top_changed & matched,
        top_tie=top_tie & matched,
        rank_changed=rank_changed & matched,
        rank_tie=rank_tie & matched,
        verdict=verdict,
    )


def _discrete(both: pd.DataFrame, name: str, margin: str, tolerance: float) -> tuple["pd.Series[bool]", ...]:
    """Where a rank or token changed, and where it was a tie in both, so that rounding could do it; nowhere for pins."""
    if f"{name}_a" not in both:
        nowhere = pd.Series(False, index=both.index)
        return nowhere, nowhere
    changed = both[f"{name}_a"] != both[f"{name}_b"]
    return changed, changed & (both[[f"{margin}_a", f"{margin}_b"]].max(axis=1) <= 2 * tolerance)


def height(layer: str) -> float:
    """The place of a layer in the order of a lens table, whose last row is the output."""
    return float("inf") if layer == OUTPUT else int(layer)


def _in_order(column: "pd.Series[str]") -> "pd.Series[float]":
    """Sorting keys: raw before centred, unsteered before steered, layers upwards."""
    if column.name == "position":
        return column.astype("float64")
    order = {name: float(i) for names in (PROTOCOLS, CONDITIONS) for i, name in enumerate(names)}
    return column.map(height if column.name == "layer" else order)


def agreement(cells: pd.DataFrame, tolerance: Tolerance) -> dict[str, Any]:
    """The verdict of a check on the cells that `compared` returns, measured numbers being A and expected ones B.

    Returns:
        status, cells (in both), tolerance (of a loss), largest_difference (nats), the statistic it is of and its place
        `at`, how many cells differ, and those with the `LISTED` largest differences.
    """
    matched = cells[~cells["verdict"].isin([ONLY_A, ONLY_B])]
    off = cells[~cells["verdict"].isin([EQUAL, WITHIN])]
    worst = matched.loc[matched["difference"].idxmax()] if len(matched) else None
    furthest = off.sort_values("difference", ascending=False, na_position="first", kind="stable").head(LISTED)
    return {
        "status": AGREES if len(matched) and not len(off) else DIFFERS,
        "cells": len(matched),
        "tolerance": tolerance["loss"],
        "largest_difference": None if worst is None else float(worst["difference"]),
        "statistic": None if worst is None else worst["statistic"],
        "at": None if worst is None else _place(worst),
        "cells_off": len(off),
        "off": [_listed(row) for _, row in furthest.iterrows()],
    }


def _place(row: "pd.Series[Any]") -> dict[str, Any]:
    return {name: row[name] for name in ("protocol", "condition", "layer") if name in row} | {
        "position": int(row["position"])
    }


def _listed(row: "pd.Series[Any]") -> dict[str, Any]:
    """A cell that differs; without numbers where only one side has it."""
    if row["verdict"] in (ONLY_A, ONLY_B):
        return _place(row) | {"only_measured": row["verdict"] == ONLY_A}
    name = row["statistic"]
    numbers = {"measured": float(row[f"{name}_a"]), "expected": float(row[f"{name}_b"])}
    return _place(row) | {"statistic": name, **numbers, "difference": float(row["difference"])}
