"""How far two runs' tables are apart, cell by cell."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from replication.base import tables

CELL = ["protocol", "condition", "layer", "position", "place"]
TABLES = {
    "losses.csv": tables.LOSSES,
    "top10.csv": tables.TOP10,
    "effect.csv": tables.EFFECT,
    "logit_lens.csv": tables.LOGIT_LENS,
}
CLOSE = 1e-4
"""Nats, or probability: what two float32 calculations of the same formulas may differ by."""


class Apart(NamedTuple):
    """The difference between two runs' tables."""

    largest: float
    """Largest difference of any loss, entropy, KL (nats) or probability."""
    where: str
    """The table, column and cell it is in."""
    other: int
    """Ranks and tokens that differ: neighbours that float32 cannot tell apart."""
    cells: int
    """Number of ranks and tokens compared."""


def apart(ours: Path, theirs: Path) -> Apart:
    """Compares the four tables of one experiment in two folders; cells and labels must be the same."""
    differences, other, cells = [], 0, 0
    for name, columns in TABLES.items():
        first, second = (_by_cell(tables.read(folder / name, columns)) for folder in (ours, theirs))
        pd.testing.assert_index_equal(first.index, second.index)
        for column in first:
            if column in tables.LABELS:
                pd.testing.assert_series_equal(first[column], second[column])
            elif columns[column] == "float32":
                difference = np.abs(first[column].to_numpy(float) - second[column].to_numpy(float))
                at = int(difference.argmax())
                differences.append((difference[at], f"{name}, {column}, {' '.join(map(str, first.index[at]))}"))
            elif columns[column] == "int64":
                other += int((first[column] != second[column]).sum())
                cells += len(first)
    return Apart(*max(differences), other, cells)


def _by_cell(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index([name for name in CELL if name in table]).sort_index()
