"""Commands that are not steps of the workflow: `diff`, `figure`, `show`, `environment`, `cite`, `index`, `schema`.

`train-lens` has a file of its own.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from replication.base.errors import UserError
from replication.base.files import write_text, written_whole
from replication.base.numbers import fixed, signed
from replication.base.paths import (
    ALL_KINDS,
    FORMATS,
    INDEX,
    INDEX_PAGE,
    LOSSES,
    PRINT,
    RECORD,
    SCHEMA,
    in_checkout,
    path,
)
from replication.base.strict_yaml import read_yaml
from replication.base.tables import OUTPUT, PROTOCOLS
from replication.base.visible import visible
from replication.verification.differences import ERROR, STATUS, compare
from replication.verification.runs import read_run
from replication.workflow.own_lens import train_lens

Folder = Annotated[
    Path, typer.Argument(help="A model's results (results/miniature), or its pins (replication/pins/miniature).")
]

Ran = Annotated[str, typer.Option("--model", help="Model that was run; by default the configuration's.")]
Configfile = Annotated[Path | None, typer.Option("--configfile", help="Configuration that names the model.")]


class Judgement(TyperCommand):
    """A command whose exit status is a verdict: an error must not look like one, and exits with `ERROR`."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parses the arguments."""
        try:
            return super().make_context(*arguments, **options)
        except Exception as error:
            raise _with_status(error) from None

    def invoke(self, context: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(context)
        except Exception as error:
            raise _with_status(error) from None


def _with_status(error: Exception) -> Exception:
    # Help and verdicts are exits too, with a status of their own.
    if not isinstance(error, typer.Exit):
        error.exit_code = ERROR  # type: ignore[attr-defined]
    return error


def diff(
    a: Folder,
    b: Folder,
    csv: Annotated[Path | None, typer.Option(help="CSV file to write, with every cell that is not equal.")] = None,
    html: Annotated[Path | None, typer.Option(help="HTML file to write, with the comparison.")] = None,
) -> None:
    """Compares two runs, a run with the pins, or two models.

    Says which cells of the losses differ and by how much, where the most probable token changed (ties apart), and what
    differs in settings, versions, machine and hashes.

    The exit status is 0 if both have the same, equal to the last bit; 1 if losses differ within the tolerance (the
    smaller of the two); 2 if they differ by more, or one has what the other lacks (experiment, table or cell, except
    what pins never hold); 3 for an error.

    Example: python -m replication diff results/miniature replication/pins/miniature --html differences.html
    """
    from replication.report import two_runs as account

    comparison = compare(read_run(a), read_run(b))
    print(account.terminal(comparison))
    if csv is not None:
        with written_whole(csv) as temporary:
            account.table(comparison).to_csv(temporary, index=False, lineterminator="\n")
    if html is not None:
        write_text(html, account.html(comparison))
    raise typer.Exit(STATUS[comparison.verdict])


def figure(
    experiment: Annotated[
        str, typer.Argument(help="Name of an experiment that has been run; of beyond_chance several, commas between.")
    ],
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(ALL_KINDS)}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf.")],
    model: Ran = "",
    configfile: Configfile = None,
    width: Annotated[float | None, typer.Option(help="Inches; no text is smaller than 6 points.")] = None,
    title: Annotated[bool, typer.Option(help="Draw the lines on top that say what is shown.")] = True,
    layers: Annotated[str | None, typer.Option(help="Layers to show, such as 0,6,12-47,output.")] = None,
    tokens: Annotated[str | None, typer.Option(help="Positions to show, such as 3-8.")] = None,
) -> None:
    """Draws one figure from the tables of a run, as wide as a paper's column, of the layers and tokens you choose.

    Example: python -m replication figure love_hate layers --model miniature --width 3.3 --no-title -o layers.pdf
    The report's first: python -m replication figure love_hate,anger beyond_chance --model miniature -o first.pdf
    """
    from replication.figures.draw import draw_one
    from replication.figures.view import View

    suffixes = [f".{suffix}" for suffix in (*FORMATS, PRINT)]
    if output.suffix not in suffixes:
        raise UserError(f"{output}: a figure's file name must end in {', '.join(suffixes)}")
    experiments = experiment.split(",")
    (ran,) = {_ran(each, model, configfile) for each in experiments}
    draw_one(kind, ran, experiments, [output], View(width, title, layers, tokens))


