"""The round trip of tables: numbers to float32, token text to the character."""

import os
import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from replication.base import processes, tables
from replication.base.errors import UserError
from replication.base.files import write_text, written_whole
from replication.engine.tokenizer import token_text

NASTY = [" null", "NA", "", "nan", '"', '""', "\n", "\r", "\r\n", ",", "\t", " ", "  ", "'", "\\", "#", "0", "1e5"]
NASTY += ["\u202e", "\ufeff", "\x85", "\u2028", "\x1b", "😀", "-", "=1+1", token_text(b"\xe2\x80"), token_text(b"\0")]


def opinion(values: np.ndarray) -> pd.DataFrame:
    count = len(values)
    cell = {"condition": "steered", "layer": ["output"] * count, "position": range(count)}
    return pd.DataFrame({"experiment": "a", **cell, "loss": values, "entropy": values, "largest_logit": values})


def token_table(texts: list[str]) -> pd.DataFrame:
    cell = {"protocol": "raw", "condition": "steered", "layer": "0", "position": range(len(texts))}
    return pd.DataFrame({**cell, "target_id": range(len(texts)), "target_token": texts, "loss": np.float32(1)})


def test_numbers_survive_to_float32(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = np.concatenate([bits.view(np.float32), np.float32([0.0, -0.0, 1e-45, 3.4028235e38, 0.1, 1 / 3])])
    values = values[np.isfinite(values)]
    path = tmp_path / "opinion.csv"
    tables.write(opinion(values), tables.SECOND_OPINION, path)
    back = tables.read(path, tables.SECOND_OPINION)["loss"].to_numpy()
    assert back.dtype == np.float32
    assert (back.view(np.uint32) == values.view(np.uint32)).all()


def test_nasty_tokens_and_all_of_gpt2_survive(tmp_path, random_loaded):
    tokens = [random_loaded.tokenizer.text(i) for i in range(len(random_loaded.tokenizer))]
    assert len(tokens) == 50257
    path = tmp_path / "pin.csv"
    tables.write(token_table(NASTY + tokens), tables.PIN, path)
    assert list(tables.read(path, tables.PIN)["target_token"]) == NASTY + tokens


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_with_its_cell(tmp_path, value):
    table = opinion(np.float32([1, value, 2]))
    with pytest.raises(UserError, match=r"column loss is -?(nan|inf) at condition steered, layer output, position 1;"):
        tables.write(table, tables.SECOND_OPINION, tmp_path / "opinion.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_table_with_other_columns_or_damage_is_refused(tmp_path):
    path = tmp_path / "pin.csv"
    tables.write(token_table([" a", " b"]), tables.PIN, path)
    whole = path.read_text()
    for damage in (whole.replace("loss", "lost"), whole.replace("1.0", "x"), whole.replace("1.0", "nan"), ""):
        path.write_text(damage)
        with pytest.raises(UserError) as caught:
            tables.read(path, tables.PIN)
        assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match="this table is missing; make it with snakemake"):
        tables.read(path, tables.PIN)


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="half"), written_whole(path) as temporary:
        raise OSError(temporary.write_text("half"), "half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_of_a_file_goes_when_it_is_written_again(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    ours, theirs = processes.tag(), "0" * 8
    parts = {name: tmp_path / f".a.{name}.partial.txt" for name in (f"{ours}-{dead.pid}", f"{ours}-{os.getppid()}")}
    parts |= {name: tmp_path / f".a.{name}.partial.txt" for name in (f"{theirs}-1", f"{theirs}-2")}
    others = [tmp_path / name for name in (".a.partial.txt", ".b.00000000-2.partial.txt", ".a.00000000-2.partial.csv")]
    for file in (*parts.values(), *others):
        file.write_text("half")
    for file in (parts[f"{theirs}-2"], *others):
        os.utime(file, (time.time() - 90_000,) * 2)
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    # A part of a process that runs, or of a machine of which nobody knows, stays; a day-old one is nobody's.
    kept = {parts[f"{ours}-{os.getppid()}"], parts[f"{theirs}-1"], *others}
    assert set(tmp_path.iterdir()) == {tmp_path / "a.txt", *kept}
