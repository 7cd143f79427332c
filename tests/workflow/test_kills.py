"""Runs that are killed and started again: the short form of tests/kills.py, and the long one."""

import random
from pathlib import Path

import kills
import pytest


@pytest.mark.slow
def test_three_kills_on_the_way_to_one_table(tmp_path: Path):
    place = kills.prepared(tmp_path, (f"results/{kills.MODEL}/anger/losses.csv",))
    with place.hub:
        whole = kills.undisturbed(place)
        assert len(whole) == 17, "five tables, nine verified files, their stamp and states, and the memory of hashes"
        ways = [("start", "plug"), ("download", "snakemake alone"), ("measuring", "interrupt")]
        kills.one_round(place, whole, ways, random.Random(1))
    assert place.said["asked for --unlock"] <= 1


@pytest.mark.slow
def test_thirty_kills_of_the_whole_workflow():
    kills.main()
