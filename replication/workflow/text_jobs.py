"""Which experiments texts are written for, and what that means for the jobs; works where Snakemake stands alone."""

from collections.abc import Iterable
from typing import Any

from replication.base import paths
from replication.workflow.snakefile import as_json


def measured_settings(config: dict[str, Any], name: str) -> str:
    """What decides the numbers of an experiment, as JSON: how texts are written does not."""
    return as_json({key: value for key, value in config["experiments"][name].items() if key != "completions"})


def completed(config: dict[str, Any], name: str) -> bool:
    """Whether an experiment asks for texts."""
    return config["experiments"][name].get("completions") is not None


def completion_files(config: dict[str, Any], model: str, names: Iterable[str]) -> list[str]:
    """The files of those experiments' texts that ask for them."""
    asked = [name for name in names if completed(config, name)]
    return [pattern.format(model=model, experiment=name) for name in asked for pattern in paths.OF_COMPLETIONS]


def completion_arguments(config: dict[str, Any], name: str) -> list[str]:
    """What the step that writes an experiment's texts is given: all its settings."""
    return [name, "--settings", as_json(config["experiments"][name])]


def page_arguments(config: dict[str, Any], name: str) -> list[str]:
    """What the step that draws an experiment is given: the run's experiments, and whether the page has texts."""
    return [name, *config["experiments"], *["--completed"] * completed(config, name)]
