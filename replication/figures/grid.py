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

from replication.base.numbers import fixed, general
from replication.base.recorded import blocks
from replication.base.window import runs
from replication.figures.canvas import GREY, fitted_label, inches, wrapped
from replication.figures.cell_texts import CellTexts
from replication.figures.positions import Record, changed_cells, rows, tokens
from replication.figures.view import SMALLEST

UPRIGHT = 0.66
"""Inches of the longest token that stands upright beside cells."""

FILLED = 0.96
"""How much of a cell's width its text may take."""

LEFT, RIGHT = 0.45, 0.1
"""Inches beside heat maps whose rows are layers."""

ROW = 0.116
"""Height of a row whose text is the smallest, in inches."""

BAR = 0.45
"""Height of a colour bar with its numbers and words, in inches."""

TICK = 6.5
"""Size of a token beside cells, in points, as in style.mplstyle."""

Grid = NDArray[Any]
"""(rows, positions): rows are layers in ascending order, then the output."""


def grid(table: pd.DataFrame, column: str, layers: Sequence[str]) -> Grid:
    """One column of a table that has one row per layer and position.

    Args:
        table: Rows of one condition and protocol.
        column: Name of the column.
        layers: Names of its rows, as `rows` returns them.
    """
    wide = table.pivot(index="layer", columns="position", values=column)
    return np.asarray(wide.loc[list(layers)].sort_index(axis="columns"))


def of_condition(losses: pd.DataFrame, protocol: str, condition: str) -> pd.DataFrame:
    """The rows of one protocol and condition."""
    return losses[(losses["protocol"] == protocol) & (losses["condition"] == condition)]


def cell_texts(values: Grid, text: Callable[[Any], str]) -> Grid:
    """`text` of every cell, as an array of strings."""
    return np.asarray(np.vectorize(text, otypes=[object])(values))


def widest(texts: Grid) -> float:
    """Inches of the narrowest cells that hold these texts whole, in the smallest size."""
    return max(inches(text, SMALLEST) for text in texts.flat) / FILLED


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
    """Names the rows by layer, those whose residual a vector is added to in bold."""
    names, steered = rows(record), [str(block) for block in blocks(record)]
    axes.set_yticks(range(len(names)), names, size=SMALLEST)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in steered else "normal")


def upright_labels(texts: Sequence[str]) -> list[str]:
    """Tokens as they stand upright beside cells, cut where they would be longer than `UPRIGHT`."""
    return [fitted_label(text, TICK, UPRIGHT) for text in texts]


def label_tokens(axes: Axes, record: Record, below: bool = True, above: bool = True) -> None:
    """Writes the token read at each position below, and the one to be predicted above, key tokens in bold."""
    context, targets = tokens(record)
    axes.set_xticks(range(len(context)), upright_labels(context) if below else [], rotation=90)
    if not above:
        return
    top = axes.secondary_xaxis("top")
    top.set_xticks(range(len(targets)), upright_labels(targets), rotation=90)
    top.tick_params(length=0)
    top.spines[:].set_visible(False)
    for position in record["key_positions"]:
        top.get_xticklabels()[position].set_fontweight("bold")


def mark_injection(axes: Axes, record: Record) -> None:
    """Frames the cells whose residual a vector was added to, on axes whose rows are layers."""
    names = rows(record)
    for block, positions in changed_cells(record):
        for first, last in runs(positions) if str(block) in names else []:
            row = names.index(str(block))
            framed(axes, (first, last), (row, row))


def framed(axes: Axes, columns: tuple[int, int], rows: tuple[int, int]) -> None:
    """Frames the cells from the first to the last of some columns and rows, so that it is seen on light and dark."""
    for width, colour in ((2.6, "white"), (1.2, "black")):
        corner = (columns[0] - 0.5, rows[0] - 0.5)
        size = (columns[1] - columns[0] + 1, rows[1] - rows[0] + 1)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width, zorder=3))


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


def note_lines(sentences: Sequence[str], width: float) -> list[str]:
    """The lines of a note below a figure that is `width` inches wide."""
    return [line for sentence in sentences for line in wrapped(sentence, SMALLEST, width - LEFT - RIGHT)]


def write_note(figure: Figure, lines: list[str]) -> None:
    """Writes a note at the bottom of a figure: 0.1 inches a line, and 0.04 below."""
    width, height = figure.get_size_inches()
    for place, line in enumerate(lines, start=1):
        up = 0.04 + 0.1 * (len(lines) - place)
        figure.text(LEFT / width, up / height, line, size=SMALLEST, color=GREY, va="bottom")
