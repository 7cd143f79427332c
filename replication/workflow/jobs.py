"""What the Snakefile's rules give their jobs: arguments, resources, inputs that depend on the configuration.

Works where only Snakemake is installed.
"""

import json
from collections.abc import Iterable
from typing import Any

from replication.base import paths
from replication.base.paths import REPOSITORY
from replication.base.recorded import listed
from replication.weights.at_hand import mark
from replication.workflow.code_digest import digest


def step(name: str, *given: Any, run: str = "") -> dict[str, Any]:
    """The parameters of a job's rule: `arguments` on its command line, and `code`, the digest of what it runs.

    Args:
        name: Name of the step.
        given: Lists of the arguments after the step and its model, or functions of the wildcards that return one.
        run: What follows the model's name if the job's files are those of a run: what `snakefile.run` returned.
    """

    def arguments(wildcards: Any) -> list[str]:
        parts = (part(wildcards) if callable(part) else part for part in given)
        return [name, f"{wildcards.model}{run}", *(str(each) for part in parts for each in part)]

    return {"code": digest(name), "arguments": arguments}


def as_json(part: Any) -> str:
    """The part of the configuration that decides a job's numbers, for its command line and its rerun trigger."""
    return json.dumps(part, ensure_ascii=False, sort_keys=True)


def vector_files(config: dict[str, Any], names: Iterable[str]) -> list[str]:
    """The files that vectors of some experiments are read from: inputs of the jobs that steer with them."""
    every = [each for name in names for each in listed(config["experiments"][name]["steering"])]
    return [str(paths.local_folder(each["vector"])) for each in every if each.get("vector")]


def model_arguments(config: dict[str, Any], model: str) -> list[str]:
    """Arguments of the step that verifies a model's files: where they come from, and the mark of those at hand."""
    entry = config["models"][model]
    return ["--settings", as_json(entry), "--mark", mark(model, entry)]


def memory(wildcards: Any, attempt: int) -> int:
    """Megabytes that a job that loads a model requests from a cluster; more at each attempt.

    GPT-2 XL takes 2.3 GB of its own and maps 6.4 GB of weights (docs/first-run.md), which some clusters count too.
    """
    return 10_000 * attempt


LARGE = {"mem_mb": memory, "runtime": 240}
"""Resources requested by a job that reads all of a model's weights."""


def model_resources(config: dict[str, Any]) -> dict[str, Any]:
    """Resources requested by a job that computes with a model; `gpu` is Slurm's plugin's name for a graphics card."""
    return LARGE | ({"gpu": 1} if config["device"] == "cuda" else {})


def control_tables(config: dict[str, Any]) -> list[str]:
    """Which of the controls the configuration switches on, by the names of their tables."""
    switches = {
        "random_vectors": "random_vectors",
        "random_by_layer": "random_vectors",
        "prompts": "more_prompts",
        "sweep": "sweep",
    }
    return [name for name, switch in switches.items() if config["controls"][switch]]


def control_kinds(config: dict[str, Any], name: str) -> list[str]:
    """The controls for which an experiment has something to show."""
    experiment = config["experiments"][name]
    prompts = experiment.get("more_prompts") or {}
    there = {
        "random_vectors": experiment.get("key_tokens"),
        "prompts": prompts.get("paraphrases") or prompts.get("neutral"),
        "sweep": experiment.get("key_tokens"),
    }
    return [kind for kind in paths.CONTROL_KINDS if kind in control_tables(config) and there[kind]]


def existing_pins(model: str, experiments: Iterable[str]) -> list[str]:
    """Pins that have been recorded: inputs of the job that compares with them."""
    pins = [paths.path(pattern, model, name) for name in experiments for pattern in (paths.PINS, paths.PIN_RECORD)]
    pins.append(paths.path(paths.PIN_PROVENANCE, model))
    return [str(REPOSITORY / pin) for pin in pins if (REPOSITORY / pin).exists()]


def measured_arguments(config: dict[str, Any], name: str) -> list[str]:
    """Arguments of the steps that measure an experiment: its name and settings, but for how texts are written."""
    settings = {key: value for key, value in config["experiments"][name].items() if key != "completions"}
    return [name, "--settings", as_json(settings)]


def completed(config: dict[str, Any], name: str) -> bool:
    """Whether texts are written for an experiment."""
    return config["experiments"][name].get("completions") is not None


def completion_files(config: dict[str, Any], model: str, names: Iterable[str]) -> list[str]:
    """The files of texts, for those of the experiments that have them."""
    having = [name for name in names if completed(config, name)]
    return [pattern.format(model=model, experiment=name) for name in having for pattern in paths.OF_COMPLETIONS]


def completion_arguments(config: dict[str, Any], name: str) -> list[str]:
    """Arguments of the step that writes an experiment's texts: all its settings."""
    return [name, "--settings", as_json(config["experiments"][name])]


def page_arguments(config: dict[str, Any], name: str) -> list[str]:
    """Arguments of the step that draws an experiment: the run's experiments, and whether the page has texts."""
    return [name, *config["experiments"], *["--completed"] * completed(config, name)]
