"""The workflow's steps that read a model's files: each checks its settings first, loads, measures, writes.

Every step reads and writes the files of replication/base/paths.py, relative to the working directory.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from replication.base import tables
from replication.base.config import Experiment, checked_controls, checked_experiment, checked_model
from replication.base.errors import UserError
from replication.base.files import read_json, write_json
from replication.base.paths import (
    CONTROL_TABLES,
    HASHES,
    PUBLISHED,
    RECORD,
    RESOURCES,
    SECOND_OPINION,
    SWEEP_PART,
    VERIFIED,
    path,
)
from replication.engine.cuda import full_in_one_sentence
from replication.engine.numerics import prepare
from replication.weights.model_files import Files, verified
from replication.workflow.arguments import (
    ControlSettings,
    Device,
    ExperimentName,
    ExperimentNames,
    Mark,
    ModelName,
    Numerics,
    Part,
    Parts,
    Settings,
    Tables,
    Threads,
)

if TYPE_CHECKING:
    from replication.engine.loaded import Loaded


def add_to(app: typer.Typer) -> None:
    """Adds the steps to the command line."""
    for step in (weights, measure, completions, controls, sweep_part, second_opinion, published_values):
        app.command(name=step.__name__)(full_in_one_sentence()(step))


def weights(model: ModelName, settings: Settings, mark: Mark) -> None:
    """Gets a model's files, checks their SHA-256, and checks that model, tokenizer and lens fit."""
    from replication.engine.fit_checks import check
    from replication.weights import at_hand
    from replication.weights.model_files import stamp
    from replication.weights.obtain import obtain

    entry = json.loads(settings)
    configured = checked_model(model, entry)
    files = obtain(model, configured, path(RESOURCES, model), Path(HASHES))
    hub = configured.weights
    checks = check(files, hub.repo, hub.revision) if hub else check(files, None)
    at_hand.record(model, entry, mark)
    write_json(path(VERIFIED, model), stamp(files, configured.note, checks))
    _verified(model)  # raises where a file has changed since it was hashed


def measure(
    model: ModelName,
    experiment: ExperimentName,
    settings: Settings,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Runs one experiment: unsteered and steered, raw and centred, every layer and position."""
    prepare(numerics, threads)
    from replication.engine import measure as engine
    from replication.engine.gpt2_config import read_config
    from replication.engine.loaded import load
    from replication.engine.sides import check
    from replication.engine.tokenizer import Tokenizer

    configured = checked_experiment(experiment, json.loads(settings))
    files = _verified(model)
    check(Tokenizer(files.tokenizer), read_config(files.folder), configured)
    engine.write(engine.measure(load(files, device), configured), model, experiment)


def completions(
    model: ModelName,
    experiment: ExperimentName,
    settings: Settings,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Lets the unsteered and the steered model complete a prompt, and reads each token's loss under both."""
    loaded, configured = _loaded(model, experiment, settings, numerics, device, threads)
    from replication.engine import completed as engine

    engine.write(engine.complete(loaded, configured), model, experiment)


def controls(
    model: ModelName,
    experiment: ExperimentName,
    settings: Settings,
    control_settings: ControlSettings,
    table: Tables,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Steers with random vectors of the vector's norms, after other prompts, and over layers and coefficients."""
    config = checked_controls(json.loads(control_settings))
    loaded, configured = _loaded(model, experiment, settings, numerics, device, threads)
    from replication.engine import controls as engine

    at_output, by_layer = engine.random_vectors(loaded, configured, config.random_vectors, config.seed)
    made = {"random_vectors": at_output, "random_by_layer": by_layer}
    made["prompts"] = engine.more_prompts(loaded, configured, config.more_prompts)
    if "sweep" in table:
        layers = range(loaded.gpt2.config.n_layer)
        made["sweep"] = engine.sweep(loaded, configured, config.sweep_multiples, layers)
    for name in table:
        tables.write(made[name], tables.CONTROLS[name], path(CONTROL_TABLES[name], model, experiment))


def sweep_part(
    model: ModelName,
    experiment: ExperimentName,
    settings: Settings,
    control_settings: ControlSettings,
    part: Part,
    parts: Parts,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Steers at a part of the layers with every coefficient of the grid."""
    config = checked_controls(json.loads(control_settings))
    loaded, configured = _loaded(model, experiment, settings, numerics, device, threads)
    from replication.engine import controls as engine

    layers = loaded.gpt2.config.n_layer
    if parts > layers:
        raise UserError(f"controls.sweep_jobs: {parts} is too large; this model has {layers} layers to sweep over")
    some = range(layers * part // parts, layers * (part + 1) // parts)
    target = Path(SWEEP_PART.format(model=model, experiment=experiment, part=part, parts=parts))
    tables.write(engine.sweep(loaded, configured, config.sweep_multiples, some), tables.SWEEP, target)


def second_opinion(
    model: ModelName,
    experiments: ExperimentNames,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Reads the same prompts, unsteered and steered, with Hugging Face's GPT-2 and the tuned-lens library."""
    prepare(numerics, threads)
    from replication.engine.second_opinion import second_opinion as opinion_of

    files = _verified(model)
    records = {name: read_json(path(RECORD, model, name)) for name in experiments}
    opinion = opinion_of(files.folder, files.lens_folder, records, device)
    tables.write(opinion, tables.SECOND_OPINION, path(SECOND_OPINION, model))


def published_values(
    model: ModelName,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Measures what others published about these weights, and compares; other weights are not loaded or run."""
    from replication.verification import published_table
    from replication.verification.published_sets import MODELS, published_sets

    known = [each for name in MODELS for each in published_sets(name)]
    sha256 = read_json(path(VERIFIED, model))["sha256"]
    measured = {}
    if sets := published_table.sets_to_run(known, sha256):
        prepare(numerics, threads)
        from replication.engine.loaded import load
        from replication.engine.published_values import measured_sets

        measured = measured_sets(load(_verified(model), device), sets)
    published_table.write(published_table.comparison(known, sha256, measured), path(PUBLISHED, model))


def _loaded(
    model: str, experiment: str, settings: str, numerics: str, device: str, threads: int
) -> tuple["Loaded", Experiment]:
    """The model, in the arithmetic requested, and the experiment."""
    prepare(numerics, threads)
    from replication.engine.loaded import load

    configured = checked_experiment(experiment, json.loads(settings))
    return load(_verified(model), device), configured


def _verified(model: str) -> Files:
    return verified(path(VERIFIED, model), Path(HASHES))
