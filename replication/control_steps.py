"""The command line's steps for what the post lacks: controls, sweep, and their verdicts."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from replication import tables
from replication.arguments import Device, ExperimentName, ExperimentNames, ModelName, Numerics, Settings, Threads
from replication.config import Controls, Experiment, checked_controls, checked_experiment
from replication.errors import UserError
from replication.files import read_json, write_json
from replication.numerics import prepare
from replication.paths import (
    CONTROL_TABLES,
    CONTROLS,
    HASHES,
    PROMPTS,
    RANDOM_VECTORS,
    RECORD,
    SWEEP,
    SWEEP_PART,
    VERIFIED,
    path,
)

ControlSettings = Annotated[str, typer.Option(help="The configuration's `controls`, as JSON.")]
Of = Annotated[list[str] | None, typer.Option(help="random_vectors, prompts or sweep; may stand several times.")]
Part = Annotated[int, typer.Option(min=0, help="Which part of the sweep, from 0 on.")]
Parts = Annotated[int, typer.Option(min=1, help="Number of parts.")]


def add_to(app: typer.Typer) -> None:
    """Adds the steps to the command line."""
    for name, step in (
        ("controls", controls),
        ("sweep", sweep),
        ("join-sweep", join_sweep),
        ("judge-controls", judge_controls),
        ("control-figures", control_figures),
    ):
        app.command(name=name)(step)


def controls(
    model: ModelName,
    experiment: ExperimentName,
    settings: Settings,
    control_settings: ControlSettings,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Steers with random vectors of the vector's norms, and after other prompts."""
    loaded, configured, wanted = _loaded(model, experiment, settings, control_settings, numerics, device, threads)
    from replication import controls as engine

    random = engine.random_vectors(loaded, configured, wanted.random_vectors, wanted.seed)
    tables.write(random, tables.RANDOM_VECTORS, path(RANDOM_VECTORS, model, experiment))
    prompts = engine.more_prompts(loaded, configured if wanted.more_prompts else _without_prompts(configured))
    tables.write(prompts, tables.PROMPTS, path(PROMPTS, model, experiment))


def sweep(
    model: ModelName,
    experiment: ExperimentName,
    settings: Settings,
    control_settings: ControlSettings,
    numerics: Numerics,
    device: Device,
    threads: Threads,
    part: Part = 0,
    parts: Parts = 1,
) -> None:
    """Steers at a part of the layers with every coefficient of the grid."""
    loaded, configured, wanted = _loaded(model, experiment, settings, control_settings, numerics, device, threads)
    from replication import controls as engine

    layers = loaded.gpt2.config.n_layer
    if parts > layers:
        raise UserError(f"controls.sweep_jobs: {parts} is too large; this model has {layers} layers to sweep over")
    some = range(layers * part // parts, layers * (part + 1) // parts)
    table = engine.sweep(loaded, configured, wanted.sweep_multiples, some)
    tables.write(table, tables.SWEEP, _part(model, experiment, part, parts))


def join_sweep(model: ModelName, experiment: ExperimentName, parts: Parts = 1) -> None:
    """Puts the parts of a sweep together, in the order of the layers."""
    import pandas as pd

    found = [tables.read(_part(model, experiment, part, parts), tables.SWEEP) for part in range(parts)]
    tables.write(pd.concat(found), tables.SWEEP, path(SWEEP, model, experiment))


def judge_controls(model: ModelName, experiments: ExperimentNames, of: Of = None) -> None:
    """Says by the controls' tables how far the post's cases go beyond chance, one prompt and one layer."""
    from replication import control_verdicts

    judges = {
        "random_vectors": control_verdicts.random_vectors,
        "prompts": control_verdicts.prompts,
        "sweep": control_verdicts.sweep,
    }
    found: dict[str, Any] = {}
    for experiment in experiments:
        record = read_json(path(RECORD, model, experiment))
        found[experiment] = {
            name: judges[name](
                tables.read(path(CONTROL_TABLES[name], model, experiment), tables.CONTROLS[name]), record
            )
            for name in of or []
        }
    write_json(path(CONTROLS, model), found)


def control_figures(model: ModelName, figures: Annotated[list[str], typer.Argument(help="EXPERIMENT/KIND")]) -> None:
    """Draws the controls' figures, each named by experiment and kind."""
    from replication.figures import draw_control

    for figure in figures:
        experiment, kind = figure.split("/")
        draw_control(kind, model, experiment)


def _loaded(
    model: str, experiment: str, settings: str, control_settings: str, mode: str, device: str, threads: int
) -> tuple[Any, Experiment, Controls]:
    """The model, the experiment and the controls' settings."""
    prepare(mode, threads)
    from replication import models
    from replication.verified import verified

    configured = checked_experiment(experiment, json.loads(settings))
    wanted = checked_controls(json.loads(control_settings))
    return models.load(verified(path(VERIFIED, model), Path(HASHES)), device), configured, wanted


def _without_prompts(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"more_prompts": None})


def _part(model: str, experiment: str, part: int, parts: int) -> Path:
    return Path(SWEEP_PART.format(model=model, experiment=experiment, part=part, parts=parts))
