"""The fingerprint, computed again from the CSV by the words of its definition, with csv and struct alone."""

import csv
import hashlib
import struct

import numpy as np
import pytest

from replication.base import tables
from replication.base.fingerprint import fingerprint

FLOATS = ("loss", "entropy", "kl_to_output", "top_probability")


def test_another_program_computes_it_from_the_file(miniature_measured, tmp_path):
    result = miniature_measured["anger"]
    file = tmp_path / "losses.csv"
    tables.write(result.losses, tables.LOSSES, file)
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    layers = [*map(str, range(48)), "output"]
    rows.sort(
        key=lambda row: (
            ("raw", "centred").index(row["protocol"]),
            ("unsteered", "steered").index(row["condition"]),
            layers.index(row["layer"]),
            int(row["position"]),
        )
    )
    digest = hashlib.sha256()
    for row in rows:
        integers = (int(row[name]) for name in ("context_id", "target_id", "rank", "top_id"))
        floats = (float(row[name]) for name in ("loss", "entropy", "kl_to_output", "top_probability"))
        digest.update(struct.pack("<4q4f", *integers, *floats))
    assert digest.hexdigest() == fingerprint(result.losses) == result.record["fingerprint"]


@pytest.mark.parametrize("column", ["context_id", "target_id", "rank", "top_id", *FLOATS])
def test_one_changed_number_changes_it(miniature_measured, column):
    losses = miniature_measured["anger"].losses
    changed = losses.copy()
    place = changed.columns.get_loc(column)
    value = changed[column].iloc[100]
    # The least that can change: the next float32, or the next integer.
    changed.iloc[100, place] = np.nextafter(value, np.float32(9)) if column in FLOATS else value + 1
    assert fingerprint(changed) != fingerprint(losses)
