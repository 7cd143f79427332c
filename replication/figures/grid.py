"""Layers x positions: tables as arrays, and arrays as coloured cells with text in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from replication import tables
from replication.figures.page import Record, changed_positions

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
    return wide.loc[tables.layer_names(layers)].sort_index(axis="columns").to_numpy()


def of_condition(losses: pd.DataFrame, protocol: str, condition: str) -> pd.DataFrame:
    """The rows of one protocol and condition."""
    return losses[(losses["protocol"] == protocol) & (losses["condition"] == condition)]


def tokens(record: Record) -> tuple[list[str], list[str]]:
    """Context tokens by position, `<|endoftext|>` first, and target tokens, `<|endoftext|>` last."""
    context = record["prompt"]["tokens"]
    return context, [*context[1:], record["bos"]["token"]]


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
    dark = _dark(colormaps[colours](scale(values)))
    for (row, position), text in np.ndenumerate(texts):
        if text:
            colour = "white" if dark[row, position] else "black"
            axes.text(
                position, row, text, color=colour, size=size, weight=weight, ha="center", va="center_baseline"
            )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _dark(colours: Grid) -> Grid:
    """Where white text has more contrast than black (WCAG relative luminance); colours are (..., 4) in 0..1."""
    rgb = colours[..., :3]
    linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ [0.2126, 0.7152, 0.0722] < 0.179)


def token_ticks(axes: Axes, side: str, labels: Sequence[str], bold: Sequence[int] = (), rotation: float = 90) -> None:
    """Writes one label per position at the top or bottom; those at the positions `bold` in bold."""
    top = side == "top"
    axes.tick_params(axis="x", top=top, labeltop=top, bottom=not top, labelbottom=not top)
    axes.set_xticks(range(len(labels)), labels, rotation=rotation)
    for position, label in enumerate(axes.get_xticklabels()):
        label.set_fontweight("bold" if position in bold else "normal")


def mark_injection(axes: Axes, record: Record) -> None:
    """Frames the cells whose residual the vector was added to, on axes whose rows are layers."""
    positions, row = changed_positions(record), record["injection"]["block"]
    for position in positions:
        # Neighbours share a frame: only the first of a run draws it.
        if position - 1 in positions:
            continue
        end = position
        while end + 1 in positions:
            end += 1
        for width, colour in ((2.6, "white"), (1.2, "black")):
            corner, extent = (position - 0.5, row - 0.5), end - position + 1
            axes.add_patch(
                Rectangle(corner, extent, 1, fill=False, edgecolor=colour, linewidth=width, clip_on=False, zorder=3)
            )
