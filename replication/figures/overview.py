"""Our own lens figures: all layers, with the injection marked; the losses, and where steering changes what."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from replication.base import tables
from replication.base.numbers import brief, fixed
from replication.figures.canvas import GREY, Drawing, fitted_label, style, titles
from replication.figures.grid import (
    Grid,
    cell_texts,
    colour_bar,
    draw_cells,
    grid,
    label_layers,
    label_tokens,
    mark_injection,
    of_condition,
)
from replication.figures.positions import Record

BESIDE = 14
"""Up to this many positions the panels stand side by side, beyond it one above the other."""

# Inches, so chosen that the post's experiments fit a landscape page with text of 5.5 points.
_ROW, _TOKEN, _NUMBER = 0.116, 0.36, 0.28
_TITLES, _ABOVE, _BELOW, _BARS = 0.45, 0.92, 0.75, 0.82
_LEFT, _RIGHT, _GAP = 0.45, 0.1, 0.12
_TEXT = 5.5
_LEAST = 5.6

_NOTE = (
    "Rows: residual entering each block, read by the lens; output: the model itself.\n"
    "Columns: token read (below), token to be predicted (above; key tokens bold).\n"
)
_FRAME = "Frame: where the vector was added. ␣ is a space."


def lens(losses: pd.DataFrame, record: Record, protocol: str = "raw") -> Drawing:
    """Loss at all layers, unsteered, steered, and the change.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: What went in.
        protocol: "raw" or "centred".
    """
    layers = record["shape"]["layers"]
    by_condition = [of_condition(losses, protocol, condition) for condition in tables.CONDITIONS]
    unsteered, steered = (grid(table, "loss", layers) for table in by_condition)
    tops = [
        cell_texts(grid(table, "top_token", layers), lambda token: fitted_label(token, _TEXT, 0.96 * _TOKEN))
        for table in by_condition
    ]
    change = steered - unsteered
    # Equal cells stay empty, so that what steering cannot reach is seen.
    changes = cell_texts(change, lambda value: brief(value, 1) if value else "")
    losses_scale = Normalize(min(unsteered.min(), steered.min()), max(unsteered.max(), steered.max()))
    # A scale needs a width even where nothing changes.
    most = float(np.abs(change).max()) or 1.0
    with style():
        figure, panels = _panels(record, (_TOKEN, _TOKEN, _NUMBER))
        titles(figure, record, "loss by layer and token", f"tuned lens, {protocol} residuals")
        for axes, values, texts, name in zip(panels, (unsteered, steered), tops, tables.CONDITIONS, strict=False):
            _panel(axes, record, values, texts, losses_scale, "viridis", f"{name}: loss and most probable token")
        _panel(panels[2], record, change, changes, Normalize(-most, most), "RdBu_r", "steered − unsteered")
        _bar(figure, 0, losses_scale, "viridis", "loss (nats)")
        _bar(figure, 1, Normalize(-most, most), "RdBu_r", "change of the loss (nats)")
        _note(figure, _NOTE + _FRAME + " Empty cells of the change: equal bit for bit.")
    return figure


def kl(effect: pd.DataFrame, record: Record, protocol: str = "raw") -> Drawing:
    """How far steering moves the prediction of every layer and token.

    Args:
        effect: Columns of `tables.EFFECT`; KL in nats.
        record: What went in.
        protocol: "raw" or "centred".
    """
    values = grid(effect[effect["protocol"] == protocol], "kl_to_unsteered", record["shape"]["layers"])
    texts = cell_texts(values, lambda value: fixed(value, 2) if value else "")
    # Effects far from the injection are small: a square-root scale shows them beside the large ones.
    scale = PowerNorm(0.5, 0, float(values.max()) or 1.0)
    with style():
        figure, (axes,) = _panels(record, (0.42,))
        titles(figure, record, "where steering changes the prediction", f"tuned lens, {protocol} residuals")
        _panel(axes, record, values, texts, scale, "Blues", "KL(unsteered ‖ steered)")
        _bar(figure, 0, scale, "Blues", "KL(unsteered ‖ steered) in nats, square-root scale")
        _note(figure, _NOTE + _FRAME + " Empty cells: the same bit for bit.")
    return figure


def _panels(record: Record, columns: tuple[float, ...]) -> tuple[Drawing, list[Axes]]:
    """A figure with panels beside each other, or above each other if the prompt is long.

    Args:
        record: What went in.
        columns: Width of a column of each panel, in inches.
    """
    positions, height = len(record["prompt"]["ids"]), _ROW * (record["shape"]["layers"] + 1)
    beside = positions <= BESIDE
    # Above each other the columns must line up.
    widths = [positions * (column if beside else max(columns)) for column in columns]
    across = sum(widths) + _GAP * (len(widths) - 1) if beside else max(widths)
    block = _ABOVE + height + _BELOW
    size = max(_LEAST, _LEFT + across + _RIGHT), _TITLES + block * (1 if beside else len(widths)) + _BARS
    figure = Drawing(size)
    panels = []
    for i, width in enumerate(widths):
        left = _LEFT + (sum(widths[:i]) + _GAP * i if beside else 0)
        bottom = _BARS + _BELOW + (0 if beside else block * (len(widths) - 1 - i))
        axes = figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1]), label=str(i))
        label_tokens(axes, record)
        if beside and i:
            axes.set_yticks([])
        else:
            label_layers(axes, record)
        panels.append(axes)
    return figure, panels


def _panel(axes: Axes, record: Record, values: Grid, texts: Grid, scale: Normalize, colours: str, name: str) -> None:
    draw_cells(axes, values, texts, scale, colours, _TEXT)
    mark_injection(axes, record)
    height = _ROW * len(values)
    axes.text(0, 1 + (_ABOVE - 0.12) / height, name, transform=axes.transAxes, size=8, weight="bold", va="center")


def _bar(figure: Figure, place: int, scale: Normalize, colours: str, label: str) -> None:
    """A colour bar at the bottom: place 0 at the left, 1 at the right."""
    width, height = figure.get_size_inches()
    length = 2.2
    left = _LEFT + place * (width - _LEFT - length - _RIGHT - 0.15)
    colour_bar(figure, (left / width, 0.76 / height, length / width, 0.09 / height), scale, colours, label)


def _note(figure: Figure, text: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(_LEFT / width, 0.04 / height, text, size=5.5, color=GREY, va="bottom")
