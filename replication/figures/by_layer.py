"""Loss by layer at the key tokens, as lines: where in the network steering takes hold."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from replication.base import tables
from replication.base.numbers import fixed
from replication.base.recorded import lens_name
from replication.base.window import keys_note, shown_keys
from replication.figures.canvas import GREY, STEERED, UNSTEERED, Drawing, fitted_label, panels, style, wrapped
from replication.figures.grid import Grid, grid, of_condition
from replication.figures.header import ADDED, Header, blocks_shown, header, mark_blocks
from replication.figures.positions import Record, changed_positions, layer_numbers, layer_ticks, rows, tokens
from replication.figures.view import SMALLEST, WHOLE, View

_LOGIT = "logit lens"
_DASHED: dict[str, Any] = {"linestyle": (0, (2, 1.2)), "linewidth": 1.0}
_NEUTRAL = "0.45"
_AXIS = "layer: residual entering the block; last, the model's own output"
_BOTH = "both, before the vector"
_TALL, _BETWEEN, _NUMBERS = 1.5, 0.25, 0.2  # inches: of a panel, beside it, and below it for its numbers
_NAME = 8  # points

_STRETCH = 1.5
"""The scale is stretched by at most this factor to hold the losses before the injection, too."""

Lines = dict[tuple[str, str], Grid]
"""By lens and condition, a loss for each of `rows`; or (rows, positions) of them."""


def layers(losses: pd.DataFrame, logit_lens: pd.DataFrame, record: Record, view: View = WHOLE) -> Drawing:
    """Loss by layer of each key token, both conditions, tuned lens and logit lens; or the logit lens alone.

    Of many key tokens the first. Without any one panel shows the mean over the positions the vector was not added to.
    The scale is that of the tuned lens from the injection on, where there is one; a panel says what lies outside.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        logit_lens: Columns of `tables.LOGIT_LENS`; losses in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    all_lines: Lines = {}
    for condition in tables.CONDITIONS:
        all_lines[lens_name(record), condition] = grid(of_condition(losses, "raw", condition), "loss", rows(record))
        all_lines[_LOGIT, condition] = grid(logit_lens[logit_lens["condition"] == condition], "loss", rows(record))
    shown = {
        name: {key: values[:, positions].mean(axis=1) for key, values in all_lines.items()}
        for name, positions in _panels(record).items()
    }
    scale = _scale(record, list(shown.values()))
    plan = _plan(record, view, [_off_scale(record, lines, scale) for lines in shown.values()])
    with style():
        figure = Drawing((plan.width, plan.height))
        margins = 0.5, plan.below, 0.12, plan.head.height + plan.above
        grid_of_axes = panels(figure, plan.down, plan.across, margins, (_BETWEEN, plan.above + _NUMBERS))
        for axes in grid_of_axes[len(shown) :]:
            axes.set_visible(False)
        for axes, (name, lines), note in zip(grid_of_axes, shown.items(), plan.notes, strict=False):
            _draw_lines(axes, record, lines)
            axes.set_title(name, pad=5 + 8 * len(note))
            up = ScaledTranslation(0, 3 / 72, figure.dpi_scale_trans)
            text = axes.text(0, 1, "\n".join(note), transform=axes.transAxes + up, va="bottom", linespacing=1.05)
            text.set(size=SMALLEST, color=GREY)
        grid_of_axes[0].set_ylim(*scale)
        plan.head.draw(figure, grid_of_axes[0])
        figure.supylabel("loss (nats)", size=7, x=0.1 / plan.width)
        figure.supxlabel("\n".join(plan.axis), size=7, y=0.05 / plan.height)
    return figure


class _Plan(NamedTuple):
    """Where the panels stand and what is around them; in inches."""

    head: Header
    notes: list[list[str]]
    """Lines above each panel that say what lies outside."""
    axis: list[str]
    """Lines below all that say what stands across."""
    across: int
    """How many panels stand beside each other."""
    down: int
    width: float

    @property
    def above(self) -> float:
        """What a panel's title and note take."""
        return 0.21 + 0.11 * max(map(len, self.notes))

    @property
    def below(self) -> float:
        """What stands below all panels."""
        return 0.32 + 0.12 * len(self.axis)

    @property
    def height(self) -> float:
        """Height of the figure."""
        return self.head.height + self.down * (self.above + _TALL) + (self.down - 1) * _NUMBERS + self.below


