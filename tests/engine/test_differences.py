"""What should not matter for the numbers changes no bit, or stays within the tolerance, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from differences import WAYS, differences, folders

from replication.base.paths import REPOSITORY
from replication.verification.rounding import FACTORS, OTHER_CODE

SAME_BITS = ("fresh", "long_lived", "rows_40", "rows_1000")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["miniature", "12,192,6,-100"])
def test_ways_of_computing_that_should_not_matter(tmp_path: Path, model: str):
    """Two threads, both arithmetics and tuned-lens among them, in units of rounding."""
    rows = list(differences(list(WAYS), folders(model, tmp_path), tmp_path))
    for name, row in zip(WAYS, rows, strict=True):
        allowed = OTHER_CODE if name.startswith("tuned_lens") else 0 if name in SAME_BITS else 1
        for statistic, factor in FACTORS.items():
            assert row.get(statistic, 0) <= allowed * factor, row
        assert row.get("other top_id", "0").startswith("0"), row


@pytest.mark.slow
def test_the_first_run_on_gpt2_xl_rehearsed_on_small_weights(tmp_path: Path):
    """It ends in pins that a second run meets bit for bit, and a run in fast arithmetic within the tolerance."""
    command = [sys.executable, "benchmarks/rehearsal.py", "--width", "192", "--heads", "6", "--scratch", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list(tmp_path.iterdir()) == [], "the scratch folder is deleted"
