"""The verdicts, and that a changed number fails the workflow with a table of what is off."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from replication.base import tables
from replication.base.config import Experiment, Steering
from replication.base.errors import UserError
from replication.base.files import write_json, write_text
from replication.base.paths import (
    ARCHIVE,
    LOSSES,
    PIN_PROVENANCE,
    PIN_RECORD,
    PINS,
    PROVENANCE,
    PUBLISHED,
    RECORD,
    REPORT,
    SECOND_OPINION,
    VERDICT,
    VERIFICATION,
    path,
)
from replication.engine.loaded import Loaded
from replication.engine.measure import measure
from replication.engine.second_opinion import second_opinion
from replication.verification import published_table
from replication.verification.published_sets import published_sets
from replication.verification.verdicts import verification
from replication.workflow.cli import app

EXPERIMENT = Experiment(
    title="test",
    prompt="I hate you because",
    steering=Steering(layer=3, coefficient=2, added="Love", subtracted="Hate"),
)


@pytest.fixture
def run(random_loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one measured experiment `e` of the model `m`, and its second opinion; pins start there too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("replication.verification.verdicts.REPOSITORY", tmp_path)
    for module in ("steps_on_tables", "archive"):
        monkeypatch.setattr(f"replication.workflow.{module}.REPOSITORY", tmp_path)
    result = measure(random_loaded, EXPERIMENT)
    tables.write(result.losses, tables.LOSSES, path(LOSSES, "m", "e"))
    write_json(path(RECORD, "m", "e"), result.record)
    write_text(path(REPORT, "m"), "a report")
    write_json(path(PROVENANCE, "m"), {"commit": "c"})
    known = published_sets("gpt2-xl")
    published = published_table.comparison(known, random_loaded.files.sha256, {})
    published_table.write(published, path(PUBLISHED, "m"))
    files = random_loaded.files
    opinion = second_opinion(files.folder, files.lens_folder, {"e": result.record})
    tables.write(opinion, tables.SECOND_OPINION, path(SECOND_OPINION, "m"))
    return tmp_path


def command(*arguments: str) -> str:
    """Runs a subcommand in this process; returns what it printed."""
    result = CliRunner().invoke(app, ["step", *arguments], catch_exceptions=True)
    if isinstance(result.exception, UserError):
        return f"{result.stdout}error: {result.exception}"
    assert result.exit_code == 0, result.exception
    return result.stdout


def pinned() -> str:
    """Verifies and pins; returns what was printed."""
    command("verification", "m", "e")
    return command("pin", "m", "e")


def change(table: Path, columns: dict[str, str], row: int, column: str, by: float) -> None:
    values = tables.read(table, columns)
    values.loc[row, column] += np.float32(by)
    tables.write(values, columns, table)


def test_without_a_pin_nothing_is_checked_and_it_says_so(run):
    verdicts = verification("m", ["e"])
    assert verdicts["passed"]
    assert verdicts["experiments"]["e"]["pins"] == {
        "status": "not run",
        "reason": "no pin has been recorded for this model and experiment",
    }
    assert verdicts["experiments"]["e"]["second_opinion"]["status"] == "agrees"
    assert verdicts["experiments"]["e"]["second_opinion"]["cells"] == 2 * 8 * 5


def test_a_recorded_pin_agrees(run):
    assert "recorded replication/pins/m/e.csv" in pinned()
    pins = verification("m", ["e"])["experiments"]["e"]["pins"]
    assert (pins["status"], pins["largest_difference"]) == ("agrees", 0)
    command("verification", "m", "e")
    assert "e                  pins            agrees" in command("verdict", "m")
    assert path(VERDICT, "m").exists()


def test_a_changed_number_fails_and_says_what_is_off_by_how_much(run):
    pinned()
    change(path(PINS, "m", "e"), tables.PIN, 4, "loss", 0.01)
    command("verification", "m", "e")
    printed = command("verdict", "m")
    assert "e, pins: 1 cell differs; the largest difference is 0.01 nats of loss at" in printed
    assert "off by 0.01" in printed
    assert printed.splitlines()[-1].startswith("error: ")
    assert not path(VERDICT, "m").exists()


def change_of_one_bit(run: Path, position: int) -> None:
    """The least change there is, in the measured table: at a pinned layer (row 0) or at one that is not pinned."""
    losses = tables.read(path(LOSSES, "m", "e"), tables.LOSSES)
    column = losses.columns.get_loc("loss")
    losses.iloc[position, column] = np.nextafter(losses.iloc[position, column], np.float32(99))
    tables.write(losses, tables.LOSSES, path(LOSSES, "m", "e"))


def pins_of() -> dict:
    return verification("m", ["e"])["experiments"]["e"]["pins"]


UNPINNED = 2 * 5  # layer 2 of raw and unsteered: neither a quarter of the depth nor next to the injection


@pytest.mark.parametrize("row", [0, UNPINNED])
def test_in_portable_arithmetic_every_bit_of_the_table_must_agree(run, row):
    pinned()
    assert (pins_of()["exact"], pins_of()["same_fingerprint"]) == (True, True)
    change_of_one_bit(run, row)
    assert (pins_of()["status"], pins_of()["same_fingerprint"]) == ("differs", False)
    if row == UNPINNED:
        assert pins_of()["largest_difference"] == 0
        command("verification", "m", "e")
        assert "other bits than the pin's in the whole table" in command("verdict", "m")


@pytest.mark.parametrize("other", [{"mode": "fast"}, {"build": "torch 2.14.0"}])
def test_in_other_arithmetic_the_tolerance_holds(run, other):
    pinned()
    recorded = json.loads(path(PIN_RECORD, "m", "e").read_text())
    write_json(path(PIN_RECORD, "m", "e"), recorded | {"numerics": recorded["numerics"] | other})
    change_of_one_bit(run, 0)
    assert (pins_of()["status"], pins_of()["exact"]) == ("agrees", False)
    change(path(LOSSES, "m", "e"), tables.LOSSES, 0, "loss", 1e-4)
    assert pins_of()["status"] == "differs"


def test_the_last_lines_are_the_fingerprints(run):
    command("verification", "m", "e")
    digest = json.loads(path(RECORD, "m", "e").read_text())["fingerprint"]
    assert command("verdict", "m").splitlines()[-1].split() == ["e", "fingerprint", digest]


def test_a_second_opinion_that_differs_fails(run):
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, 11, "loss", 0.002)
    verdicts = verification("m", ["e"])
    opinion = verdicts["experiments"]["e"]["second_opinion"]
    assert not verdicts["passed"]
    assert opinion["status"] == "differs"
    assert opinion["statistic"] == "loss"
    assert opinion["at"] == {"condition": "unsteered", "layer": "2", "position": 1}
    assert opinion["largest_difference"] == pytest.approx(0.002, rel=1e-2)


@pytest.mark.parametrize(("half", "condition"), [(0, "unsteered"), (8 * 5, "steered")])
def test_a_second_opinion_whose_entropy_alone_differs_fails_and_says_so(run, half, condition):
    """Beside a loss that is off by less than the tolerance, elsewhere."""
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, half + 3, "loss", 3e-5)
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, half + 11, "entropy", 0.002)
    command("verification", "m", "e")
    opinion = json.loads(path(VERIFICATION, "m").read_text())["experiments"]["e"]["second_opinion"]
    place = {"condition": condition, "layer": "2", "position": 1}
    assert (opinion["status"], opinion["cells_off"]) == ("differs", 1)
    assert (opinion["statistic"], opinion["at"]) == ("entropy", place)
    printed = command("verdict", "m").splitlines()
    assert any("second opinion" in line and "0.002 nats of entropy at" in line for line in printed)
    (cell,) = [line for line in printed if "expected" in line]
    for words in (f"condition {condition}, layer 2, position 1", "entropy", "off by 0.002"):
        assert words in cell
    assert printed[-1].startswith("error: ")


@pytest.mark.parametrize("edit", ["prompt", "steering", "sha256"])
def test_a_pin_for_other_inputs_is_no_pin(run, edit):
    pinned()
    pinned_for = json.loads(path(PIN_RECORD, "m", "e").read_text())
    if edit == "sha256":
        pinned_for["sha256"]["model/model.safetensors"] = "0" * 64
    elif edit == "steering":
        pinned_for["steering"]["coefficient"] = 3.0
    else:
        pinned_for["prompt"] = "I love you because"
    write_json(path(PIN_RECORD, "m", "e"), pinned_for)
    change(path(PINS, "m", "e"), tables.PIN, 4, "loss", 1.0)
    verdicts = verification("m", ["e"])
    assert verdicts["passed"]
    assert verdicts["experiments"]["e"]["pins"] == {
        "status": "not run",
        "reason": f"no pin for this configuration: it was recorded for another {edit}",
    }


def test_nothing_is_pinned_while_something_differs(run):
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, 11, "loss", 0.002)
    assert "something differs, so nothing is pinned" in pinned()
    assert not path(PINS, "m", "e").exists()


def test_the_archive_holds_tables_report_and_pins(run):
    path(LOSSES, "m", "e").with_name(".losses.0.partial.csv").write_text("what a killed process left")
    pinned()
    with tarfile.open(path(ARCHIVE, "m")) as archive:
        names = set(archive.getnames())
    assert not [name for name in names if "partial" in name]
    expected = (path(LOSSES, "m", "e"), path(VERIFICATION, "m"), path(REPORT, "m"), path(PINS, "m", "e"))
    assert {str(file) for file in expected} <= names
    assert json.loads(path(PIN_PROVENANCE, "m").read_text()) == {"commit": "c"}


def test_a_published_value_that_differs_fails_and_is_named(run):
    table = published_table.read(path(PUBLISHED, "m"))
    row = {"published": 4.8, "measured": 4.9, "difference": 0.1, "tolerance": 1e-4, "verdict": "differs", "note": ""}
    published_table.write(table.iloc[:1].assign(**row), path(PUBLISHED, "m"))
    command("verification", "m", "e")
    printed = command("verdict", "m")
    assert "published 4.8, measured 4.9, tolerance 0.0001" in printed
    assert printed.splitlines()[-1].startswith("error: ")


def test_verdict_reads_what_verify_wrote(run):
    command("verification", "m", "e")
    assert json.loads(path(VERIFICATION, "m").read_text())["passed"] is True
    assert isinstance(tables.read(path(SECOND_OPINION, "m"), tables.SECOND_OPINION), pd.DataFrame)
