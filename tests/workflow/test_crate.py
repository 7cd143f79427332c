"""The run as an RO-Crate: it validates, and what it says of files, jobs and times is so."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from drawn_tables import made_up, written
from validators import crate_faults

from replication.base.files import write_json, write_text
from replication.base.paths import (
    CONTROLS,
    CRATE,
    LOSSES,
    OF_A_MODEL,
    OF_AN_EXPERIMENT,
    OF_COMPLETIONS,
    PACKAGE,
    PROVENANCE,
    RANDOM_VECTORS,
    RECORD,
    SUMMARY,
    SWEEP,
    VERIFIED,
    control_figures,
    path,
)
from replication.workflow.crate import write_crate
from replication.workflow.crate_files import by_content
from replication.workflow.provenance import provenance
from replication.workflow.snakemake_records import STORE, jobs

MODEL, EXPERIMENT = "made-up", "love hate #1"
WEIGHTS = {"model/model.safetensors": hashlib.sha256(b"weights").hexdigest()}

OF_CONTROLS = (RANDOM_VECTORS, SWEEP, *control_figures({EXPERIMENT: ["random_vectors"]}))
OUTPUTS = (*OF_A_MODEL, *OF_AN_EXPERIMENT, *OF_COMPLETIONS, *OF_CONTROLS)


def remember(output: Path, rule: str, command: str, inputs: list[str], started: float, ended: float) -> None:
    """A record as Snakemake 9 keeps it, with the parts that are read."""
    record = {"rule": rule, "shellcmd": command, "input": inputs, "starttime": started, "endtime": ended}
    write_json(STORE / base64.urlsafe_b64encode(str(output).encode()).decode(), record | {"incomplete": False})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a whole run leaves it: real tables and provenance, the other files made up."""
    monkeypatch.chdir(tmp_path)
    written(made_up(), MODEL, EXPERIMENT)
    stamp = {"note": "Made up.", "folder": "models/a", "lens_folder": "lens", "sha256": WEIGHTS}
    write_json(path(VERIFIED, MODEL), stamp)
    # Random vectors have a table and a figure; a sweep without key tokens has a table alone.
    write_json(path(CONTROLS, MODEL), {EXPERIMENT: {"random_vectors": {"key": {}}, "sweep": {"tokens": 0}}})
    for pattern in OUTPUTS:
        file = path(pattern, MODEL, EXPERIMENT)
        if not file.exists():
            write_text(file, f"contents of {file}")
    write_json(path(PROVENANCE, MODEL), provenance(MODEL, [EXPERIMENT]))
    losses, record = path(LOSSES, MODEL, EXPERIMENT), path(RECORD, MODEL, EXPERIMENT)
    verified, summary = path(VERIFIED, MODEL), path(SUMMARY, MODEL, EXPERIMENT)
    remember(verified, "weights", "get them", [], 100, 101.5)
    for output, ended in ((losses, 110.25), (record, 110.5)):
        remember(output, "measure", "measure it", [str(verified), str(PACKAGE / "measure.py")], 102, ended)
    remember(summary, "summary", "sum it up", [str(losses), str(record)], 111, 112)
    return tmp_path


