"""Losses as points and lines: by token at the output, and by layer at the key tokens."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from replication.base import tables
from replication.base.numbers import signed
from replication.base.window import MOST_KEYS, keys_note
from replication.figures.canvas import (
    STEERED,
    UNSTEERED,
    Drawing,
    legend_line,
    mark_block,
    style,
    titles,
    token_label,
)
from replication.figures.grid import Grid, grid, of_condition, runs
from replication.figures.positions import Record, changed_positions, tokens

_LEVEL = 11
"""Up to this many tokens their names stand level, beyond it upright."""


def output(losses: pd.DataFrame, record: Record) -> Drawing:
    """Loss by token at the model's output, unsteered against steered, with the change of the key tokens.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: What went in.
    """
    rows = losses[losses["layer"] == tables.OUTPUT]
    before, after = (
        of_condition(rows, "raw", condition).sort_values("position")["loss"].to_numpy()
        for condition in tables.CONDITIONS
    )
    names = [token_label(token, 13) for token in tokens(record)[1]]
    positions = np.arange(len(names))
    level = len(names) <= _LEVEL
    crowded = len(record["key_positions"]) > MOST_KEYS
    width, height = max(7.0, 0.7 + 0.21 * len(names)), 3.4 if level else 3.9
    with style():
        figure = Drawing((width, height))
        bottom = 0.5 if level else 1.0
        axes = figure.add_axes((0.5 / width, bottom / height, 1 - 0.62 / width, 1 - (bottom + 0.85) / height))
        titles(figure, record, "loss by token", "the model's own output")
        axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, (1.25 if crowded else 1.12) * max(before.max(), after.max())))
        axes.set(ylabel="loss at the output (nats)", xlabel="token predicted (␣ is a space; key tokens bold)")
        axes.grid(visible=True, axis="y")
        axes.vlines(positions, before, after, color="0.55", linewidth=1.2, zorder=2)
        # A ring around a filled mark: both are seen where they fall together.
        axes.plot(
            positions,
            before,
            "o",
            markersize=7,
            markerfacecolor="none",
            color=UNSTEERED,
            label="unsteered",
            clip_on=False,
        )
        axes.plot(positions, after, "D", markersize=3.6, color=STEERED, label="steered", clip_on=False)
        label = "predicted where the vector was added"
        for first, last in runs(changed_positions(record)):
            axes.axvspan(first - 0.5, last + 0.5, color="0.93", linewidth=0, zorder=0, label=label)
        for position in record["key_positions"]:
            place = position, max(before[position], after[position])
            text = signed(after[position] - before[position], 2)
            turned = 90 if crowded else 0
            axes.annotate(text, place, (0, 6), textcoords="offset points", ha="center", weight="bold", rotation=turned)
        axes.set_xticks(positions, names, rotation=0 if level else 90)
        for position in record["key_positions"]:
            axes.get_xticklabels()[position].set_fontweight("bold")
        legend_line(figure, axes)
    return figure


def layers(losses: pd.DataFrame, logit_lens: pd.DataFrame, record: Record) -> Drawing:
    """Loss by layer of each key token, both conditions, tuned lens and logit lens.

    Of many key tokens the first. Without any one panel shows the mean over the positions the vector was not added to.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        logit_lens: Columns of `tables.LOGIT_LENS`; losses in nats.
        record: What went in.
    """
    depth = record["shape"]["layers"]
    lines = {}
    for condition in tables.CONDITIONS:
        lines["tuned", condition] = grid(of_condition(losses, "raw", condition), "loss", depth)
        lines["logit", condition] = grid(logit_lens[logit_lens["condition"] == condition], "loss", depth)
    panels = _panels(record)
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    width, height = max(6.8, 0.2 + across * 2.6), 0.95 + 2.1 * down
    with style():
        figure = Drawing((width, height))
        titles(figure, record, "loss by layer", " · ".join(filter(None, ("raw residuals", keys_note(record)))))
        axes_grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(0.5 / width, 0.42 / height, 1 - 0.12 / width, 1 - 0.9 / height, wspace=0.08, hspace=0.25)
        for i, axes in enumerate(axes_grid.flat):
            axes.set_visible(i < len(panels))
        for axes, (name, positions) in zip(axes_grid.flat, panels.items(), strict=False):
            _lines(axes, record, {key: values[:, positions].mean(axis=1) for key, values in lines.items()})
            axes.set_title(name)
        axes_grid[0, 0].set_ylim(bottom=0)
        figure.supylabel("loss (nats)", size=7, x=0.1 / width)
        figure.supxlabel("layer: residual entering the block; last, the model's own output", size=7, y=0.05 / height)
        legend_line(figure, axes_grid[0, 0])
    return figure


def _panels(record: Record) -> dict[str, list[int]]:
    """Title and positions of each panel."""
    targets, changed = tokens(record)[1], changed_positions(record)
    if record["key_positions"]:
        return {
            f"{token_label(targets[position], 20)} (position {position})": [position]
            for position in record["key_positions"][:MOST_KEYS]
        }
    positions = range(len(targets))
    elsewhere = [position for position in positions if position not in changed]
    return {"mean over the positions without the vector": elsewhere or list(positions)}


def _lines(axes: Axes, record: Record, lines: dict[tuple[str, str], Grid]) -> None:
    """Draws lines of layers + 1 losses; the last point, the output, stands apart, being no lens."""
    depth = record["shape"]["layers"]
    output_at = depth + max(1, depth // 24)
    for (lens, condition), values in lines.items():
        colour = UNSTEERED if condition == "unsteered" else STEERED
        dashes, width = ("-", 1.4) if lens == "tuned" else ((0, (2, 1.2)), 1.0)
        axes.plot(values[:-1], color=colour, linestyle=dashes, linewidth=width, label=f"{condition}, {lens} lens")
        if lens == "tuned":
            mark, fill, size = ("o", "none", 5) if condition == "unsteered" else ("D", colour, 3)
            axes.plot(output_at, values[-1], mark, color=colour, markerfacecolor=fill, markersize=size, clip_on=False)
    mark_block(axes, record)
    step = max(1, round(depth / 6 / 4) * 4) if depth > 12 else 3
    axes.set_xticks([*range(0, depth, step), output_at], [*map(str, range(0, depth, step)), "out"])
    axes.grid(visible=True, axis="y")
