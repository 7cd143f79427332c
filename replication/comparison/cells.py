"""The cells of two runs against each other: compared by what they are, not by where they stand.

A value is the same if it is the same float32. It is within tolerance if losses, entropies and KLs differ by no more
than `tolerance` nats and rank and most probable token are the same, or others where both runs have a tie: the target
and its nearest neighbour, or the two best, are closer than twice the tolerance.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from replication.comparison.runs import TOP, Measured, Run
from replication.errors import UserError
from replication.pins import IDENTITY, TOLERANCE
from replication.tables import CONDITIONS, OUTPUT, PROTOCOLS

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"
STATUS = {EQUAL: 0, WITHIN: 1, DIFFERENT: 2}
"""Exit status of the command line by verdict; errors end with `ERROR`."""
ERROR = 3

CELL = ["protocol", "condition", "layer", "position", "target_token"]
NATS = ["loss", "entropy", "kl_to_output"]
"""Statistics that the tolerance is for; pins have the first only."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, cell by cell."""

    a: Run
    b: Run
    tolerance: float
    """Largest difference in nats that passes; the pins' own where one side is pins."""
    cells: pd.DataFrame
    """One row per cell: `experiment`, `CELL`, every statistic that both have as `<name>_a` and `<name>_b`,
    `difference` (the largest of `NATS`, in nats), `top_changed` and `rank_changed`, `top_tie` and `rank_tie` (changed,
    but a tie in both), and `verdict`: one of the three, "only in A" or "only in B"."""
    missing: list[str]
    """What one run has and cannot be compared, a sentence each; it makes the runs different."""
    left_out: list[str]
    """What pins do not cover, a sentence each; it changes no verdict."""

    @property
    def verdict(self) -> str:
        """The verdict on all that was compared."""
        found = set(self.cells["verdict"])
        if self.missing or found - {EQUAL, WITHIN}:
            return DIFFERENT
        return WITHIN if WITHIN in found else EQUAL


def compare(a: Run, b: Run) -> Comparison:
    """Compares all experiments that both runs have.

    Raises:
        UserError: They have not a single cell in common.
    """
    pinned = a.pins or b.pins
    tolerance = min([TOLERANCE, *_pinned_tolerances(a), *_pinned_tolerances(b)])
    alone = [
        f"{name} is only in {'A' if name in a.experiments else 'B'}."
        for name in sorted(a.experiments.keys() ^ b.experiments.keys())
    ]
    missing, left_out = ([], alone) if pinned else (alone, [])
    parts = []
    for name in (name for name in a.experiments if name in b.experiments):
        sides = a.experiments[name], b.experiments[name]
        if _columns(sides[0]) != _columns(sides[1]):
            missing.append(f"{name}: the prompts are different tokens, so no cell of one is a cell of the other.")
            continue
        if not _same_rows(*sides):
            layers = {OUTPUT}
            missing.append(
                f"{name}: {_depth(sides[0])} in A, {_depth(sides[1])} in B; only the output row is compared."
            )
        else:
            layers = _rows(*sides, pinned)
            if pinned:
                rows = ", ".join(sorted(layers, key=_height))
                left_out.append(f"{name}: pins hold the rows {rows}; no other is compared.")
        left, right = (side.table[side.table["layer"].isin(layers)] for side in sides)
        parts.append(_compared(left, right, tolerance, _top_column(*sides)).assign(experiment=name))
    if not parts:
        raise UserError(f"{a.folder} and {b.folder} have no cell in common. {' '.join(missing + left_out)}".strip())
    return Comparison(a, b, tolerance, pd.concat(parts, ignore_index=True), missing, left_out)


def _pinned_tolerances(run: Run) -> list[float]:
    return [side.record["tolerance_nats"] for side in run.experiments.values()] if run.pins else []


def _columns(side: Measured) -> list[tuple[int, str]]:
    """What a table's columns predict: position and target token."""
    return sorted(set(zip(side.table["position"], side.table["target_token"], strict=True)))


