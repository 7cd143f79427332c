"""Which experiments texts are written for, and what that means for jobs; works where only Snakemake is installed."""

from collections.abc import Iterable
from typing import Any

from replication.base import paths
from replication.workflow.snakefile import as_json


def measured_settings(config: dict[str, Any], name: str) -> str:
    """What decides the numbers of an experiment, as JSON: how texts are written does not."""
    return as_json({key: value for key, value in config["experiments"][name].items() if key != "completions"})


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
