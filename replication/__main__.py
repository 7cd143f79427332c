"""The command line: one subcommand per step of the workflow; `snakemake` is how they are usually run.

Every step reads and writes the files of replication/paths.py, relative to the working directory.
"""

import contextlib
import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from replication import control_steps, questions, tables
from replication.arguments import Device, ExperimentName, ExperimentNames, ModelName, Numerics, Settings, Threads
from replication.config import REPOSITORY, checked_experiment, checked_model
from replication.errors import UserError
from replication.files import read_json, write_json, write_text
from replication.numerics import prepare
from replication.paths import (
    CLAIMS,
    HASHES,
    INDEX,
    INDEX_PAGE,
    LOSSES,
    PIN_PROVENANCE,
    PIN_RECORD,
    PINS,
    PROVENANCE,
    PUBLISHED,
    RECORD,
    REPORT,
    REPORT_PAGE,
    RESOURCES,
    SECOND_OPINION,
    SUMMARY,
    TOP10,
    VERDICT,
    VERIFICATION,
    VERIFIED,
    path,
)
from replication.paths import token_table as token_table_path

app = typer.Typer(
    help="Steps of the replication; run the whole with: snakemake --cores 4",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def logged(log: Annotated[Path | None, typer.Option(help="File for errors; ours with traceback.")] = None) -> None:
    """Prepares the log that `main` writes errors to."""
    global _log
    _log = log
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")


_log: Path | None = None


@app.command()
def weights(model: ModelName, settings: Settings) -> None:
    """Gets a model's files, checks their SHA-256, and checks that model, tokenizer and lens fit."""
    from replication import models
    from replication.verified import stamp
    from replication.weights import obtain

    configured = checked_model(model, json.loads(settings))
    files = obtain(model, configured, path(RESOURCES, model), Path(HASHES))
    hub = configured.weights
    checks = models.check(files, hub.repo, hub.revision) if hub else models.check(files, None)
    write_json(path(VERIFIED, model), stamp(files, configured.note, checks))


@app.command()
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
    from replication import measure as engine
    from replication import models

    configured = checked_experiment(experiment, json.loads(settings))
    files = _verified(model)
    shape = models.read_config(files.folder)
    tokenizer = models.Tokenizer(files.folder / "tokenizer.json")
    engine.check(tokenizer, shape.n_layer, shape.n_positions, configured)
    result = engine.measure(models.load(files, device), configured)
    engine.write(result, model, experiment)


@app.command()
def second_opinion(
    model: ModelName,
    experiments: ExperimentNames,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Reads the same prompts with tuned-lens' own PredictionTrajectory, beside our tables."""
    prepare(numerics, threads)
    import pandas as pd

    from replication import models
    from replication import second_opinion as opinion

    loaded = models.load(_verified(model), device)
    parts = []
    for experiment in experiments:
        losses, record = _measured(model, experiment)
        parts.append(opinion.second_opinion(loaded, experiment, record["prompt"]["ids"], losses))
    tables.write(pd.concat(parts), tables.SECOND_OPINION, path(SECOND_OPINION, model))


@app.command()
def published(
    model: ModelName,
    numerics: Numerics,
    device: Device,
    threads: Threads,
) -> None:
    """Measures what others published about these weights, and compares; other weights: not run."""
    prepare(numerics, threads)
    from replication import models
    from replication.published import table
    from replication.published.values import published_values

    table.write(published_values(models.load(_verified(model), device)), path(PUBLISHED, model))


@app.command()
def summary(model: ModelName, experiment: ExperimentName) -> None:
    """Writes the loss of every token at a few layers, unsteered, steered, and its change."""
    from replication import summary as summaries

    losses, record = _measured(model, experiment)
    tables.write(summaries.summary(losses, record), tables.SUMMARY, path(SUMMARY, model, experiment))


@app.command()
def token_tables(model: ModelName, experiment: ExperimentName) -> None:
    """Writes the loss of every token as tables in Markdown and LaTeX, from the summary."""
    from replication.latex_table import latex_table
    from replication.token_tables import markdown_table, token_table

    summary = tables.read(path(SUMMARY, model, experiment), tables.SUMMARY)
    record, note = read_json(path(RECORD, model, experiment)), read_json(path(VERIFIED, model))["note"]
    for protocol in tables.PROTOCOLS:
        table = token_table(summary, record, experiment, protocol, note)
        write_text(path(token_table_path(protocol, "md"), model, experiment), markdown_table(table))
        write_text(path(token_table_path(protocol, "tex"), model, experiment), latex_table(table))


@app.command()
def figures(model: ModelName, experiment: ExperimentName) -> None:
    """Draws all figures of one experiment, and its interactive page, from its tables."""
    from replication import figures as still
    from replication import interactive

    still.draw(model, experiment)
    interactive.draw(model, experiment)


@app.command()
def claims(model: ModelName, experiments: ExperimentNames) -> None:
    """Judges the post's statements by the tables."""
    from replication import claims as predicates

    found = {}
    for experiment in experiments:
        losses, record = _measured(model, experiment)
        top10 = tables.read(path(TOP10, model, experiment), tables.TOP10)
        found[experiment] = predicates.claims(losses, top10, record)
    write_json(path(CLAIMS, model), found)


@app.command()
def verify(model: ModelName, experiments: ExperimentNames) -> None:
    """Compares the numbers with the pins and with tuned-lens' own; writes the verdicts."""
    from replication.verify import verification

    write_json(path(VERIFICATION, model), verification(model, experiments))


@app.command()
def verdict(model: ModelName) -> None:
    """Prints the verdicts of `verify`, and fails where something differs."""
    from replication.verify import off_table, verdict_lines

    verdicts = read_json(path(VERIFICATION, model))
    print(verdict_lines(verdicts))
    if not verdicts["passed"]:
        print(off_table(verdicts))
        raise UserError(f"{path(VERIFICATION, model)}: measured numbers differ from what they are compared with")
    write_text(path(VERDICT, model), verdict_lines(verdicts) + "\n")


@app.command()
def pin(model: ModelName, experiments: ExperimentNames) -> None:
    """Records the measured numbers as the model's pins, if nothing differs; packs one archive to send."""
    from replication.archive import write_archive
    from replication.pins import pin_record, pinned_cells

    if not read_json(path(VERIFICATION, model))["passed"]:
        raise UserError(f"{path(VERIFICATION, model)}: something differs, so nothing is pinned")
    for experiment in experiments:
        losses, record = _measured(model, experiment)
        tables.write(pinned_cells(losses, record), tables.PIN, REPOSITORY / path(PINS, model, experiment))
        write_json(REPOSITORY / path(PIN_RECORD, model, experiment), pin_record(record))
        print(f"recorded {path(PINS, model, experiment)}")
    write_json(REPOSITORY / path(PIN_PROVENANCE, model), read_json(path(PROVENANCE, model)))
    print(f"packed {write_archive(model, experiments)}")


@app.command()
def report(model: ModelName, experiments: ExperimentNames) -> None:
    """Compiles the report from tables and verdicts, as Markdown and as one HTML page."""
    from replication.page import page
    from replication.report import markdown

    text = markdown(model, experiments)
    write_text(path(REPORT, model), text)
    write_text(path(REPORT_PAGE, model), page(text, path(REPORT, model).parent))


@app.command()
def index() -> None:
    """Compiles the index over all models that have results and a report here."""
    from replication.page import page
    from replication.report.index import index as compiled

    text = compiled()
    write_text(path(INDEX), text)
    write_text(path(INDEX_PAGE), page(text, path(INDEX).parent))
    print(f"wrote {path(INDEX)} and {path(INDEX_PAGE)}")


@app.command()
def provenance(model: ModelName, experiments: ExperimentNames) -> None:
    """Writes what varies by run: machine, time, commit, installed versions, hashes of the results."""
    from replication.provenance import provenance as gathered

    write_json(path(PROVENANCE, model), gathered(model, experiments))


@app.command()
def crate(model: ModelName, experiments: ExperimentNames) -> None:
    """Describes the run as a Provenance Run RO-Crate: inputs, steps, outputs, hashes, versions, times."""
    from replication.crate import write_crate

    write_crate(model, experiments)


control_steps.add_to(app)
questions.add_to(app)


def _verified(model: str) -> Any:
    from replication.verified import verified

    return verified(path(VERIFIED, model), Path(HASHES))


def _measured(model: str, experiment: str) -> tuple[Any, dict[str, Any]]:
    """The table and the record of an experiment."""
    losses = tables.read(path(LOSSES, model, experiment), tables.LOSSES)
    return losses, read_json(path(RECORD, model, experiment))


def main() -> None:
    """Runs the command line; errors end with one sentence on screen, tracebacks go to the log."""
    try:
        app()
    except UserError as error:
        _end(str(error), str(error), error)
    except OSError as error:
        sentence = f"{error.filename or 'a file'}: {error.strerror or error}; mend this and type the same command again"
        _end(sentence, sentence, error)
    except Exception as error:
        sentence = f"a fault of this package: {type(error).__name__}: {error}"
        where = f"; the traceback is in {_log}" if _log else ""
        _end(f"{sentence}{where}", traceback.format_exc(), error)


def _end(sentence: str, log_text: str, error: Exception) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    if _log is not None:
        # Where the disk is full or may not be written, that is what the sentence on screen says.
        with contextlib.suppress(OSError), _log.open("a", encoding="utf-8") as file:
            file.write(log_text + "\n")
    # A command whose exit status is a verdict marks its errors.
    sys.exit(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    main()
