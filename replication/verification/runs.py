"""What can be compared: the results of a model, or its pins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from replication.base import tables
from replication.base.errors import UserError
from replication.base.files import read_json
from replication.base.hashes import digest_of
from replication.base.paths import LOSSES, PROVENANCE, RECORD, TOP10


class Measured(NamedTuple):
    """One experiment of a run."""

    table: pd.DataFrame
    """Columns of `tables.LOSSES` and `top_margin`, or of `tables.PIN`."""
    record: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The numbers of a model in one folder."""

    folder: Path
    pins: bool
    """Whether these are pins: the losses of a few layers only."""
    experiments: dict[str, Measured]
    tables: dict[str, str]
    """SHA-256 of every table beside the losses, by name as `anger/sweep.csv`; pins have none."""
    provenance: dict[str, Any]
    """Empty where the run has not written it."""


def read_run(folder: Path) -> Run:
    """The run, or the pins, in a folder.

    Args:
        folder: As results/<model> or replication/pins/<model>.

    Raises:
        UserError: The folder holds neither, or a table in it cannot be read.
    """
    results = sorted(folder.glob(f"*/{Path(LOSSES).name}"))
    pins = sorted(file for file in folder.glob("*.csv") if file.with_suffix(".json").exists())
    if not results and not pins:
        raise UserError(
            f"{folder}: neither a model's results (<experiment>/{Path(LOSSES).name}) nor its pins (<experiment>.csv and"
            " .json); name a folder such as results/miniature or replication/pins/miniature"
        )
    if results:
        experiments = {file.parent.name: _measured(file.parent) for file in results}
    else:
        experiments = {file.stem: _pinned(file) for file in pins}
    beside = sorted(file for losses in results for file in losses.parent.glob("*.csv") if file != losses)
    digests = {file.relative_to(folder).as_posix(): digest_of(file) for file in beside}
    provenance = folder / Path(PROVENANCE).name
    return Run(folder, not results, experiments, digests, read_json(provenance) if provenance.exists() else {})


def _measured(folder: Path) -> Measured:
    losses = tables.read(folder / Path(LOSSES).name, tables.LOSSES)
    top10 = tables.read(folder / Path(TOP10).name, tables.TOP10)
    cell = ["protocol", *tables.CELL]
    first, second = (top10[top10["place"] == place].set_index(cell)["probability"] for place in (1, 2))
    # A second token that has underflowed to 0 is infinitely far behind.
    with np.errstate(divide="ignore"):
        margin = (np.log(first.astype("float64")) - np.log(second.astype("float64"))).rename("top_margin").reset_index()
    return Measured(losses.merge(margin, on=cell, how="left"), read_json(folder / Path(RECORD).name))


def _pinned(file: Path) -> Measured:
    return Measured(tables.read(file, tables.PIN), read_json(file.with_suffix(".json")))
