"""Loss by token at the model's output, as points."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from replication.base import tables
from replication.base.numbers import signed
from replication.base.window import runs
from replication.figures.canvas import OUTPUT, STEERED, UNSTEERED, Drawing, fitted_label, inches, style
from replication.figures.grid import TICK, UPRIGHT, Grid, of_condition, upright_labels
from replication.figures.header import header
from replication.figures.positions import Record, changed_positions, tokens
from replication.figures.view import WHOLE, View

_LEVEL = 0.5
"""Inches of a column from which on its token is written horizontally, not upright."""

_ADDED = "predicted where the vector was added"


def output(losses: pd.DataFrame, record: Record, view: View = WHOLE) -> Drawing:
    """Loss by token at the model's output, unsteered against steered, with the change of the key tokens.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    at_output = losses[losses["layer"] == tables.OUTPUT]
    before, after = (
        of_condition(at_output, "raw", condition).sort_values("position")["loss"].to_numpy()
        for condition in tables.CONDITIONS
    )
    targets, keys = tokens(record)[1], record["key_positions"]
    words, labels = ("loss by token", OUTPUT), [*tables.CONDITIONS, _ADDED]

    def height_at(width: float) -> float:
        level = (width - 0.62) / len(targets) >= _LEVEL
        return header(record, *words, view, width, labels).height + (2.65 if level else 2.15 + UPRIGHT + 0.34)

    width = view.inches(max(7.0, 0.7 + 0.21 * len(targets)), max(2.7, 0.7 + 0.14 * len(targets)), height_at)
    height, column = height_at(width), (width - 0.62) / len(targets)
    level = column >= _LEVEL
    texts = [signed(after[key] - before[key], 2) for key in keys]
    # The changes are written upright where they would overlap.
    room = column * min((later - sooner for sooner, later in pairwise(keys)), default=len(targets))
    crowded = any(inches(text, 7, "bold") + 0.05 > room for text in texts)
    with style():
        figure = Drawing((width, height))
        head = header(record, *words, view, width, labels)
        bottom = 0.5 if level else UPRIGHT + 0.34
        box = 0.5 / width, bottom / height, 1 - 0.62 / width, 1 - (bottom + head.height + 0.1) / height
        axes = figure.add_axes(box)
        top = (1.25 if crowded else 1.12) * max(before.max(), after.max())
        axes.set(xlim=(-0.6, len(targets) - 0.4), ylim=(0, top))
        axes.set(ylabel="loss at the output (nats)", xlabel="token predicted (␣ is a space; key tokens bold)")
        axes.grid(visible=True, axis="y")
        _points(axes, before, after)
        for first, last in runs(changed_positions(record)):
            axes.axvspan(first - 0.5, last + 0.5, color="0.93", linewidth=0, zorder=0, label=_ADDED)
        for key, text in zip(keys, texts, strict=True):
            place, turned = (key, max(before[key], after[key])), 90 if crowded else 0
            axes.annotate(text, place, (0, 6), textcoords="offset points", ha="center", weight="bold", rotation=turned)
        fitted = [fitted_label(text, TICK, column - 0.05, "bold") for text in targets]
        names = fitted if level else upright_labels(targets)
        axes.set_xticks(range(len(targets)), names, rotation=0 if level else 90)
        for key in keys:
            axes.get_xticklabels()[key].set_fontweight("bold")
        head.draw(figure, axes)
    return figure


def _points(axes: Axes, before: Grid, after: Grid) -> None:
    """Both losses of every token: a ring around a filled mark, so that both are seen where they fall together."""
    positions = np.arange(len(before))
    axes.vlines(positions, before, after, color="0.55", linewidth=1.2, zorder=2)
    ring = axes.plot(positions, before, "o", markersize=7, color=UNSTEERED, label="unsteered", clip_on=False)
    ring[0].set_markerfacecolor("none")
    axes.plot(positions, after, "D", markersize=3.6, color=STEERED, label="steered", clip_on=False)
