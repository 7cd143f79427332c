"""Everything that draws: one experiment's tables in, its figures out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from replication.base import paths, tables
from replication.base.errors import UserError
from replication.base.files import read_json
from replication.base.paths import path
from replication.figures.alt_text import alt_text
from replication.figures.positions import in_window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from replication.figures.canvas import Drawing


def draw(model: str, experiment: str) -> None:
    """Draws every figure of one experiment, in every format of the default target, from its tables."""
    read, record = _tables(model, experiment), read_json(path(paths.RECORD, model, experiment))
    for kind in paths.KINDS:
        _save(drawing(kind, *read, record), kind, model, experiment, paths.FORMATS)


def drawing(
    kind: str, losses: pd.DataFrame, effect: pd.DataFrame, logit_lens: pd.DataFrame, record: dict[str, Any]
) -> "Drawing":
    """One figure of one experiment, with its words.

    Args:
        kind: One of `paths.KINDS`.
        losses: Columns of `tables.LOSSES`.
        effect: Columns of `tables.EFFECT`.
        logit_lens: Columns of `tables.LOGIT_LENS`.
        record: What went in.

    Raises:
        UserError: There is no such kind.
    """
    # The report wants only the words above, not matplotlib.
    from replication.figures import curves, lens_fit, overview, post

    losses, effect, record = in_window(kind, losses, effect, record)
    figures = {
        "post_raw": lambda: post.post(losses, record, "raw"),
        "post_centred": lambda: post.post(losses, record, "centred"),
        "lens": lambda: overview.lens(losses, record),
        "output": lambda: curves.output(losses, record),
        "layers": lambda: curves.layers(losses, logit_lens, record),
        "kl": lambda: overview.kl(effect, record),
        "lenses": lambda: lens_fit.lenses(losses, logit_lens, record),
    }
    if kind not in figures:
        raise UserError(f"no figure is called {kind!r}; the figures are {', '.join(figures)}")
    drawn = figures[kind]()
    drawn.alt_text = alt_text(kind, losses, effect, record)
    return drawn


def draw_one(kind: str, model: str, experiment: str, formats: Sequence[str]) -> None:
    """Draws one figure of an experiment, a control's or another, in some formats, from its tables."""
    record = read_json(path(paths.RECORD, model, experiment))
    if kind not in paths.CONTROL_KINDS:
        _save(drawing(kind, *_tables(model, experiment), record), kind, model, experiment, formats)
        return
    from replication.figures import against_chance

    drawn = {
        "random_vectors": against_chance.random_vectors,
        "prompts": against_chance.prompts,
        "sweep": against_chance.sweep,
    }
    table = tables.read(path(paths.CONTROL_TABLES[kind], model, experiment), tables.CONTROLS[kind])
    _save(drawn[kind](table, record), kind, model, experiment, formats)


def draw_beyond_chance(model: str, experiments: Sequence[str]) -> None:
    """Draws the figure over all experiments in every format, for print too, from their tables."""
    from replication.figures.beyond_chance import beyond_chance
    from replication.figures.canvas import save

    columns = tables.RANDOM_BY_LAYER
    read = [
        (read_json(path(paths.RECORD, model, name)), tables.read(path(paths.RANDOM_BY_LAYER, model, name), columns))
        for name in experiments
    ]
    figure = beyond_chance(model, read)
    for pattern in paths.BEYOND_CHANCE:
        save(figure, path(pattern, model))


def _tables(model: str, experiment: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Losses, effect and logit lens of an experiment."""
    return (
        tables.read(path(paths.LOSSES, model, experiment), tables.LOSSES),
        tables.read(path(paths.EFFECT, model, experiment), tables.EFFECT),
        tables.read(path(paths.LOGIT_LENS, model, experiment), tables.LOGIT_LENS),
    )


def _save(figure: "Figure", kind: str, model: str, experiment: str, formats: Sequence[str]) -> None:
    from replication.figures.canvas import save

    for suffix in formats:
        save(figure, path(paths.figure(kind, suffix), model, experiment))
