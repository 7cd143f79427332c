"""Everything that draws: one experiment's tables in, its figures out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from replication.base import paths, tables
from replication.base.errors import UserError
from replication.base.files import read_json
from replication.base.paths import path
from replication.figures.alt_text import alt_text
from replication.figures.positions import in_view, with_chosen_layers
from replication.figures.view import WHOLE, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from replication.figures.canvas import Drawing


def draw(model: str, experiment: str) -> None:
    """Draws every figure of one experiment from its tables, in the formats of the default target."""
    read, record = _tables(model, experiment), read_json(path(paths.RECORD, model, experiment))
    for kind in paths.KINDS:
        _save(drawing(kind, *read, record), figure_files(kind, model, experiment, paths.FORMATS))


def figure_files(kind: str, model: str, experiment: str, formats: Sequence[str]) -> list[Path]:
    """Where the workflow's figures lie."""
    return [path(paths.figure(kind, suffix), model, experiment) for suffix in formats]


def draw_one(kind: str, model: str, experiments: Sequence[str], files: Sequence[Path], view: View = WHOLE) -> None:
    """Draws one figure of any kind, from the tables it shows.

    Args:
        kind: One of `paths.ALL_KINDS`.
        model: Name of the model.
        experiments: Name of the experiment; of `paths.BEYOND_CHANCE` there may be several.
        files: To write; the format is that of a file's suffix.
        view: What it shows, and how large.

    Raises:
        UserError: There is no such kind, or not of these experiments, a table is missing, or the view is none that the
            kind can have.
    """
    _refuse_unknown(kind, paths.ALL_KINDS)
    if kind == paths.BEYOND_CHANCE:
        _save(_over_all(model, experiments, view), files)
        return
    if len(experiments) > 1:
        raise UserError(f"the figure {kind} is of one experiment; {paths.BEYOND_CHANCE} may be of several")
    (experiment,) = experiments
    record = read_json(path(paths.RECORD, model, experiment))
    if kind in paths.CONTROL_KINDS:
        table = tables.read(path(paths.CONTROL_TABLES[kind], model, experiment), tables.CONTROLS[kind])
        _save(control_drawing(kind, table, record, view), files)
    else:
        _save(drawing(kind, *_tables(model, experiment), record, view), files)


def drawing(
    kind: str,
    losses: pd.DataFrame,
    effect: pd.DataFrame,
    logit_lens: pd.DataFrame,
    record: dict[str, Any],
    view: View = WHOLE,
) -> "Drawing":
    """One figure of one experiment, with its alternative text.

    Args:
        kind: One of `paths.KINDS`.
        losses: Columns of `tables.LOSSES`.
        effect: Columns of `tables.EFFECT`.
        logit_lens: Columns of `tables.LOGIT_LENS`.
        record: The experiment's record.
        view: What it shows, and how large.

    Raises:
        UserError: There is no such kind, or the view is none that it can have.
    """
    # The report imports this package without matplotlib.
    from replication.figures import by_layer, curves, lens_fit, overview, post

    _refuse_unknown(kind, paths.KINDS)
    losses, effect, record = in_view(kind, losses, effect, record, view)
    figures = {
        "post_raw": lambda: post.post(losses, record, "raw", view),
        "post_centred": lambda: post.post(losses, record, "centred", view),
        "lens": lambda: overview.lens(losses, record, view),
        "output": lambda: curves.output(losses, record, view),
        "layers": lambda: by_layer.layers(losses, logit_lens, record, view),
        "kl": lambda: overview.kl(effect, record, view),
        "lenses": lambda: lens_fit.lenses(losses, logit_lens, record, view),
    }
    drawn = figures[kind]()
    drawn.alt_text = alt_text(kind, losses, effect, record)
    return drawn


def control_drawing(kind: str, table: pd.DataFrame, record: dict[str, Any], view: View = WHOLE) -> "Figure":
    """The figure of a control.

    Args:
        kind: One of `paths.CONTROL_KINDS`.
        table: Its columns of `tables.CONTROLS`.
        record: The experiment's record.
        view: What it shows, and how large.

    Raises:
        UserError: The experiment lacks what the control is about, or the view is none that the kind can have.
    """
    from replication.figures import against_chance, sweep

    _refuse_empty(kind, table, record, "this experiment")
    drawn = {
        "random_vectors": against_chance.random_vectors,
        "prompts": against_chance.prompts,
        "sweep": sweep.sweep,
    }
    return drawn[kind](table, with_chosen_layers(kind, record, view), view)


def _refuse_unknown(kind: str, kinds: Sequence[str]) -> None:
    if kind not in kinds:
        raise UserError(f"no figure is called {kind!r}; the figures are {', '.join(kinds)}")


def _refuse_empty(kind: str, table: pd.DataFrame, record: dict[str, Any], whose: str) -> None:
    needs = "other prompts" if kind == "prompts" else "key tokens"
    if table.empty or (kind != "prompts" and not record["key_positions"]):
        raise UserError(f"the figure {kind} needs {needs}, and {whose} has none")


def _over_all(model: str, experiments: Sequence[str], view: View) -> "Drawing":
    """The figure over several experiments."""
    from replication.figures.beyond_chance import beyond_chance

    read = []
    for name in experiments:
        record = with_chosen_layers(paths.BEYOND_CHANCE, read_json(path(paths.RECORD, model, name)), view)
        table = tables.read(path(paths.RANDOM_BY_LAYER, model, name), tables.RANDOM_BY_LAYER)
        _refuse_empty(paths.BEYOND_CHANCE, table, record, name)
        read.append((record, table))
    return beyond_chance(read, view)


def _tables(model: str, experiment: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Losses, effect and logit lens of an experiment."""
    return (
        tables.read(path(paths.LOSSES, model, experiment), tables.LOSSES),
        tables.read(path(paths.EFFECT, model, experiment), tables.EFFECT),
        tables.read(path(paths.LOGIT_LENS, model, experiment), tables.LOGIT_LENS),
    )


def _save(figure: "Figure", files: Sequence[Path]) -> None:
    from replication.figures.canvas import save

    for file in files:
        save(figure, file)
