"""The post's figure, as its authors' script drew it: montemac/activation_additions, lenses_demo.py, 09484cf4."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from replication.base import tables
from replication.base.recorded import lens_name
from replication.base.window import runs
from replication.figures.canvas import Drawing, fitted_label, style
from replication.figures.grid import (
    BAR,
    FILLED,
    LEFT,
    RIGHT,
    ROW,
    TICK,
    UPRIGHT,
    cell_texts,
    colour_bar,
    draw_cells,
    framed,
    grid,
    of_condition,
    upright_labels,
)
from replication.figures.header import header
from replication.figures.positions import Record, tokens
from replication.figures.view import SMALLEST, WHOLE, View

STRIDE = 2
"""Every second layer is drawn, and the output."""

_LEAST_WIDTH = 8.0  # inches
_LEAST_COLUMN = 0.25  # of one in which the beginning of a token can be read
_LEAST_BAR = 2.0  # of a figure whose colour bar fits

_BAR_LABEL = "cross entropy (nats)"


class _Look(NamedTuple):
    """Sizes of the figure's parts, in inches and points."""

    left: float
    right: float
    above: float
    between: float
    below: float
    row: float
    column: float
    size: float
    weight: str


_WIDE = _Look(0.75, 1.15, 0.4, 0.5, 0.3, 0.175, 0.56, 7, "bold")
_NARROW = _Look(LEFT, RIGHT, 0.22, 0.24, UPRIGHT + 0.1 + BAR, ROW, _LEAST_COLUMN, SMALLEST, "normal")
"""Colour bar below instead of beside, tokens upright."""


def post(losses: pd.DataFrame, record: Record, protocol: str, view: View = WHOLE) -> Drawing:
    """Unsteered above steered, blue low and red high, the most probable token in every cell, key columns framed.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: The experiment's record.
        protocol: "raw" residuals, on which the lens was trained, or "centred" ones, as in the post.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    layers = tables.layer_names(record["shape"]["layers"])
    by_condition = [of_condition(losses, protocol, condition) for condition in tables.CONDITIONS]
    # The limits are those of all layers, of which half are drawn.
    loss = [grid(table, "loss", layers) for table in by_condition]
    scale = Normalize(np.min(loss), np.max(loss))
    shown = record.get("rows", [*layers[:-1][::STRIDE], tables.OUTPUT])
    targets = tokens(record)[1]
    words = f"tokens visualized with the {lens_name(record).title()}", f"{lens_name(record)}, {protocol} residuals"

    def look_at(width: float) -> _Look:
        return _WIDE if width >= _WIDE.left + _WIDE.right + _WIDE.column * len(targets) else _NARROW

    def height_at(width: float) -> float:
        look = look_at(width)
        around = header(record, *words, view, width).height + look.above + look.between + look.below
        return around + 2 * look.row * len(shown)

    natural = max(_LEAST_WIDTH, _WIDE.left + _WIDE.right + _WIDE.column * len(targets))
    least = max(LEFT + RIGHT + _LEAST_COLUMN * len(targets), _LEAST_BAR)
    width = view.inches(natural, least, height_at)
    look, height = look_at(width), height_at(width)
    column, panel = (width - look.left - look.right) / len(targets), look.row * len(shown)
    with style():
        figure = Drawing((width, height))
        for i, (condition, table) in enumerate(zip(tables.CONDITIONS, by_condition, strict=True)):
            bottom = look.below + (1 - i) * (panel + look.between)
            box = look.left / width, bottom / height, column * len(targets) / width, panel / height
            axes = figure.add_axes(box, label=condition)
            room = FILLED * column
            tops = cell_texts(
                grid(table, "top_token", shown),
                lambda token, room=room: fitted_label(token, look.size, room, look.weight),  # type: ignore[misc]
            )
            draw_cells(axes, grid(table, "loss", shown), tops, scale, "RdBu_r", look.size, look.weight)
            axes.set_title(condition, pad=4)
            axes.set_yticks(range(len(shown)), ["input" if name == "0" else name for name in shown])
            if look is _WIDE:
                axes.set_xticks(range(len(targets)), [fitted_label(text, TICK, room, "bold") for text in targets])
            else:
                axes.set_xticks(range(len(targets)), upright_labels(targets) if i else [], rotation=90)
            _mark_keys(axes, record["key_positions"], len(shown))
        if look is _WIDE:
            tall = 2 * panel + look.between
            bar = figure.add_axes((1 - 0.95 / width, look.below / height, 0.16 / width, tall / height))
            figure.colorbar(ScalarMappable(scale, "RdBu_r"), cax=bar, label=_BAR_LABEL)
            bar.tick_params(length=2)
        else:
            bar_length = min(2.2, width - LEFT - RIGHT)
            box = LEFT / width, (BAR - 0.09) / height, bar_length / width, 0.09 / height
            colour_bar(figure, box, scale, "RdBu_r", _BAR_LABEL)
        header(record, *words, view, width).draw(figure)
    return figure


def _mark_keys(axes: Axes, keys: list[int], shown: int) -> None:
    """Frames the columns of the key tokens, and sets their names in bold where they stand."""
    for first, last in runs(keys):
        framed(axes, (first, last), (0, shown - 1))
    for position, label in enumerate(axes.get_xticklabels()):
        label.set_fontweight("bold" if position in keys else "normal")
