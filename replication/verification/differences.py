"""Two runs, a run and pins, or two models against each other, cell by cell."""

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from replication.base.errors import UserError
from replication.base.tables import OUTPUT
from replication.verification.cells import CELL, DIFFERENT, EQUAL, ONLY_A, ONLY_B, WITHIN, compared, height
from replication.verification.rounding import Tolerance, tolerance_of
from replication.verification.runs import Measured, Run

TOKENIZER = ("model/tokenizer.json", "model/vocab.json", "model/merges.txt")
"""Where two runs read the same ones, tokens are compared by their ids."""

STATUS = {EQUAL: 0, WITHIN: 1, DIFFERENT: 2}
"""Exit status of the command `diff` by verdict, as its help states; errors exit with `ERROR`."""
ERROR = 3


class Alone(NamedTuple):
    """What one side has and the other lacks, except what pins never hold."""

    experiments: list[str]
    tables: list[str]
    """Of experiments that both have, each as `anger/sweep.csv`."""
    cells: int
    """Of the losses of experiments that both have."""

    @property
    def named(self) -> list[str]:
        """The experiments and the tables."""
        return self.experiments + self.tables


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
    only_a: Alone
    only_b: Alone
    other_bytes: list[str]
    """Tables beside the losses that both have, but not as the same bytes; their cells are not compared."""
    notes: list[str]
    """What was not compared, a sentence each."""

    @property
    def matched(self) -> pd.DataFrame:
        """The rows of `cells` that both have."""
        return _matched(self.cells)

    @property
    def verdict(self) -> str:
        """The verdict on all that there is: what one side lacks makes them different."""
        verdicts = set(self.matched["verdict"])
        if any(self.only_a) or any(self.only_b) or DIFFERENT in verdicts:
            return DIFFERENT
        if WITHIN in verdicts:  # other tables then differ as well, by as little
            return WITHIN
        return DIFFERENT if self.other_bytes else EQUAL


def compare(a: Run, b: Run) -> Comparison:
    """Compares all experiments that both runs have.

    Raises:
        UserError: They have not a single cell in common, or one lacks what the tolerance is made from.
    """
    tolerance = min(_tolerance(a), _tolerance(b), key=lambda side: side["loss"])
    parts, notes, cells_a, cells_b = [], [], 0, 0
    for name in (name for name in a.experiments if name in b.experiments):
        sides = a.experiments[name], b.experiments[name]
        layers = _rows(*sides, a.pins or b.pins)
        notes += [f"{name}: {sentence}" for sentence in _left_out(*sides, layers, a.pins or b.pins)]
        left, right = (side.table[side.table["layer"].isin(layers)] for side in sides)
        both = 0
        if layers:
            parts.append(compared(left, right, CELL, tolerance, _top_column(*sides)).assign(experiment=name))
            both = len(_matched(parts[-1]))
        # Rows that pins never hold do not count as lacking.
        cells_a += len(left if b.pins else sides[0].table) - both
        cells_b += len(right if a.pins else sides[1].table) - both
    only = _alone(a, b, cells_a), _alone(b, a, cells_b)
    notes = [f"{name} is only in {run}." for run, of in zip("AB", only, strict=True) for name in of.named] + notes
    if not parts:
        raise UserError(f"{a.folder} and {b.folder} have no cell in common. {' '.join(notes)}".strip())
    other_bytes = [name for name in a.tables if a.tables[name] != b.tables.get(name, a.tables[name])]
    notes += [f"{name} differs; its cells are not compared." for name in other_bytes]
    return Comparison(a, b, tolerance, pd.concat(parts, ignore_index=True), *only, other_bytes, notes)


def _matched(cells: pd.DataFrame) -> pd.DataFrame:
    return cells[~cells["verdict"].isin([ONLY_A, ONLY_B])]


def _alone(run: Run, other: Run, cells: int) -> Alone:
    lacking = [name for name in run.tables if name not in other.tables and name.split("/")[0] in other.experiments]
    return Alone(sorted(run.experiments.keys() - other.experiments.keys()), [] if other.pins else lacking, cells)


def _tolerance(run: Run) -> Tolerance:
    """What the rounding of a run's logits allows: the largest tolerance of any of its experiments.

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
    """The rows that are compared: of the same prompt all of both, or, beside pins, those that are pinned."""
    if _columns(a) != _columns(b):
        return set()
    if not _same_rows(a, b):
        return {OUTPUT}
    rows = [set(side.table["layer"]) for side in (a, b)]
    return rows[0] & rows[1] if pinned else rows[0] | rows[1]


def _left_out(a: Measured, b: Measured, rows: set[str], pinned: bool) -> list[str]:
    """Why no other rows are compared, if there are any."""
    if not rows:
        return ["the prompts have different tokens, so no cells match."]
    if not _same_rows(a, b):
        return [f"{_depth(a)} in A, {_depth(b)} in B; only the output row is compared."]
    return [f"pins hold the rows {', '.join(sorted(rows, key=height))}; no other is compared."] if pinned else []


def _depth(side: Measured) -> str:
    return f"{side.record['shape']['layers']} layers" if "shape" in side.record else "pins of other weights"


def _top_column(a: Measured, b: Measured) -> str:
    """Tokens are compared by their ids, or by their text where the tokenizers differ."""
    hashes = [[side.record["sha256"].get(file) for file in TOKENIZER] for side in (a, b)]
    return "top_id" if hashes[0] == hashes[1] else "top_token"
