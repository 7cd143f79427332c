"""Losses as points and lines: by token at the output, and by layer at the key tokens."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication import tables
from replication.figures.grid import Grid, grid, of_condition, token_ticks, tokens
from replication.figures.page import (
    GREY,
    STEERED,
    UNSTEERED,
    Record,
    changed_positions,
    heading,
    setting,
    style,
    token_label,
)

_COLOURS = dict(zip(tables.CONDITIONS, (UNSTEERED, STEERED), strict=True))
_MARKERS = dict(zip(tables.CONDITIONS, ("o", "D"), strict=True))


def signed(value: float, digits: int = 2) -> str:
    """A change with its sign, a real minus included."""
    return f"{value:+.{digits}f}".replace("-", "−")


def output(losses: pd.DataFrame, record: Record) -> Figure:
    """Loss by token at the model's output, unsteered against steered, with the change of the key tokens.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: What went in.
    """
    rows = losses[(losses["protocol"] == "raw") & (losses["layer"] == tables.OUTPUT)]
    loss = {name: rows[rows["condition"] == name].sort_values("position")["loss"].to_numpy() for name in _COLOURS}
    targets = [token_label(token, 14) for token in tokens(record)[1]]
    positions = np.arange(len(targets))
    width, height = max(6.5, 1.0 + 0.3 * len(targets)), 3.7
    with style():
        figure = Figure((width, height))
        axes = figure.add_axes((0.5 / width, 1.05 / height, 1 - 0.65 / width, 1 - 1.75 / height))
        ceiling = 1.12 * max(values.max() for values in loss.values())
        axes.set_ylim(0, ceiling)
        axes.set_xlim(-0.6, len(targets) - 0.4)
        _shade_injected(axes, record)
        axes.vlines(positions, loss["unsteered"], loss["steered"], color="0.6", linewidth=1.2)
        for name, values in loss.items():
            axes.plot(positions, values, _MARKERS[name], color=_COLOURS[name], label=name)
        for position in record["key_positions"]:
            before, after = loss["unsteered"][position], loss["steered"][position]
            above = max(before, after)
            axes.annotate(
                signed(after - before), (position, above), (0, 5), textcoords="offset points", ha="center", weight="bold"
            )
        axes.set_ylabel("loss at the output (nats)")
        axes.grid(visible=True)
        token_ticks(axes, "bottom", targets, record["key_positions"], rotation=90)
        axes.set_xlabel("token predicted (`_` is a space); key tokens bold".replace("`", ""))
        figure.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=3, bbox_to_anchor=(1 - 0.1 / width, 1))
        _titles(figure, record, "loss by token at the output")
    return figure


def _shade_injected(axes: Axes, record: Record) -> None:
    """Shades the positions the vector was added to, on axes whose x is the position."""
    for i, position in enumerate(changed_positions(record)):
        label = "vector added here" if not i else None
        axes.axvspan(position - 0.5, position + 0.5, color="0.93", linewidth=0, zorder=0, label=label)


def _titles(figure: Figure, record: Record, what: str, protocol: str = "raw") -> None:
    width, height = figure.get_size_inches()
    left = 0.5 / width
    figure.text(left, 1 - 0.17 / height, f"{heading(record)}: {what}", size=9, weight="bold", va="center")
    figure.text(left, 1 - 0.37 / height, setting(record, protocol), size=6.5, color=GREY, va="center")
