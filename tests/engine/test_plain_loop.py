"""The benchmark's plain loop, on transformers and tuned-lens alone, gives the tables that this package gives."""

import json
import subprocess
import sys

import pytest
from agreement import CLOSE, apart
from test_measure import experiment

from replication.base import tables
from replication.base.paths import REPOSITORY
from replication.engine.measure import measure


@pytest.mark.slow
def test_the_plain_loops_tables_equal_ours(random_loaded, random_folders, tmp_path):
    measured = measure(random_loaded, experiment())
    ours = tmp_path / "ours"
    for name, table, columns in (
        ("losses.csv", measured.losses, tables.LOSSES),
        ("top10.csv", measured.top10, tables.TOP10),
        ("effect.csv", measured.effect, tables.EFFECT),
        ("logit_lens.csv", measured.logit_lens, tables.LOGIT_LENS),
    ):
        tables.write(table, columns, ours / name)
    asked = tmp_path / "experiments.json"
    asked.write_text(json.dumps({"theirs": experiment().model_dump(mode="json")}))
    command = [sys.executable, REPOSITORY / "benchmarks" / "plain_loop.py", *random_folders, asked, tmp_path]
    subprocess.run(command, check=True)
    found = apart(ours, tmp_path / "theirs")
    assert found.largest < CLOSE, found
    assert found.other < found.cells / 1000, found
