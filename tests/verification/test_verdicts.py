"""The verdicts, and that a changed number fails the workflow with a table of what is off."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from replication.base import tables
from replication.base.addition import Addition
from replication.base.config import PORTABLE, Experiment
from replication.base.errors import UserError
from replication.base.files import write_json, write_text
from replication.base.paths import (
    ARCHIVE,
    DIFFERENCES,
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
    VERIFIED,
    path,
)
from replication.engine.loaded import Loaded
from replication.engine.measure import Measurement, measure
from replication.engine.second_opinion import second_opinion
from replication.verification import published_table
from replication.verification.published_sets import published_sets
from replication.verification.verdicts import verification
from replication.workflow.cli import app

EXPERIMENT = Experiment(
    title="test",
    prompt="I hate you because",
    steering=Addition(layer=3, coefficient=2, added="Love", subtracted="Hate"),
)


COMMITTED = {"commit": "c" * 40, "uncommitted_changes": False}


@pytest.fixture(scope="module")
def measured(random_loaded: Loaded) -> tuple[Measurement, pd.DataFrame]:
    """The experiment on the random model, recorded as of portable arithmetic wherever this runs; its second opinion."""
    result, files = measure(random_loaded, EXPERIMENT), random_loaded.files
    result.record["numerics"]["mode"] = PORTABLE
    return result, second_opinion(files.folder, files.lens_folder, {"e": result.record})


@pytest.fixture(scope="module")
def written(
    random_loaded: Loaded, measured: tuple[Measurement, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with one measured experiment `e` of the model `m`, and its second opinion."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_run(random_loaded, *measured)
    return folder


def write_run(random_loaded: Loaded, result: Measurement, opinion: pd.DataFrame) -> None:
    tables.write(result.losses, tables.LOSSES, path(LOSSES, "m", "e"))
    write_json(path(RECORD, "m", "e"), result.record)
    write_text(path(REPORT, "m"), "a report")
    write_json(path(PROVENANCE, "m"), {"commit": "older", "inputs_sha256": random_loaded.files.sha256})
    write_json(path(VERIFIED, "m"), {"sha256": random_loaded.files.sha256})
    known = published_sets("gpt2-xl")
    published = published_table.comparison(known, random_loaded.files.sha256, {})
    published_table.write(published, path(PUBLISHED, "m"))
    tables.write(opinion, tables.SECOND_OPINION, path(SECOND_OPINION, "m"))


@pytest.fixture
def run(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to work in; pins start there too."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("replication.base.paths.REPOSITORY", tmp_path)
    for module in ("pinning", "archive", "jobs"):
        monkeypatch.setattr(f"replication.workflow.{module}.REPOSITORY", tmp_path)
    monkeypatch.setattr("replication.workflow.pinning.code_state", lambda: COMMITTED)
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
    verdicts = verification("m", ["e"], [])
    assert verdicts["passed"]
    assert verdicts["experiments"]["e"]["pins"] == {
        "status": "not run",
        "reason": "no pin has been recorded for this model and experiment",
    }
    assert verdicts["experiments"]["e"]["second_opinion"]["status"] == "agrees"
    assert verdicts["experiments"]["e"]["second_opinion"]["cells"] == 2 * 8 * 5


def test_a_recorded_pin_agrees(run):
    assert "recorded replication/pins/m/e.csv" in pinned()
    pins = verification("m", ["e"], [])["experiments"]["e"]["pins"]
    assert (pins["status"], pins["largest_difference"]) == ("agrees", 0)
    command("verification", "m", "e")
    assert command("verdict", "m", "e") == "", "a run says it at its end, where it was asked for"
    assert "e                  pins            agrees" in path(VERDICT, "m").read_text()


def test_a_changed_number_fails_and_says_what_is_off_by_how_much(run):
    pinned()
    change(path(PINS, "m", "e"), tables.PIN, 4, "loss", 0.01)
    command("verification", "m", "e")
    printed = command("verdict", "m", "e")
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
    return verification("m", ["e"], [])["experiments"]["e"]["pins"]


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
        assert "other bits than the pin's in the whole table" in command("verdict", "m", "e")


def edit_pin(**changes: object) -> None:
    recorded = json.loads(path(PIN_RECORD, "m", "e").read_text())
    write_json(path(PIN_RECORD, "m", "e"), recorded | changes)


def numerics(**changes: object) -> dict:
    return json.loads(path(PIN_RECORD, "m", "e").read_text())["numerics"] | changes


def build(**changes: str) -> dict:
    return {"build": numerics()["build"] | changes}


OTHER = [{"mode": "fast"}, {"commit": "0123456789"}, {"mkl": "2025.1 (20250101)"}, {"onednn": "4.0 (0123456789)"}]


@pytest.mark.parametrize("other", OTHER)
def test_in_other_arithmetic_the_pins_own_tolerance_holds(run, other):
    """16 * 2^-23 * 52.42880 is 1e-4 nats; what the run itself says of its logits does not count."""
    pinned()
    edit_pin(numerics=numerics(**(other if "mode" in other else build(**other))), largest_logit=52.42880)
    record = json.loads(path(RECORD, "m", "e").read_text())
    write_json(path(RECORD, "m", "e"), record | {"largest_logit": 1e6})
    assert (pins_of()["status"], pins_of()["exact"]) == ("agrees", False)
    change(path(LOSSES, "m", "e"), tables.LOSSES, 0, "loss", 9e-5)
    assert pins_of()["status"] == "agrees"
    change(path(LOSSES, "m", "e"), tables.LOSSES, 0, "loss", 2e-5)
    assert pins_of()["status"] == "differs"


@pytest.mark.parametrize("local", ["+cpu", "+cu130"])
def test_the_same_commit_gives_the_same_bits_whatever_the_build_is_for(run, local):
    pinned()
    edit_pin(numerics=numerics(**build(torch=f"2.13.0{local}")))
    assert pins_of()["exact"]


def test_a_pin_of_an_older_version_is_understood(run):
    """Its build is one text, and its tolerance one number."""
    pinned()
    now = numerics()["build"]
    text = f"torch {now['torch']} ({now['commit']}), MKL {now['mkl']}, oneDNN {now['onednn']}"
    recorded = json.loads(path(PIN_RECORD, "m", "e").read_text())
    del recorded["largest_logit"]
    old = recorded | {"tolerance_nats": 2e-5, "numerics": {"mode": "portable", "build": text}}
    write_json(path(PIN_RECORD, "m", "e"), old)
    assert pins_of()["exact"]
    write_json(
        path(PIN_RECORD, "m", "e"), old | {"numerics": {"mode": "portable", "build": text.replace("MKL 2", "MKL 1")}}
    )
    assert (pins_of()["exact"], pins_of()["tolerance"]) == (False, 2e-5)


def test_the_last_lines_are_the_fingerprints(run):
    command("verification", "m", "e")
    digest = json.loads(path(RECORD, "m", "e").read_text())["fingerprint"]
    command("verdict", "m", "e")
    assert path(VERDICT, "m").read_text().splitlines()[-1].split() == ["e", "fingerprint", digest]


def test_a_second_opinion_that_differs_fails(run):
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, 11, "loss", 0.002)
    verdicts = verification("m", ["e"], [])
    opinion = verdicts["experiments"]["e"]["second_opinion"]
    assert not verdicts["passed"]
    assert opinion["status"] == "differs"
    assert opinion["statistic"] == "loss"
    assert opinion["at"] == {"condition": "unsteered", "layer": "2", "position": 1}
    assert opinion["largest_difference"] == pytest.approx(0.002, rel=1e-2)


@pytest.mark.parametrize(("half", "condition"), [(0, "unsteered"), (8 * 5, "steered")])
def test_a_second_opinion_whose_entropy_alone_differs_fails_and_says_so(run, half, condition):
    """Beside a loss that is off by less than the tolerance, elsewhere."""
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, half + 3, "loss", 3e-6)
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, half + 11, "entropy", 0.002)
    command("verification", "m", "e")
    opinion = json.loads(path(VERIFICATION, "m").read_text())["experiments"]["e"]["second_opinion"]
    place = {"condition": condition, "layer": "2", "position": 1}
    assert (opinion["status"], opinion["cells_off"]) == ("differs", 1)
    assert (opinion["statistic"], opinion["at"]) == ("entropy", place)
    printed = command("verdict", "m", "e").splitlines()
    assert any("second opinion" in line and "0.002 nats of entropy at" in line for line in printed)
    (cell,) = [line for line in printed if "expected" in line]
    for words in (f"condition {condition}, layer 2, position 1", "entropy", "off by 0.002"):
        assert words in cell
    assert printed[-1].startswith("error: ")


OTHER = {"prompt": "another prompt", "steering": "another steering", "sha256": "other files of the model"}


@pytest.mark.parametrize("edit", OTHER)
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
    verdicts = verification("m", ["e"], [])
    assert verdicts["passed"]
    assert verdicts["experiments"]["e"]["pins"] == {
        "status": "not run",
        "reason": f"no pin for this configuration: it was recorded for {OTHER[edit]}",
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
    assert json.loads(path(PIN_PROVENANCE, "m").read_text())["commit"] == "c" * 40, (
        "of the code that pins, not of the run"
    )


def test_the_same_numbers_are_not_recorded_again(run):
    pinned()
    before = path(PIN_PROVENANCE, "m").read_bytes()
    assert "the same numbers were recorded before in" in pinned()
    assert path(PIN_PROVENANCE, "m").read_bytes() == before


def test_the_same_bits_by_a_build_of_another_name_are_the_same_numbers(run):
    """As +cpu and +cu130 of one commit of torch: nothing is recorded again, and nothing is refused."""
    pinned()
    edit_pin(numerics=numerics(build=numerics()["build"] | {"torch": "2.13.0+cu130"}))
    assert "the same numbers were recorded before in" in pinned()


OTHER_NUMERICS = {"mode": "fast", "build": {"torch": "2", "commit": "c", "mkl": "m", "onednn": "o"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "I love you because"}, "prompt"),
        ({"numerics": OTHER_NUMERICS}, "numerics"),
        ({"fingerprint": "0" * 64, "numerics": OTHER_NUMERICS}, "numerics, fingerprint"),
    ],
)
def test_other_pins_are_not_replaced(run, changes, words):
    pinned()
    edit_pin(**changes)
    before = path(PIN_RECORD, "m", "e").read_bytes()
    printed = pinned()
    assert printed.startswith("error: replication/pins/m/e.csv: there is a pin already, with another ")
    assert words in printed
    assert printed.endswith("to record this run instead, delete replication/pins/m first")
    assert path(PIN_RECORD, "m", "e").read_bytes() == before


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"commit": "c" * 40, "uncommitted_changes": True}, f"{'c' * 40}, with uncommitted changes, so"),
        (
            {"commit": None, "uncommitted_changes": None, "why": "not known: no git"},
            "not known: no git, so",
        ),
    ],
)
def test_code_that_is_no_commit_is_pinned_only_when_asked_for_and_says_so(run, monkeypatch, state, words):
    monkeypatch.setattr("replication.workflow.pinning.code_state", lambda: state)
    assert words in pinned()
    assert "--config pin_uncommitted=true" in pinned()
    assert not path(PINS, "m", "e").exists()
    command("pin", "m", "e", "--uncommitted")
    for file in (path(PIN_RECORD, "m", "e"), path(PIN_PROVENANCE, "m")):
        assert state.items() <= json.loads(file.read_text()).items()


def published(*sets: str) -> None:
    """A table of published values in which some sets differ, and one agrees."""
    table = published_table.read(path(PUBLISHED, "m")).iloc[:1]
    row = {"published": 4.8, "measured": 4.9, "difference": 0.1, "tolerance": 1e-4, "verdict": "differs", "note": ""}
    rows = [table.assign(**row, set=name) for name in sets]
    rows.append(table.assign(**row | {"measured": 4.8, "verdict": "agrees"}, set="right"))
    published_table.write(pd.concat(rows), path(PUBLISHED, "m"))


def test_a_published_value_that_differs_fails_and_is_named_with_all_others(run):
    published("one", "two")
    command("verification", "m", "e")
    printed = command("verdict", "m", "e")
    for name in ("one", "two"):
        assert f"published set   differs  {name}" in printed
        assert f"{name}, " in printed
    assert "published 4.8, measured 4.9, tolerance 0.0001" in printed
    assert printed.splitlines()[-1].startswith("error: ")


def test_a_set_that_differs_is_excused_by_its_name_alone_and_remembered(run):
    published("one", "two")
    command("verification", "m", "e", "--despite=one")
    assert not json.loads(path(VERIFICATION, "m").read_text())["passed"]
    command("verification", "m", "e", "--despite=one", "--despite=two")
    command("pin", "m", "e")
    assert json.loads(path(PIN_PROVENANCE, "m").read_text())["pinned_despite"] == ["one", "two"]
    command("verification", "m", "e")
    command("verdict", "m", "e")
    written = path(VERDICT, "m").read_text()
    assert "published       differs, pinned despite" in written
    assert "published set   differs, pinned despite two" in written
    # A third is not excused with them, nor do the pins of other weights excuse any.
    published("one", "two", "three")
    assert not verification("m", ["e"], [])["passed"]
    published("one", "two")
    write_json(path(VERIFIED, "m"), {"sha256": {}})
    assert not verification("m", ["e"], [])["passed"]


def test_nothing_but_the_named_set_is_excused(run):
    published("one")
    change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, 11, "loss", 0.002)
    assert not verification("m", ["e"], ["one"])["passed"]


@pytest.mark.parametrize("name", ["right", "unknown"])
def test_a_set_that_does_not_differ_cannot_be_excused(run, name):
    published("one", "two")
    with pytest.raises(UserError, match=f"pin_despite: '{name}' is not .* those that do: one, two"):
        verification("m", ["e"], [name])


@pytest.mark.parametrize("also", [False, True])
def test_what_differs_is_packed_and_the_last_words_say_what_to_do(run, also):
    published("one", "two")
    if also:
        change(path(SECOND_OPINION, "m"), tables.SECOND_OPINION, 11, "loss", 0.002)
    command("verification", "m", "e")
    command("verdict", "m", "e")
    with tarfile.open(path(ARCHIVE, "m")) as archive:
        names = set(archive.getnames())
    assert {str(path(pattern, "m", "e")) for pattern in (LOSSES, RECORD, VERIFICATION, PROVENANCE, REPORT)} <= names
    words = path(DIFFERENCES, "m").read_text()
    assert "Packed results/m.tar.gz: please send it" in words
    assert ("pin --config model=m pin_despite=one,two" in words) == (not also)


def test_verdict_reads_what_verify_wrote(run):
    command("verification", "m", "e")
    assert json.loads(path(VERIFICATION, "m").read_text())["passed"] is True
    assert isinstance(tables.read(path(SECOND_OPINION, "m"), tables.SECOND_OPINION), pd.DataFrame)
