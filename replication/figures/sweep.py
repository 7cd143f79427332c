"""The sweep: what other layers and coefficients do, to the key tokens and to the others."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from replication.base.errors import UserError
from replication.base.numbers import brief, fixed, general
from replication.base.recorded import blocks, coefficient, injections, steered_layer
from replication.figures.canvas import OUTPUT, inches, style
from replication.figures.grid import (
    BAR,
    LEFT,
    ROW,
    TICK,
    Grid,
    cell_texts,
    colour_bar,
    draw_cells,
    framed,
    note_lines,
    widest,
    write_note,
)
from replication.figures.header import Header, header
from replication.figures.positions import Record, layer_numbers
from replication.figures.view import SMALLEST, WHOLE, View
from replication.verification.chance import collateral, key_change


class _Map(NamedTuple):
    """One heat map of the sweep: (layers, coefficients)."""

    values: Grid
    texts: Grid
    scale: Normalize
    colours: str
    extend: str
    title: str
    label: str


_COLUMN, _LEAST_PANEL, _GAP, _RIGHT = 0.34, 2.4, 0.3, 0.2  # inches


def sweep(table: pd.DataFrame, record: Record, view: View = WHOLE) -> Figure:
    """Change of the key tokens' loss by injection layer and coefficient, and with it that of the other tokens.

    Args:
        table: Columns of `tables.SWEEP`; losses in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    cells, swept = ["layer", "coefficient"], set(table["layer"])
    if not (shown := [layer for layer in layer_numbers(record) if layer in swept]):
        raise UserError(f"layers: this sweep is over coefficients alone, at layer {steered_layer(record)}")
    key, other = (
        values.unstack("coefficient").loc[shown] for values in (key_change(table, cells), collateral(table, cells))
    )
    layers, coefficients = list(key.index), list(key.columns)
    maps = _key_map(key.to_numpy()), _collateral_map(other.to_numpy())
    names = [general(value) for value in coefficients]
    narrow = max(*(widest(drawn.texts) for drawn in maps), *(inches(name, TICK, "bold") + 0.05 for name in names))
    least, natural = (max(column * len(coefficients), _LEAST_PANEL) for column in (narrow, _COLUMN))
    at_one_layer = len(blocks(record)) == 1
    words = ("other layers and coefficients" if at_one_layer else "other coefficients", OUTPUT)
    tall = ROW * len(layers)
    sentences = _SWEEP_NOTE + (_CUT if maps[0].extend == "max" else ())

    def beside_at(width: float) -> bool:
        return width >= LEFT + 2 * least + _GAP + _RIGHT

    def layout_at(width: float) -> tuple[Header, list[str], float]:
        """Header, note, and height."""
        head, note = header(record, *words, view, width), note_lines(sentences, width)
        down = 1 if beside_at(width) else 2
        return head, note, head.height + down * (_OVER + tall + _UNDER) + 0.14 + 0.1 * len(note)

    on_screen = max(6.8, LEFT + 2 * natural + _GAP + _RIGHT)
    width = view.inches(on_screen, LEFT + least + _RIGHT, lambda width: layout_at(width)[2])
    (head, note, height), beside = layout_at(width), beside_at(width)
    panel = natural if view.width is None else (width - LEFT - _GAP - _RIGHT) / 2 if beside else width - LEFT - _RIGHT
    with style():
        figure = Figure((width, height))
        left, bottom = LEFT, height - head.height - _OVER - tall
        for place, drawn in enumerate(maps):
            axes = figure.add_axes((left / width, bottom / height, panel / width, tall / height), label=str(place))
            draw_cells(axes, drawn.values, drawn.texts, drawn.scale, drawn.colours, SMALLEST)
            axes.set_title(drawn.title)
            _name_cells(axes, record, layers, names, coefficients, named=at_one_layer and not (beside and place))
            bar = (left / width, (bottom - _UNDER + BAR - 0.09) / height, panel / width, 0.09 / height)
            colour_bar(figure, bar, drawn.scale, drawn.colours, drawn.label, drawn.extend)
            left, bottom = (left + panel + _GAP, bottom) if beside else (left, bottom - _OVER - tall - _UNDER)
        head.draw(figure)
        write_note(figure, note)
    return figure


_OVER, _UNDER = 0.27, 0.9
"""Inches above a map for its title, and below it for its coefficients and colour bar."""


def _name_cells(
    axes: Axes, record: Record, layers: list[int], names: list[str], coefficients: list[float], named: bool
) -> None:
    """Names coefficients and, if asked to, layers, the experiment's own in bold and their cell framed."""
    block, column = record["injection"]["block"], coefficients.index(coefficient(record))
    one = len(injections(record)) == 1
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel(f"{'coefficient' if one else 'first coefficient, the others in proportion'} (steps are uneven)")
    axes.get_xticklabels()[column].set_fontweight("bold")
    axes.set_yticks(*((range(len(layers)), list(map(str, layers))) if named else ([], [])), size=SMALLEST)
    if named:
        axes.set_ylabel("injection layer")
    if block in layers:
        row = layers.index(block)
        framed(axes, (column, column), (row, row))
        if named:
            axes.get_yticklabels()[row].set_fontweight("bold")


_SWEEP_NOTE = ("Frame: the experiment's own layer and coefficient. Coefficient 0 is the unsteered model: no change.",)
_CUT = ("Beyond an arrow's end the colour no longer grows; the numbers in the cells do.",)


def _key_map(values: Grid) -> _Map:
    # Large coefficients raise the loss by far more than any lowers it: rises share the scale of the falls' size, cut.
    most = max(float(-values.min()), float(np.median(np.abs(values))), 1e-6)
    extend = "max" if values.max() > most else "neither"
    texts = cell_texts(values, lambda value: brief(value, _digits(most)) if value else "")
    title, label = "key tokens: change of the loss", "change of the key tokens' loss (sum, nats)"
    return _Map(values, texts, Normalize(-most, most), "RdBu_r", extend, title, label)


def _collateral_map(values: Grid) -> _Map:
    most = float(values.max()) or 1.0
    texts = cell_texts(values, lambda value: fixed(value, _digits(most)) if value else "")
    title, label = "other tokens: size of the change", "mean absolute change (nats), square-root scale"
    return _Map(values, texts, PowerNorm(0.5, 0, most), "Blues", "neither", title, label)


def _digits(most: float) -> int:
    """Digits after the point in cells whose colours go up to `most`."""
    return 1 if most >= 1 else 2