def _same_rows(a: Measured, b: Measured) -> bool:
    """Whether a row of one means the same in the other: the models are equally deep.

    A lens row of the same relative depth in another model is another quantity, so it is not compared.
    """
    if "shape" in a.record and "shape" in b.record:
        return _depth(a) == _depth(b)
    return all(a.record["sha256"].get(file) == b.record["sha256"].get(file) for file in IDENTITY)


def _rows(a: Measured, b: Measured, pinned: bool) -> set[str]:
    """The rows of both, or, beside pins, those that are pinned."""
    rows = [set(side.table["layer"]) for side in (a, b)]
    return rows[0] & rows[1] if pinned else rows[0] | rows[1]


def _depth(side: Measured) -> str:
    return f"{side.record['shape']['layers']} layers" if "shape" in side.record else "pins of other weights"


def _top_column(a: Measured, b: Measured) -> str:
    """Tokens are compared by their ids, or by their text where the tokenizers differ."""
    hashes = [side.record["sha256"].get("model/tokenizer.json") for side in (a, b)]
    return "top_id" if hashes[0] == hashes[1] else "top_token"


def _compared(a: pd.DataFrame, b: pd.DataFrame, tolerance: float, top: str) -> pd.DataFrame:
    """Every cell of two tables, with its verdict."""
    shared = [name for name in [*NATS, "rank", "rank_margin", "top_probability", *TOP] if name in a and name in b]
    both = a[CELL + shared].merge(
        b[CELL + shared], on=CELL, how="outer", suffixes=("_a", "_b"), indicator="found", validate="one_to_one"
    )
    both = both.sort_values(CELL[:4], key=_in_order, ignore_index=True)
    differences = [(both[f"{name}_a"].astype("float64") - both[f"{name}_b"]).abs() for name in NATS if name in shared]
    difference = pd.concat(differences, axis=1).max(axis=1)
    top_changed, top_tie = _discrete(both, top, "top_margin", tolerance)
    rank_changed, rank_tie = _discrete(both, "rank", "rank_margin", tolerance)
    values = [name for name in shared if name not in (*TOP, "rank", "rank_margin")]
    same = np.logical_and.reduce([both[f"{name}_a"] == both[f"{name}_b"] for name in values])
    same &= ~top_changed & ~rank_changed
    within = (difference <= tolerance) & (~top_changed | top_tie) & (~rank_changed | rank_tie)
    verdict = np.select(
        [both["found"] == "left_only", both["found"] == "right_only", same, within],
        ["only in A", "only in B", EQUAL, WITHIN],
        DIFFERENT,
    )
    matched = both["found"] == "both"
    return both.drop(columns="found").assign(
        difference=difference,
        top_changed=top_changed & matched,
        top_tie=top_tie & matched,
        rank_changed=rank_changed & matched,
        rank_tie=rank_tie & matched,
        verdict=verdict,
    )


def _discrete(both: pd.DataFrame, name: str, margin: str, tolerance: float) -> tuple["pd.Series[bool]", ...]:
    """Where a rank or token changed, and where it was a tie in both, so that rounding could do it; not in pins."""
    if f"{name}_a" not in both:
        nowhere = pd.Series(False, index=both.index)
        return nowhere, nowhere
    changed = both[f"{name}_a"] != both[f"{name}_b"]
    return changed, changed & (both[[f"{margin}_a", f"{margin}_b"]].max(axis=1) <= 2 * tolerance)


def _height(layer: str) -> float:
    return float("inf") if layer == OUTPUT else int(layer)


def _in_order(column: "pd.Series[str]") -> "pd.Series[float]":
    """Sorting keys: raw before centred, unsteered before steered, layers upwards."""
    if column.name == "position":
        return column.astype("float64")
    order = {name: float(i) for names in (PROTOCOLS, CONDITIONS) for i, name in enumerate(names)}
    return column.map(_height if column.name == "layer" else order)
