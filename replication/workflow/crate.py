"""The run on a model as a Provenance Run Crate: an RO-Crate of inputs, steps, outputs, hashes, versions and times.

The crate is the folder results/<model>/, or that of a run in it. What lies elsewhere (weights, figures, report) is
named by its content, as `ni:///sha-256;...` (RFC 6920), and by its path. The profiles are
https://w3id.org/ro/wfrun/provenance/0.5 and those it builds on. Steps, commands, inputs and times are Snakemake's own
records; jobs of several invocations may be among them.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from rocrate.model import ComputationalWorkflow, ContextEntity, Entity
from rocrate.rocrate import ROCrate

from replication.base.files import read_json, write_json, write_text
from replication.base.hashes import digest_of
from replication.base.paths import (
    CONTROL_TABLES,
    CONTROLS,
    CRATE,
    CRATE_WORKFLOW,
    OF_A_MODEL,
    OF_AN_EXPERIMENT,
    OF_COMPLETIONS,
    PACKAGE,
    PROVENANCE,
    RECORD,
    REPOSITORY,
    VERIFIED,
    control_figures,
    path,
)
from replication.base.recorded import additions, lens_name
from replication.verification.chance import shown
from replication.workflow.crate_files import Files
from replication.workflow.provenance import commit_text
from replication.workflow.snakemake_records import Job, jobs

RO_CRATE = "1.1"
"""The version that the run profiles build on."""

STEPS_PROFILE = "https://w3id.org/ro/wfrun/provenance/0.5"
"""The profile of a run whose steps are described; without records of them it is not claimed."""

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    STEPS_PROFILE: "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}

_TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
_BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_COMPLETED = "http://schema.org/CompletedActionStatus"
_SLOTS = {"model": "the model measured", "experiment": "lens prompt and steering vector"}


def write_crate(model: str, experiments: list[str], completed: list[str]) -> None:
    """Writes the crate's metadata, and a copy of the workflow beside it."""
    write_text(path(CRATE_WORKFLOW, model), (REPOSITORY / "Snakefile").read_text(encoding="utf-8"))
    write_json(path(CRATE, model), crate(model, experiments, completed))


def crate(model: str, experiments: list[str], completed: Sequence[str] = ()) -> dict[str, Any]:
    """The crate's metadata, as JSON-LD.

    Args:
        model: Name of a model whose outputs and copy of the workflow are there.
        experiments: Names of its experiments.
        completed: Those of them that texts were written for.
    """
    run, stamp = read_json(path(PROVENANCE, model)), read_json(path(VERIFIED, model))
    made = ROCrate(version=RO_CRATE)
    made.metadata.extra_terms.update(_TERMS)
    of_experiments = (path(pattern, model, name) for name in experiments for pattern in OF_AN_EXPERIMENT)
    of_texts = (path(pattern, model, name) for name in completed for pattern in OF_COMPLETIONS)
    of_model = (path(pattern, model) for pattern in OF_A_MODEL)
    controls = _of_controls(model, read_json(path(CONTROLS, model)))
    outputs = [str(each) for each in chain(of_model, of_experiments, of_texts, controls)]
    files = Files(made, path(CRATE, model).parent)
    weights = [files.known(name, digest) for name, digest in _weights(stamp)]
    workflow = _workflow(made, model, run)
    action = made.add_action(
        workflow,
        "#run",
        [*weights, *_parameters(made, workflow, model, experiments)],
        [files.entity(output) for output in outputs],
        {
            "name": f"Run on {model}",
            "description": f"On {run['machine']['system']}, {run['machine']['processor']}.",
            "endTime": run["finished"],
            "actionStatus": _COMPLETED,
        },
    )
    done = jobs(outputs)
    if done:
        steps = _steps(made, workflow, list(dict.fromkeys(job.rule for job in done)))
        _actions(made, action, done, steps, files, weights)
    profiles = PROFILES if done else {url: name for url, name in PROFILES.items() if url != STEPS_PROFILE}
    subject = f"{model}, experiments {', '.join(experiments)}. {stamp['note'] or ''}".strip()
    _describe_root(made, profiles, subject, run, lens_name(stamp))
    return _compacted(made.metadata.generate())


def _of_controls(model: str, verdicts: dict[str, Any]) -> list[Path]:
    """Tables and figures of the controls that were made."""
    made = [path(CONTROL_TABLES[kind], model, name) for name, kinds in verdicts.items() for kind in kinds]
    drawn = control_figures({name: shown(kinds) for name, kinds in verdicts.items()})
    return [*made, *(path(file, model) for file in drawn)]


def _describe_root(made: ROCrate, profiles: dict[str, str], subject: str, run: dict[str, Any], lens: str) -> None:
    root = made.root_dataset
    root["name"] = f"GPT-2 steering through the {lens}: {run['model']}"
    root["description"] = (
        f'A run of the replication of "[ASoT] GPT2 Steering & The Tuned Lens" (Mini, 2023) on the model {subject}'
    )
    root["datePublished"] = run["finished"]
    root["license"] = _entity(made, "https://spdx.org/licenses/MIT", "CreativeWork", name="MIT License")
    root["mentions"] = made.get_by_type("CreateAction")
    root["conformsTo"] = [
        _entity(made, url, "CreativeWork", name=name, version=url.rsplit("/", 1)[1]) for url, name in profiles.items()
    ]


