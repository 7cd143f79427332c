"""The workflow's steps on tables: verdicts, figures, report, and what is remembered of a run.

Every step reads and writes the files of replication/base/paths.py, relative to the working directory.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replication.base import tables
from replication.base.errors import UserError
from replication.base.files import read_json, write_json, write_text
from replication.base.paths import (
    BEYOND_CHANCE,
    CLAIMS,
    CONTROL_TABLES,
    CONTROLS,
    DIFFERENCES,
    FORMATS,
    KEY_TOKENS_TABLE,
    LOSSES,
    PINS,
    PRINT,
    PROVENANCE,
    RECORD,
    REPORT,
    REPORT_PAGE,
    SUMMARY,
    SWEEP,
    SWEEP_PART,
    TOP10,
    VERDICT,
    VERDICTS_TABLE,
    VERIFICATION,
    VERIFIED,
    beyond_chance,
    path,
    token_table,
)
from replication.workflow.arguments import Completed, ExperimentName, ExperimentNames, ModelName, Parts, Tables

if TYPE_CHECKING:
    import pandas as pd


def add_to(app: typer.Typer) -> None:
    """Adds the steps to the command line."""
    for step in (
        *(join_sweep, judge_controls, claims, verification, verdict),
        *(summary, figures, figure_for_print, control_figures, report, provenance, crate, pin),
    ):
        app.command(name=step.__name__)(step)


def join_sweep(model: ModelName, experiment: ExperimentName, parts: Parts) -> None:
    """Puts the parts of a sweep together, in the order of the layers."""
    import pandas as pd

    files = [SWEEP_PART.format(model=model, experiment=experiment, part=part, parts=parts) for part in range(parts)]
    joined = pd.concat([tables.read(Path(file), tables.SWEEP) for file in files])
    tables.write(joined, tables.SWEEP, path(SWEEP, model, experiment))


def judge_controls(model: ModelName, experiments: ExperimentNames, table: Tables = []) -> None:  # noqa: B006
    """Judges by the controls' tables how far the post's cases go beyond chance, one prompt and one layer."""
    from replication.verification import chance

    # Named one by one: the digest of this step's code follows names.
    judges = {
        "random_vectors": chance.random_vectors,
        "random_by_layer": chance.random_by_layer,
        "prompts": chance.prompts,
        "sweep": chance.sweep,
    }
    verdicts: dict[str, Any] = {}
    for experiment in experiments:
        record = read_json(path(RECORD, model, experiment))
        measured = {
            name: tables.read(path(CONTROL_TABLES[name], model, experiment), tables.CONTROLS[name]) for name in table
        }
        verdicts[experiment] = {name: judges[name](measured[name], record) for name in table}
    write_json(path(CONTROLS, model), verdicts)


def claims(model: ModelName, experiments: ExperimentNames) -> None:
    """Judges the post's statements by the tables."""
    from replication.verification.claims import claims as judged

    verdicts = {}
    for experiment in experiments:
        losses, record = _measured(model, experiment)
        top10 = tables.read(path(TOP10, model, experiment), tables.TOP10)
        verdicts[experiment] = judged(losses, top10, record)
    write_json(path(CLAIMS, model), verdicts)


def verification(
    model: ModelName,
    experiments: ExperimentNames,
    despite: Annotated[list[str], typer.Option(help="A published set that may differ; repeatable.")] = [],  # noqa: B006
) -> None:
    """Compares the numbers with the pins, with tuned-lens' own and with published ones; writes the verdicts."""
    from replication.verification.verdicts import verification as compared

    write_json(path(VERIFICATION, model), compared(model, experiments, despite))


def verdict(model: ModelName, experiments: ExperimentNames) -> None:
    """Writes the verdicts of `verification` as text; where something differs, says what, packs it up, and fails."""
    from replication.verification.verdicts import off_table, verdict_lines, what_to_send
    from replication.workflow.archive import write_archive

    verdicts = read_json(path(VERIFICATION, model))
    if not verdicts["passed"]:
        print(verdict_lines(verdicts), off_table(verdicts), sep="\n")
        # The Snakefile prints it after all that Snakemake says of a failed job.
        write_text(path(DIFFERENCES, model), what_to_send(verdicts, write_archive(model, experiments)))
        raise UserError(f"{path(VERIFICATION, model)}: measured numbers differ from what they are compared with")
    write_text(path(VERDICT, model), verdict_lines(verdicts) + "\n")


