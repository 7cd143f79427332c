"""Everything that draws: one experiment's tables in, its figures out."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from replication import figure_files, tables
from replication.errors import UserError
from replication.figures.words import alt_text, control_alt_text
from replication.files import read_json
from replication.paths import CONTROL_TABLES, EFFECT, LOGIT_LENS, LOSSES, RECORD, path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from replication.figures.page import Drawing

__all__ = ["alt_text", "control_alt_text", "draw", "draw_control", "drawing"]


def draw(model: str, experiment: str) -> None:
    """Draws every figure of one experiment, in every format, from its tables."""
    losses = tables.read(path(LOSSES, model, experiment), tables.LOSSES)
    effect = tables.read(path(EFFECT, model, experiment), tables.EFFECT)
    logit_lens = tables.read(path(LOGIT_LENS, model, experiment), tables.LOGIT_LENS)
    record = read_json(path(RECORD, model, experiment))
    for kind in figure_files.KINDS:
        _save(drawing(kind, losses, effect, logit_lens, record), kind, model, experiment)


def drawing(
    kind: str, losses: pd.DataFrame, effect: pd.DataFrame, logit_lens: pd.DataFrame, record: dict[str, Any]
) -> "Drawing":
    """One figure of one experiment, with its words.

    Args:
        kind: One of `figure_files.KINDS`.
        losses: Columns of `tables.LOSSES`.
        effect: Columns of `tables.EFFECT`.
        logit_lens: Columns of `tables.LOGIT_LENS`.
        record: What went in.

    Raises:
        UserError: There is no such kind.
    """
    # The report wants only the words above, not matplotlib.
    from replication.figures import curves, fit, overview, post

    figures = {
        "post_raw": lambda: post.post(losses, record, "raw"),
        "post_centred": lambda: post.post(losses, record, "centred"),
        "lens": lambda: overview.lens(losses, record),
        "output": lambda: curves.output(losses, record),
        "layers": lambda: curves.layers(losses, logit_lens, record),
        "kl": lambda: overview.kl(effect, record),
        "lenses": lambda: fit.lenses(losses, logit_lens, record),
    }
    if kind not in figures:
        raise UserError(f"no figure is called {kind!r}; the figures are {', '.join(figures)}")
    drawn = figures[kind]()
    drawn.alt_text = alt_text(kind, losses, effect, record)
    return drawn


def draw_control(kind: str, model: str, experiment: str) -> None:
    """Draws the figure of one control, in every format, from its table."""
    from replication.figures import controls

    drawn = {"random_vectors": controls.random_vectors, "prompts": controls.prompts, "sweep": controls.sweep}
    table = tables.read(path(CONTROL_TABLES[kind], model, experiment), tables.CONTROLS[kind])
    _save(drawn[kind](table, read_json(path(RECORD, model, experiment))), kind, model, experiment)


def _save(figure: "Figure", kind: str, model: str, experiment: str) -> None:
    from replication.figures import page

    for name in figure_files.FORMATS:
        page.save(figure, path(figure_files.figure(kind, name), model, experiment))
