"""Finished numbers never stand as those of other files: what changed at hand is hashed again, and what hangs on it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from random_model import write_lens, write_model
from run_snakemake import snakemake

from replication.base.paths import LOSSES, STATES, VERIFIED, path
from replication.weights import at_hand


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A model's entry in the configuration: two folders with a file each, and their marks recorded."""
    monkeypatch.chdir(tmp_path)
    for role in ("model", "lens", "other"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "file").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    made = {"folder": str(tmp_path / "link"), "lens_folder": str(tmp_path / "lens")}
    at_hand.record("mine", made, at_hand.mark("mine", made))
    return made


def point_elsewhere(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to(folder / "other")


def swap_in_with_old_times(folder: Path) -> None:
    times = (folder / "model/file").stat()
    (folder / "model/file").write_text("2")
    os.utime(folder / "model/file", ns=(times.st_atime_ns, times.st_mtime_ns))


def replace_by_a_file_of_the_same_times(folder: Path) -> None:
    times = (folder / "model/file").stat()
    (folder / "new").write_text("2")
    os.utime(folder / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (folder / "new").rename(folder / "model/file")


CHANGES = {
    "a link that points elsewhere": point_elsewhere,
    "a file written over, with old times": swap_in_with_old_times,
    "a file moved there, with old times": replace_by_a_file_of_the_same_times,
    "another file of the lens": lambda folder: (folder / "lens/file").write_text("22"),
    "a new file": lambda folder: (folder / "model/added").write_text("1"),
    "a file that is gone": lambda folder: (folder / "lens/file").unlink(),
    "a download": lambda folder: shutil.copytree(folder / "lens", folder / "resources/mine/lens"),
    "a damaged record": lambda folder: path(STATES, "mine").write_text("{"),
    "no record": lambda folder: path(STATES, "mine").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_gives_another_mark_that_holds_once_it_is_recorded(entry, tmp_path, change):
    before = at_hand.mark("mine", entry)
    assert at_hand.mark("mine", entry) == before
    at_hand.record("mine", entry, "given")
    assert at_hand.mark("mine", entry) == "given"
    CHANGES[change](tmp_path)
    after = at_hand.mark("mine", entry)
    assert after not in (before, "given") or change in ("a damaged record", "no record")
    assert after != "given"
    at_hand.record("mine", entry, after)
    assert at_hand.mark("mine", entry) == after


def test_a_half_finished_download_is_no_change(entry, tmp_path):
    (tmp_path / "model/.file.partial").write_text("1")
    assert path(STATES, "mine").exists()
    assert at_hand.mark("mine", entry) == json.loads(path(STATES, "mine").read_text())["mark"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with two models, a lens, a link to the first model, and a configuration that names the link."""
    for seed, name in enumerate(("first", "second")):
        write_model(tmp_path / name, layers=2, seed=seed)
    write_lens(tmp_path / "lens", layers=2)
    (tmp_path / "link").symlink_to(tmp_path / "first")
    steering = {"layer": 1, "coefficient": 1, "added": "a"}
    settings = {
        "model": "mine",
        "models": {"mine": {"folder": str(tmp_path / "link"), "lens_folder": str(tmp_path / "lens")}},
        "experiments": {"e": {"title": "e", "prompt": "I hate you", "steering": steering}},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(settings))
    return tmp_path


def run(folder: Path, target: Path, *options: str) -> str:
    done = snakemake(folder, str(target), *options, "--configfile", str(folder / "mine.yaml"))
    return done.stdout + done.stderr


def turn_the_link(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to(folder / "second")


@pytest.mark.slow
def test_what_was_verified_behind_a_link_is_verified_again_when_it_points_elsewhere(mine):
    verified = path(VERIFIED, "mine")
    run(mine, verified)
    assert "Nothing to be done" in run(mine, verified, "-n")
    turn_the_link(mine)
    assert "Params have changed since last execution" in run(mine, verified, "-n")


@pytest.mark.slow
def test_a_run_follows_the_files_and_not_their_times(mine):
    """Measured on a model, on another one behind the same link, and on the same files touched."""
    losses, verified = path(LOSSES, "mine", "e"), path(VERIFIED, "mine")
    run(mine, losses)
    first = (mine / losses).read_bytes()
    turn_the_link(mine)
    run(mine, losses)
    second, stamp = (mine / losses).read_bytes(), (mine / verified).read_bytes()
    assert second != first
    assert "Nothing to be done" in run(mine, losses)
    (mine / "second/config.json").touch()
    run(mine, losses)
    assert ((mine / losses).read_bytes(), (mine / verified).read_bytes()) == (second, stamp)
    assert "Nothing to be done" in run(mine, losses)