def show(
    experiment: Annotated[str, typer.Argument(help="Name of an experiment that has been run.")],
    token: Annotated[str, typer.Option(help="Token of the prompt, a leading space may be left out; or its place.")],
    layer: Annotated[str, typer.Option(help="Block whose input the lens reads, or output.")] = OUTPUT,
    protocol: Annotated[str, typer.Option(help="raw or centred residuals.")] = PROTOCOLS[0],
    model: Ran = "",
    configfile: Configfile = None,
) -> None:
    """Prints the loss of one token at one layer, unsteered and steered, from the tables of a run.

    Example: python -m replication show love_hate --token wonderful --layer 12 --model miniature
    """
    from replication.base import tables
    from replication.verification.summary import cell_of

    losses = tables.read(path(LOSSES, _ran(experiment, model, configfile), experiment), tables.LOSSES)
    # The token as it stands in the prompt, or with the space in front that nobody types, or its place.
    there = set(losses["target_token"])
    named = next((each for each in (token, f" {token}") if each in there), int(token) if token.isdigit() else token)
    cell = cell_of(losses, named, layer, protocol)
    where = "the output" if layer == OUTPUT else f"layer {layer}, {protocol} residuals"
    print(f"{visible(str(cell['target_token'].iloc[0]))} at {where}")
    for condition, row in cell.iterrows():
        best = f"{visible(row['top_token'])} {row['top_probability']:.1%}"
        print(f"{condition:<9} {fixed(row['loss'], 4):>8} nats   rank {row['rank']:<5} most probable {best}")
    print(f"change    {signed(cell['loss'].iloc[1] - cell['loss'].iloc[0], 4):>8} nats")


def _ran(experiment: str, model: str, configfile: Path | None) -> str:
    """The model that was named or is configured; raises UserError where it has no tables of the experiment."""
    model = model or _configured_model(configfile)
    if not path(RECORD, model, experiment).exists():
        there = sorted(str(file.parent) for file in Path().glob(str(path(RECORD, "*", "*")))) or ["none"]
        raise UserError(
            f"{path(RECORD, model, experiment).parent}: no run has left its tables there; tables are in: "
            + ", ".join(there)
        )
    return model


def _configured_model(file: Path | None) -> str:
    """The model that a run with this configuration file would take."""
    own = read_yaml(file) if file else None
    configuration = own if isinstance(own, dict) and "model" in own else read_yaml(in_checkout("config.yaml"))
    return str(configuration["model"])


def environment() -> None:
    """Prints versions, torch's build, processor, settings and hashes, to paste into an issue."""
    from replication.workflow.environment import environment as gathered

    print(gathered())


def cite() -> None:
    """Prints BibTeX of this package, the post and the methods."""
    from replication.report.citation import bibtex

    print(bibtex(), end="")


def index() -> None:
    """Compiles the index over all models that have results and a report here."""
    from replication.report.html_page import page
    from replication.report.index import index as compiled

    text = compiled()
    write_text(path(INDEX), text)
    write_text(path(INDEX_PAGE), page(text, path(INDEX).parent))
    print(f"wrote {path(INDEX)} and {path(INDEX_PAGE)}")


def write_schema() -> None:
    """Writes config.schema.json and docs/configuration.md anew from the configuration's classes."""
    from replication.base.config import schema
    from replication.workflow.options import options

    page = in_checkout("docs") / "configuration.md"
    write_text(SCHEMA, schema())
    write_text(page, options())


def add_to(app: typer.Typer) -> None:
    """Adds these commands to the command line."""
    app.command(cls=Judgement)(diff)
    app.command()(figure)
    app.command()(show)
    app.command()(environment)
    app.command()(cite)
    app.command()(index)
    app.command()(train_lens)
    app.command(name="schema")(write_schema)
