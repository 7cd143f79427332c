"""Faults of experiments that only the model's files show, reported before anything runs; without torch."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replication.base import paths
from replication.base.errors import UserError
from replication.weights.forms import TOKENIZERS

if TYPE_CHECKING:
    from replication.engine.gpt2_config import Config
    from replication.engine.tokenizer import Tokenizer


def misfits(jobs: Sequence[tuple[str, Mapping[str, str]]], config: dict[str, Any]) -> list[str]:
    """A sentence for each experiment that does not fit its model, as far as the model's files are at hand.

    Args:
        jobs: Rule and wildcards of the jobs that are to run.
        config: The checked configuration.
    """
    if not find_spec("torch"):  # only Snakemake is installed
        return []
    fetched = {of["model"] for rule, of in jobs if rule == "weights"}
    measured = [of for rule, of in jobs if rule == "measure"]
    sentences = []
    for model in sorted({of["model"] for of in measured}):
        entry = config["models"][model]
        # A download may bring other files than an earlier run's.
        if (entry.get("folder") or model not in fetched) and (read := _read(model, entry)):
            names = sorted(of["experiment"] for of in measured if of["model"] == model)
            sentences += [text for name in names if (text := _misfit(name, config["experiments"][name], *read))]
    return sentences


def model_folder(name: str, model: dict[str, Any]) -> Path:
    """Where a model's files lie, or will: in its own folder, or where they are downloaded to."""
    return paths.local_folder(model["folder"]) if model.get("folder") else paths.path(paths.RESOURCES, name) / "model"


def _read(name: str, model: dict[str, Any]) -> "tuple[Tokenizer, Config] | None":
    """Tokenizer and shape of a model; None if they are missing or wrong, which the step `weights` reports."""
    from replication.engine.gpt2_config import read_config
    from replication.engine.tokenizer import Tokenizer

    folder = model_folder(name, model)
    forms = ([folder / file for file in form] for form in TOKENIZERS)
    with suppress(OSError, UserError, StopIteration):
        return Tokenizer(next(form for form in forms if all(map(Path.exists, form)))), read_config(folder)
    return None


def _misfit(name: str, settings: dict[str, Any], tokenizer: "Tokenizer", shape: "Config") -> str:
    """What is wrong with an experiment, beginning with the key of the configuration; empty if nothing is."""
    from replication.base.config import checked_experiment
    from replication.engine.sides import check

    try:
        check(tokenizer, shape, checked_experiment(name, settings))
    except UserError as error:
        return f"experiments.{name}.{error}"
    return ""