def _workflow(made: ROCrate, model: str, run: dict[str, Any]) -> Entity:
    """The copy of the Snakefile, the commit it is of, and the versions it ran with."""
    source = path(CRATE_WORKFLOW, model)
    workflow = made.add_workflow(
        source,
        source.name,
        properties={"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]},
        main=True,
        lang="snakemake",
        lang_version=run["versions"]["snakemake"]["installed"],
        cls=ComputationalWorkflow,
    )
    workflow["name"] = "gpt2-steering-tuned-lens"
    workflow["version"] = commit_text(run)
    workflow["conformsTo"] = _entity(made, _BIOSCHEMAS, "CreativeWork", name="ComputationalWorkflow profile")
    workflow["encodingFormat"] = "text/x-python"
    workflow["sha256"] = digest_of(source)
    workflow["contentSize"] = str(source.stat().st_size)
    installed = {"python": run["machine"]["python"]} | {
        name: versions["installed"] for name, versions in run["versions"].items() if versions["installed"]
    }
    workflow["softwareRequirements"] = [
        _entity(made, f"#software-{name}", "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in installed.items()
    ]
    return workflow


def _weights(stamp: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and SHA-256 of the files of model and lens, as they were verified."""
    folders = {"model": stamp["folder"], "lens": stamp["lens_folder"]}
    return [
        (f"{folders[kind]}/{name}", digest)
        for kind, name, digest in ((*key.split("/", 1), digest) for key, digest in stamp["sha256"].items())
    ]


def _parameters(made: ROCrate, workflow: Entity, model: str, experiments: list[str]) -> list[Entity]:
    """The settings of the run: the model's name, and every experiment's prompt and steering vector."""
    slots = {
        slot: made.add_formal_parameter(slot, "PropertyValue", f"#parameter-{slot}", description=words)
        for slot, words in _SLOTS.items()
    }
    workflow["input"] = list(slots.values())
    values: list[tuple[str, str, Any]] = [("model", "model", model.partition("/")[0])]
    for name in experiments:
        record = read_json(path(RECORD, model, name))
        settings = record["experiment"]
        values += [("experiment", f"{name}.prompt", settings["prompt"])]
        for place, addition in enumerate(additions(record)):
            of = f"{name}." if len(additions(record)) == 1 else f"{name}.{place}."
            values += [("experiment", f"{of}{key}", value) for key, value in addition["steering"].items()]
    return [
        _entity(made, f"#value-{name}", "PropertyValue", name=name, value=value, exampleOfWork=slots[slot])
        for slot, name, value in values
    ]


def _steps(made: ROCrate, workflow: Entity, rules: list[str]) -> dict[str, Entity]:
    """Every rule as a step of the workflow, by its name; each runs a subcommand of this package."""
    steps = {}
    for place, rule in enumerate(rules, 1):
        tool = {"name": f"{rule} of python -m replication", "softwareVersion": workflow["version"]}
        step = {"name": rule, "position": str(place)}
        steps[rule] = _entity(made, f"#step-{rule}", "HowToStep", **step)
        steps[rule]["workExample"] = _entity(made, f"#tool-{rule}", "SoftwareApplication", **tool)
    workflow["step"] = list(steps.values())
    workflow["hasPart"] = [step["workExample"] for step in steps.values()]
    return steps


def _actions(
    made: ROCrate, run: Entity, done: list[Job], steps: dict[str, Entity], files: Files, weights: list[Entity]
) -> None:
    """Every job as an action of its step's tool, and Snakemake as what started them."""
    status = {"actionStatus": _COMPLETED}
    controls = []
    for number, job in enumerate(done, 1):
        times = {"startTime": _time(job.started), "endTime": _time(job.ended)}
        # The files that `weights` verifies may lie on a hub, which Snakemake knows nothing of.
        inputs = weights if job.rule == "weights" else [files.entity(name) for name in _data(job.inputs)]
        outputs = [files.entity(output) for output in job.outputs]
        name = {"name": f"{job.rule} {number}", "description": job.command}
        action = made.add_action(
            steps[job.rule]["workExample"], f"#job-{number}", inputs, outputs, name | times | status
        )
        control = {"name": f"start of {job.rule} {number}", "instrument": steps[job.rule], "object": action}
        controls.append(_entity(made, f"#control-{number}", "ControlAction", **control, **status))
    run["startTime"] = _time(min(job.started for job in done))
    engine = {"name": "Snakemake's work", "instrument": made.get("#software-snakemake"), "object": controls}
    times = {"startTime": run["startTime"], "endTime": run["endTime"]}
    _entity(made, "#orchestration", "OrganizeAction", **engine, result=run, **times, **status)


def _compacted(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata with single values instead of lists of one, as RO-Crate recommends."""
    graph = [
        {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in entity.items()}
        for entity in metadata["@graph"]
    ]
    return {**metadata, "@graph": graph}


def _data(inputs: list[str]) -> list[str]:
    """Inputs without the package's own code, which the commit stands for."""
    return [name for name in inputs if not Path(name).is_relative_to(PACKAGE) and Path(name).is_file()]


def _entity(made: ROCrate, identifier: str, kind: str, **properties: Any) -> Entity:
    return made.add(ContextEntity(made, identifier, {"@type": kind, **properties}))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