def entities() -> dict[str, dict[str, Any]]:
    write_crate(MODEL, [EXPERIMENT], [EXPERIMENT])
    graph = json.loads(path(CRATE, MODEL).read_text())["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def named(reference: dict[str, str] | list[dict[str, str]], among: dict[str, dict[str, Any]]) -> list[str]:
    references = reference if isinstance(reference, list) else [reference]
    return [among[each["@id"]]["name"] for each in references]


def test_a_whole_run_is_a_valid_provenance_run_crate(run, tmp_path_factory):
    write_crate(MODEL, [EXPERIMENT], [EXPERIMENT])
    assert crate_faults(path(CRATE, MODEL).parent, tmp_path_factory.mktemp("scratch")) == []


@pytest.mark.slow
def test_a_run_of_whose_jobs_nothing_is_known_is_a_workflow_run_crate(run, tmp_path_factory):
    for record in STORE.iterdir():
        record.unlink()
    among = entities()
    assert not [name for name in among if name.startswith(("#job", "#step", "#orchestration"))]
    assert not [name for name in among if "wfrun/provenance" in name], "it claims no more than it says"
    scratch = tmp_path_factory.mktemp("scratch")
    assert crate_faults(path(CRATE, MODEL).parent, scratch, "workflow-run-crate-0.5") == []


@pytest.mark.slow
def test_the_validator_notices_a_crate_that_is_none(run, tmp_path_factory):
    write_crate(MODEL, [EXPERIMENT], [EXPERIMENT])
    text = path(CRATE, MODEL).read_text().replace('"instrument":', '"object":')
    path(CRATE, MODEL).write_text(text)
    assert crate_faults(path(CRATE, MODEL).parent, tmp_path_factory.mktemp("scratch"))


def test_every_output_is_there_once_with_its_hash_and_size(run):
    files = {entity["name"]: entity for entity in entities().values() if entity["@type"] == "File"}
    outputs = {str(path(pattern, MODEL, EXPERIMENT)) for pattern in OUTPUTS}
    assert outputs == set(files) - {"models/a/model.safetensors"}
    for name in outputs:
        contents = Path(name).read_bytes()
        assert files[name]["sha256"] == hashlib.sha256(contents).hexdigest()
        assert files[name]["contentSize"] == str(len(contents))
        inside = Path(name).is_relative_to(path(CRATE, MODEL).parent)
        assert files[name]["@id"] == (
            quote(name.removeprefix(f"results/{MODEL}/")) if inside else by_content(files[name]["sha256"])
        )
    assert files["models/a/model.safetensors"]["sha256"] == WEIGHTS["model/model.safetensors"]


def test_jobs_have_their_step_inputs_outputs_and_times(run):
    among = entities()
    actions = {entity["description"]: entity for entity in among.values() if entity["@id"].startswith("#job-")}
    assert set(actions) == {"get them", "measure it", "sum it up"}
    measured = actions["measure it"]
    assert (measured["startTime"], measured["endTime"]) == (
        "1970-01-01T00:01:42.000+00:00",
        "1970-01-01T00:01:50.500+00:00",
    )
    assert set(named(measured["result"], among)) == {str(path(each, MODEL, EXPERIMENT)) for each in (LOSSES, RECORD)}
    assert named(measured["object"], among) == [str(path(VERIFIED, MODEL))]
    assert named(actions["get them"]["object"], among) == ["models/a/model.safetensors"]
    control = next(each for each in among.values() if each.get("object") == {"@id": measured["@id"]})
    assert named(control["instrument"], among) == ["measure"]
    assert among["#run"]["startTime"] == "1970-01-01T00:01:40.000+00:00"


def test_settings_and_versions_stand_in_the_crate(run):
    among = entities()
    values = {entity["name"]: entity["value"] for entity in among.values() if entity["@type"] == "PropertyValue"}
    assert values == {"model": MODEL} | {
        f"{EXPERIMENT}.{key}": value
        for key, value in {
            "prompt": " hate you wonderful",
            "layer": 2,
            "coefficient": 5,
            "added": "Love",
            "subtracted": "Hate",
        }.items()
    }
    installed = json.loads(path(PROVENANCE, MODEL).read_text())["versions"]["torch"]["installed"]
    assert among["#software-torch"]["softwareVersion"] == installed
    assert "Made up." in among["./"]["description"]


def test_a_file_is_named_by_its_content_as_rfc_6920_says():
    digest = hashlib.sha256(b"Hello World!").hexdigest()
    assert by_content(digest) == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk", "the RFC's own example"


def test_torn_incomplete_and_other_records_count_as_none(run):
    summary = path(SUMMARY, MODEL, EXPERIMENT)
    file = STORE / base64.urlsafe_b64encode(str(summary).encode()).decode()
    whole = file.read_text()
    assert [job.rule for job in jobs([str(summary)])] == ["summary"]
    for text in (whole[:50], whole.replace("false", "true"), whole.replace("starttime", "start"), "[]"):
        file.write_text(text)
        assert jobs([str(summary)]) == []


def test_a_record_under_a_long_name_is_found(run):
    output = "results/" + "long/" * 60 + "losses.csv"
    name = base64.urlsafe_b64encode(output.encode()).decode()
    remember(Path("short"), "measure", "measure it", [], 1, 2)
    folder = STORE / f"@{name[:254]}"
    folder.mkdir()
    (STORE / base64.urlsafe_b64encode(b"short").decode()).rename(folder / name[254:])
    assert [job.outputs for job in jobs([output])] == [[output]]