def summary(model: ModelName, experiment: ExperimentName) -> None:
    """Writes each token's loss at a few layers, as a table to compute with and as tables to read."""
    from replication.report.latex_table import latex_table
    from replication.report.token_tables import markdown_table
    from replication.report.token_tables import token_table as contents
    from replication.verification.summary import summary as by_token_of

    losses, record = _measured(model, experiment)
    by_token = by_token_of(losses, record)
    tables.write(by_token, tables.SUMMARY, path(SUMMARY, model, experiment))
    note = read_json(path(VERIFIED, model))["note"]
    for protocol in tables.PROTOCOLS:
        table = contents(by_token, record, experiment, protocol, note)
        write_text(path(token_table(protocol, "md"), model, experiment), markdown_table(table))
        write_text(path(token_table(protocol, "tex"), model, experiment), latex_table(table))


def figures(
    model: ModelName,
    experiment: ExperimentName,
    run: Annotated[list[str], typer.Argument(help="All experiments of the run, which the page links to.")] = [],  # noqa: B006
    completed: Annotated[bool, typer.Option(help="Whether texts were written for it.")] = False,
) -> None:
    """Draws the figures of one experiment and its interactive page."""
    from replication.figures import interactive
    from replication.figures.draw import draw as draw_all

    draw_all(model, experiment)
    interactive.draw(model, experiment, run, completed)


def figure_for_print(
    model: ModelName, experiment: ExperimentName, kind: Annotated[str, typer.Argument(help="Kind of figure.")]
) -> None:
    """Draws one figure of an experiment as PDF."""
    from replication.figures.draw import draw_one, figure_files

    draw_one(kind, model, [experiment], figure_files(kind, model, experiment, (PRINT,)))


def control_figures(model: ModelName, names: Annotated[list[str], typer.Argument(help="EXPERIMENT/KIND")]) -> None:
    """Draws the controls' figures, each named by experiment and kind; and one over all with random vectors."""
    from replication.figures.draw import draw_one, figure_files

    pairs = [name.split("/") for name in names]
    for experiment, kind in pairs:
        draw_one(kind, model, [experiment], figure_files(kind, model, experiment, FORMATS))
    if compared := [experiment for experiment, kind in pairs if kind == "random_vectors"]:
        files = [path(beyond_chance(suffix), model) for suffix in (*FORMATS, PRINT)]
        draw_one(BEYOND_CHANCE, model, compared, files)


def report(model: ModelName, experiments: ExperimentNames, completed: Completed = []) -> None:  # noqa: B006
    """Compiles the report from tables and verdicts, as Markdown and one HTML page, and its first tables as LaTeX."""
    from replication.report.compile import contents, markdown
    from replication.report.html_page import page
    from replication.report.latex_summary import key_tokens_table, verdicts_table

    gathered = contents(model, experiments, completed)
    text = markdown(gathered)
    write_text(path(REPORT, model), text)
    write_text(path(REPORT_PAGE, model), page(text, path(REPORT, model).parent))
    described, controls = gathered["experiments"], read_json(path(CONTROLS, model))
    write_text(path(KEY_TOKENS_TABLE, model), key_tokens_table(model, described))
    write_text(path(VERDICTS_TABLE, model), verdicts_table(model, described, gathered["claims"], controls))


def provenance(model: ModelName, experiments: ExperimentNames) -> None:
    """Writes what varies by run: machine, time, commit, installed versions, hashes of the results."""
    from replication.workflow.provenance import provenance as gathered

    write_json(path(PROVENANCE, model), gathered(model, experiments))


def crate(model: ModelName, experiments: ExperimentNames, completed: Completed = []) -> None:  # noqa: B006
    """Describes the run as a Provenance Run RO-Crate: inputs, steps, outputs, hashes, versions, times."""
    from replication.workflow.crate import write_crate

    write_crate(model, experiments, completed)


def pin(
    model: ModelName,
    experiments: ExperimentNames,
    uncommitted: Annotated[bool, typer.Option(help="Record pins even from code with uncommitted changes.")] = False,
) -> None:
    """Records the measured numbers as the model's pins, if nothing differs; packs one archive to send."""
    from replication.workflow.archive import write_archive
    from replication.workflow.pinning import record_pins

    verdicts = read_json(path(VERIFICATION, model))
    if not verdicts["passed"]:
        raise UserError(f"{path(VERIFICATION, model)}: something differs, so nothing is pinned")
    recorded = record_pins(model, experiments, uncommitted, list(verdicts["published"].get("verdicts", [])))
    for experiment in experiments:
        done = "recorded" if experiment in recorded else "the same numbers were recorded before in"
        print(f"{done} {path(PINS, model, experiment)}")
    print(f"packed {write_archive(model, experiments)}")


def _measured(model: str, experiment: str) -> tuple["pd.DataFrame", dict[str, Any]]:
    """The table and the record of an experiment."""
    losses = tables.read(path(LOSSES, model, experiment), tables.LOSSES)
    return losses, read_json(path(RECORD, model, experiment))