def _plan(record: Record, view: View, notes: list[str]) -> _Plan:
    """Up to three panels beside each other, one for each of the notes, which may be empty."""
    words = "loss by layer", " · ".join(filter(None, ("raw residuals", keys_note(record))))

    def at(width: float) -> _Plan:
        across = max(1, min(3, len(notes), int((width - 0.6) / 2)))
        room = (width - 0.62) / across - _BETWEEN
        lines = [wrapped(note, SMALLEST, room) if note else [] for note in notes]
        head = header(record, *words, view, width, _labels(record))
        return _Plan(head, lines, wrapped(_AXIS, 7, width - 0.3), across, -(-len(notes) // across), width)

    return at(view.inches(max(6.8, 0.2 + min(3, len(notes)) * 2.6), 2.7, lambda width: at(width).height))


def _panels(record: Record) -> dict[str, list[int]]:
    """Title and positions of each panel."""
    targets, changed = tokens(record)[1], changed_positions(record)
    if record["key_positions"]:
        return {
            f"{fitted_label(targets[position], _NAME, 1.2, 'bold')} (position {position})": [position]
            for position in shown_keys(record)
        }
    positions = range(len(targets))
    elsewhere = [position for position in positions if position not in changed]
    return {"mean over positions without the vector": elsewhere or list(positions)}


def _before(record: Record) -> int:
    """How many of the layers drawn come before the injection."""
    return sum(layer < record["injection"]["block"] for layer in layer_numbers(record))


def _labels(record: Record) -> list[str]:
    """Labels of the legend, in its order."""
    both = [_BOTH] if _before(record) else []
    added = [ADDED] if blocks_shown(record) else []
    lens = lens_name(record)
    dashed = [_LOGIT] if lens != _LOGIT else []
    return [*(f"{condition}, {lens}" for condition in tables.CONDITIONS), *both, *dashed, *added]


def _scale(record: Record, shown: list[Lines]) -> tuple[float, float]:
    """Limits for the solid lines from the injection on and the output; for all of them if `_STRETCH` allows."""
    both = [lines[lens_name(record), condition] for lines in shown for condition in tables.CONDITIONS]
    start = _before(record) if _before(record) < len(rows(record)) else 0
    (low, high), (least, most) = ((np.min(part), np.max(part)) for part in ([each[start:] for each in both], both))
    if most - least <= _STRETCH * (high - low):
        low, high = least, most
    margin = max(0.07 * float(high - low), 0.05)
    return max(0.0, float(low) - margin), float(high) + margin


def _off_scale(record: Record, lines: Lines, scale: tuple[float, float]) -> str:
    """Which lens lies outside the limits, how far and at which layer; empty where none does."""
    parts = []
    for lens in dict.fromkeys([lens_name(record), _LOGIT]):
        values = np.stack([lines[lens, condition][: len(layer_numbers(record))] for condition in tables.CONDITIONS])
        extremes = (int(values.argmax()), "to"), (int(values.argmin()), "down to")
        for at, word in extremes:
            value, layer = float(values.flat[at]), layer_numbers(record)[at % values.shape[1]]
            if not scale[0] <= value <= scale[1]:
                parts.append(f"{lens}, {word} {fixed(value, 1)} at layer {layer}")
    return f"off the scale: {'; '.join(parts)}" if parts else ""


def _draw_lines(axes: Axes, record: Record, lines: Lines) -> None:
    """Draws the loss by layer, up to the injection one line for both conditions; the output stands apart as a point."""
    numbers, before, lens = layer_numbers(record), _before(record), lens_name(record)
    start = max(0, before - 1)
    for condition, colour in zip(tables.CONDITIONS, (UNSTEERED, STEERED), strict=True):
        label = f"{condition}, {lens}"
        axes.plot(numbers[start:], lines[lens, condition][start : len(numbers)], color=colour, label=label)
    if before:
        axes.plot(numbers[:before], lines[lens, "unsteered"][:before], color=_NEUTRAL, label=_BOTH)
    if lens != _LOGIT:
        _draw_dashed(axes, numbers, lines, before)
    ticks, output_at = layer_ticks(record, 6)
    if tables.OUTPUT in rows(record):
        for condition, colour, mark, fill, size in (
            ("unsteered", UNSTEERED, "o", "none", 5),
            ("steered", STEERED, "D", STEERED, 3),
        ):
            last = lines[lens, condition][-1]
            axes.plot(output_at, last, mark, color=colour, markerfacecolor=fill, markersize=size, clip_on=False)
        ticks |= {output_at: "out"}
    mark_blocks(axes, record)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.grid(visible=True, axis="y")


def _draw_dashed(axes: Axes, numbers: list[int], lines: Lines, before: int) -> None:
    """The logit lens beside a tuned one."""
    if before:
        axes.plot(numbers[:before], lines[_LOGIT, "unsteered"][:before], color=_NEUTRAL, label=_LOGIT, **_DASHED)
    start = max(0, before - 1)
    for condition, colour in zip(tables.CONDITIONS, (UNSTEERED, STEERED), strict=True):
        label = "" if before or condition == "steered" else _LOGIT
        axes.plot(numbers[start:], lines[_LOGIT, condition][start : len(numbers)], color=colour, label=label, **_DASHED)
