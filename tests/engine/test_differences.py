"""What should not matter for the numbers changes no bit, or stays within the tolerance of the pins."""

from pathlib import Path

import pytest
from differences import STATISTICS, WAYS, differences

from replication.verification.pins import TOLERANCE

SAME_BITS = ("fresh", "long_lived")


@pytest.mark.slow
def test_ways_of_computing_that_should_not_matter(tmp_path: Path):
    table = differences(list(WAYS), tmp_path)
    for name, row in table.iterrows():
        largest = row[list(STATISTICS)].max()
        assert largest == 0 if name in SAME_BITS else largest < TOLERANCE, f"\n{table.to_string()}"
        assert row["other top_id"] == 0, f"\n{table.to_string()}"
