"""Two runs, a run and pins, or two models against each other, cell by cell."""

from dataclasses import dataclass

import pandas as pd

from replication.base.errors import UserError
from replication.base.tables import OUTPUT
from replication.verification.cells import CELL, DIFFERENT, EQUAL, WITHIN, compared, height
from replication.verification.rounding import Tolerance, tolerance_of
from replication.verification.runs import Measured, Run

TOKENIZER = ("model/tokenizer.json", "model/vocab.json", "model/merges.txt")
"""Where two runs read the same ones, tokens are the same by their ids."""

STATUS = {EQUAL: 0, WITHIN: 1, DIFFERENT: 2}
"""Exit status of the command line by verdict; errors end with `ERROR`."""
ERROR = 3


@dataclass(frozen=True)
class Comparison:
    """Two runs, cell by cell."""

    a: Run
    b: Run
    tolerance: Tolerance
    """Largest difference in nats that passes, by statistic: the smaller of the two runs' own."""
    cells: pd.DataFrame
    """One row per cell: `experiment`, `CELL`, every statistic that both have as `<name>_a` and `<name>_b`,
    `statistic` and its `difference` as `cells.compared` has them, `top_changed` and `rank_changed`, `top_tie` and
    `rank_tie` (changed, but a tie in both), and `verdict`: one of the three, "only in A" or "only in B"."""
    missing: list[str]
    """What cannot be compared because only one run has it, a sentence each; the runs are then different."""
    left_out: list[str]
    """What pins do not cover, a sentence each; it changes no verdict."""

    @property
    def verdict(self) -> str:
        """The verdict on all that was compared."""
        verdicts = set(self.cells["verdict"])
        if self.missing or verdicts - {EQUAL, WITHIN}:
            return DIFFERENT
        return WITHIN if WITHIN in verdicts else EQUAL


def compare(a: Run, b: Run) -> Comparison:
    """Compares all experiments that both runs have.

    Raises:
        UserError: They have not a single cell in common, or one lacks what the tolerance is made from.
    """
    pinned = a.pins or b.pins
    tolerance = min(_tolerance(a), _tolerance(b), key=lambda side: side["loss"])
    alone = [
        f"{name} is only in {'A' if name in a.experiments else 'B'}."
        for name in sorted(a.experiments.keys() ^ b.experiments.keys())
    ]
    missing, left_out = ([], alone) if pinned else (alone, [])
    parts = []
    for name in (name for name in a.experiments if name in b.experiments):
        sides = a.experiments[name], b.experiments[name]
        if _columns(sides[0]) != _columns(sides[1]):
            missing.append(f"{name}: the prompts have different tokens, so no cells match.")
            continue
        if not _same_rows(*sides):
            layers = {OUTPUT}
            missing.append(
                f"{name}: {_depth(sides[0])} in A, {_depth(sides[1])} in B; only the output row is compared."
            )
        else:
            layers = _rows(*sides, pinned)
            if pinned:
                rows = ", ".join(sorted(layers, key=height))
                left_out.append(f"{name}: pins hold the rows {rows}; no other is compared.")
        left, right = (side.table[side.table["layer"].isin(layers)] for side in sides)
        parts.append(compared(left, right, CELL, tolerance, _top_column(*sides)).assign(experiment=name))
    if not parts:
        raise UserError(f"{a.folder} and {b.folder} have no cell in common. {' '.join(missing + left_out)}".strip())
    return Comparison(a, b, tolerance, pd.concat(parts, ignore_index=True), missing, left_out)


def _tolerance(run: Run) -> Tolerance:
    """What the rounding of a run's logits allows, the largest of any experiment counting.

    Raises:
        UserError: The run was made before the largest logit was recorded.
    """
    records = [side.record for side in run.experiments.values()]
    if not all({"largest_logit", "tolerance_nats"} & record.keys() for record in records):
        raise UserError(f"{run.folder}: made by an older version, which did not record the largest logit; run it again")
    return max(map(tolerance_of, records), key=lambda each: each["loss"])


def _columns(side: Measured) -> list[tuple[int, str]]:
    """What a table's columns predict: position and target token."""
    return sorted(set(zip(side.table["position"], side.table["target_token"], strict=True)))


def _same_rows(a: Measured, b: Measured) -> bool:
    """Whether a row of one means the same in the other: the models are equally deep.

    A lens row of the same relative depth in another model is another quantity, so it is not compared.
    """
    if "shape" in a.record and "shape" in b.record:
        return _depth(a) == _depth(b)
    return bool(a.record["sha256"] == b.record["sha256"])


def _rows(a: Measured, b: Measured, pinned: bool) -> set[str]:
    """The rows of both, or, beside pins, those that are pinned."""
    rows = [set(side.table["layer"]) for side in (a, b)]
    return rows[0] & rows[1] if pinned else rows[0] | rows[1]


def _depth(side: Measured) -> str:
    return f"{side.record['shape']['layers']} layers" if "shape" in side.record else "pins of other weights"


def _top_column(a: Measured, b: Measured) -> str:
    """Tokens are compared by their ids, or by their text where the tokenizers differ."""
    hashes = [[side.record["sha256"].get(file) for file in TOKENIZER] for side in (a, b)]
    return "top_id" if hashes[0] == hashes[1] else "top_token"
