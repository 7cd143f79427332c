"""Layers x positions: tables as arrays, and arrays as coloured cells with text in them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from replication.base import tables
from replication.base.numbers import fixed, general
from replication.figures.canvas import token_label
from replication.figures.cell_texts import CellTexts
from replication.figures.positions import Record, changed_positions, tokens

Grid = NDArray[Any]
"""(layers + 1, positions): row i is layer i, the last row the output."""


def grid(table: pd.DataFrame, column: str, layers: int) -> Grid:
    """One column of a table that has one row per layer and position.

    Args:
        table: Rows of one condition and protocol.
        column: The column wanted.
        layers: Number of the model's layers.
    """
    wide = table.pivot(index="layer", columns="position", values=column)
    return np.asarray(wide.loc[tables.layer_names(layers)].sort_index(axis="columns"))


def of_condition(losses: pd.DataFrame, protocol: str, condition: str) -> pd.DataFrame:
    """The rows of one protocol and condition."""
    return losses[(losses["protocol"] == protocol) & (losses["condition"] == condition)]


def cell_texts(values: Grid, text: Callable[[Any], str]) -> Grid:
    """`text` of every cell, as an array of strings."""
    return np.asarray(np.vectorize(text, otypes=[object])(values))


def draw_cells(
    axes: Axes, values: Grid, texts: Grid, scale: Normalize, colours: str, size: float, weight: str = "normal"
) -> None:
    """Colours the cells and writes into each, in black or white, whichever is easier to read there.

    Args:
        axes: Where to draw.
        values: (rows, positions) numbers; row 0 is drawn at the bottom.
        texts: (rows, positions) strings as they shall appear.
        scale: Value -> 0..1.
        colours: Name of the colour map.
        size: Size of the text in points.
        weight: Weight of the text.
    """
    axes.imshow(values, origin="lower", aspect="auto", norm=scale, cmap=colours)
    CellTexts(axes, texts, _contrast(colormaps[colours](scale(values))), size, weight)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _contrast(colours: Grid) -> Grid:
    """White or black, whichever has more contrast (WCAG relative luminance); `colours` are (..., 4) in 0..1."""
    rgb = colours[..., :3]
    linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.where(linear @ [0.2126, 0.7152, 0.0722] < 0.179, "white", "black")


def label_layers(axes: Axes, record: Record) -> None:
    """Names the rows by layer, the one whose residual the vector is added to in bold."""
    axes.set_yticks(range(record["shape"]["layers"] + 1), tables.layer_names(record["shape"]["layers"]), size=5.5)
    axes.get_yticklabels()[record["injection"]["block"]].set_fontweight("bold")


def label_tokens(axes: Axes, record: Record) -> None:
    """Writes the token read at each position below, and the one to be predicted above, key tokens in bold."""
    context, targets = tokens(record)
    axes.set_xticks(range(len(context)), [token_label(token, 13) for token in context], rotation=90)
    above = axes.secondary_xaxis("top")
    above.set_xticks(range(len(targets)), [token_label(token, 13) for token in targets], rotation=90)
    above.tick_params(length=0)
    above.spines[:].set_visible(False)
    for position in record["key_positions"]:
        above.get_xticklabels()[position].set_fontweight("bold")


def mark_injection(axes: Axes, record: Record) -> None:
    """Frames the cells whose residual the vector was added to, on axes whose rows are layers."""
    for first, last in runs(changed_positions(record)):
        framed(axes, first, last, record["injection"]["block"])


def framed(axes: Axes, first: int, last: int, row: int) -> None:
    """Frames the cells `first` to `last` of a row, so that it is seen on light and dark."""
    for width, colour in ((2.6, "white"), (1.2, "black")):
        corner = (first - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, last - first + 1, 1, fill=False, edgecolor=colour, linewidth=width, zorder=3))


def runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending positions as runs of neighbours, each (first, last)."""
    found: list[tuple[int, int]] = []
    for position in positions:
        if found and found[-1][1] == position - 1:
            found[-1] = (found[-1][0], position)
        else:
            found.append((position, position))
    return found


def colour_bar(
    figure: Figure,
    box: tuple[float, float, float, float],
    scale: Normalize,
    colours: str,
    label: str,
    extend: str = "neither",
) -> None:
    """A horizontal colour bar that names both its limits.

    Args:
        figure: The figure.
        box: Left, bottom, width and height as parts of the figure.
        scale: Value -> 0..1.
        colours: Name of the colour map.
        label: What the colours mean, with unit.
        extend: "max" for an arrow at the end beyond which values lie, otherwise "neither".
    """
    axes = figure.add_axes(box, label=label)
    mappable = ScalarMappable(scale, colours)
    figure.colorbar(mappable, cax=axes, orientation="horizontal", label=label, extend=extend)
    low, high = float(scale.vmin or 0), float(scale.vmax or 0)
    between = [tick for tick in MaxNLocator(5).tick_values(low, high) if 0.12 < scale(tick) < 0.86]
    ticks = [low, *between, high]
    axes.set_xticks(ticks, [fixed(low, 2), *map(general, between), fixed(high, 2)])
