"""Our own lens figures, with all layers and the injection marked: the losses, and where steering changes them."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm

from replication.base import tables
from replication.base.numbers import brief, fixed
from replication.base.recorded import lens_name
from replication.figures.canvas import Drawing, fitted_label, inches, style
from replication.figures.grid import (
    BAR,
    FILLED,
    LEFT,
    RIGHT,
    ROW,
    cell_texts,
    colour_bar,
    draw_cells,
    grid,
    label_layers,
    label_tokens,
    mark_injection,
    note_lines,
    of_condition,
    widest,
    write_note,
)
from replication.figures.header import Header, header
from replication.figures.positions import Record, rows
from replication.figures.view import PAGE, SMALLEST, WHOLE, View

BESIDE = 14
"""Up to this many positions the panels stand side by side, beyond it one above the other."""

# Inches, so chosen that the post's experiments fit a landscape page.
_TOKEN, _NUMBER = 0.36, 0.28
_ABOVE, _BELOW, _BETWEEN = 0.92, 0.75, 0.28
_GAP = 0.12
_BAR_LENGTH = 2.2
_LEAST = 5.6
_LEAST_TOKEN = 0.25  # of a column in which the beginning of a token can be read
_LEAST_PANEL = 0.8  # of a panel whose short name fits
_LEAST_WIDTH = 3.0  # of a figure whose colour bar fits

_NAME = 8  # points

_NOTE = (
    "Rows: residual entering each block, read by the lens; output: the model itself.",
    "Columns: token read (below), token to be predicted (above; key tokens bold).",
)
_FRAME = "Frame: where the vector was added. ␣ is a space."


class _Plan(NamedTuple):
    """Where the panels stand and what is around them; in inches."""

    head: Header
    columns: tuple[float, ...]
    """Width of a column of each panel."""
    beside: bool
    repeated: bool
    """Whether all panels that stand above each other name their columns."""
    bar_rows: int
    note: list[str]
    width: float
    tall: float
    """Height of a panel."""

    @property
    def bottom(self) -> float:
        """Height of what stands below the panels: colour bars and note."""
        return 0.04 + 0.1 * len(self.note) + BAR * self.bar_rows

    @property
    def height(self) -> float:
        """Height of the figure."""
        stacked = 0 if self.beside else len(self.columns) - 1
        between = _ABOVE + _BELOW if self.repeated else _BETWEEN
        return self.head.height + _ABOVE + self.tall + stacked * (between + self.tall) + _BELOW + self.bottom


def lens(losses: pd.DataFrame, record: Record, view: View = WHOLE) -> Drawing:
    """Loss at all layers, unsteered, steered, and the change; raw residuals.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    by_condition = [of_condition(losses, "raw", condition) for condition in tables.CONDITIONS]
    loss = [grid(table, "loss", rows(record)) for table in by_condition]
    change = loss[1] - loss[0]
    # Equal cells stay empty, so that what steering cannot reach is seen.
    changes = cell_texts(change, lambda value: brief(value, 1) if value else "")
    losses_scale = Normalize(np.min(loss), np.max(loss))
    # A scale needs a width even where nothing changes.
    most = float(np.abs(change).max()) or 1.0
    plan = _plan(
        record,
        view,
        ("loss by layer and token", f"{lens_name(record)}, raw residuals"),
        (_TOKEN, _TOKEN, _NUMBER),
        (_LEAST_TOKEN, _LEAST_TOKEN, widest(changes)),
        f"{_FRAME} Empty cells of the change: equal bit for bit.",
    )
    with style():
        figure, panels = _panels(record, plan)
        for i, condition in enumerate(tables.CONDITIONS):
            room = FILLED * plan.columns[i]
            tops = grid(by_condition[i], "top_token", rows(record))
            texts = cell_texts(tops, lambda token, room=room: fitted_label(token, SMALLEST, room))  # type: ignore[misc]
            draw_cells(panels[i], loss[i], texts, losses_scale, "viridis", SMALLEST)
            _finish(panels[i], record, (f"{condition}: loss and most probable token", condition), plan, i)
        draw_cells(panels[2], change, changes, Normalize(-most, most), "RdBu_r", SMALLEST)
        _finish(panels[2], record, ("change: steered − unsteered", "change"), plan, 2)
        _bar(figure, plan, 0, losses_scale, "viridis", "loss (nats)")
        _bar(figure, plan, 1, Normalize(-most, most), "RdBu_r", "change of the loss (nats)")
    return figure


def kl(effect: pd.DataFrame, record: Record, view: View = WHOLE) -> Drawing:
    """KL(unsteered ‖ steered), how far steering moves the prediction, at every layer and token; raw residuals.

    Args:
        effect: Columns of `tables.EFFECT`; KL in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    values = grid(effect[effect["protocol"] == "raw"], "kl_to_unsteered", rows(record))
    texts = cell_texts(values, lambda value: fixed(value, 2) if value else "")
    # Effects far from the injection are small: a square-root scale shows them beside the large ones.
    scale = PowerNorm(0.5, 0, float(values.max()) or 1.0)
    words = "where steering changes the prediction", f"{lens_name(record)}, raw residuals"
    plan = _plan(record, view, words, (0.42,), (widest(texts),), f"{_FRAME} Empty cells: the same bit for bit.")
    with style():
        figure, (axes,) = _panels(record, plan)
        draw_cells(axes, values, texts, scale, "Blues", SMALLEST)
        _finish(axes, record, ("KL(unsteered ‖ steered)",) * 2, plan, 0)
        _bar(figure, plan, 0, scale, "Blues", "KL(unsteered ‖ steered) in nats, square-root scale")
    return figure


def _plan(
    record: Record,
    view: View,
    words: tuple[str, str],
    natural: tuple[float, ...],
    least: tuple[float, ...],
    frame: str,
) -> _Plan:
    """Panels beside each other, or above each other if the prompt is long or the figure narrow.

    Args:
        record: The experiment's record.
        view: How large.
        words: What is shown, and by what it was read.
        natural: Width of a column of each panel where no width was asked for, in inches.
        least: Width of the narrowest that can be read.
        frame: Last line of the note.
    """
    positions, tall = len(record["prompt"]["ids"]), ROW * len(rows(record))
    one, all_of_them = LEFT + RIGHT, LEFT + RIGHT + _GAP * (len(natural) - 1)
    least = tuple(max(column, _LEAST_PANEL / positions) for column in least)
    comfortable, beside_from = (
        max(_LEAST_WIDTH, all_of_them + positions * sum(columns)) for columns in (natural, least)
    )
    stacked_from = max(_LEAST_WIDTH, one + positions * max(least))

    def arranged(width: float, beside: bool, columns: tuple[float, ...]) -> _Plan:
        note, head = note_lines((*_NOTE, frame), width), header(record, *words, view, width)
        bar_rows = 1 if len(natural) == 1 or width >= _LEAST else 2
        return _Plan(head, columns, beside, view.width is None, bar_rows, note, width, tall)

    def at(width: float) -> _Plan:
        # Above each other columns line up, and are wider: that is better as long as a page holds them.
        stacked = arranged(width, False, ((width - one) / positions,) * len(natural))
        if width < beside_from or (stacked_from <= width < comfortable and stacked.height <= PAGE):
            return stacked
        more = ((width - all_of_them) / positions - sum(least)) / sum(natural)
        return arranged(width, True, tuple(small + more * each for small, each in zip(least, natural, strict=True)))

    if view.width is not None:
        return at(view.inches(0, min(beside_from, stacked_from), lambda width: at(width).height))
    if positions <= BESIDE:
        return arranged(max(_LEAST, comfortable), True, natural)
    return arranged(max(_LEAST, one + positions * max(natural)), False, (max(natural),) * len(natural))


def _panels(record: Record, plan: _Plan) -> tuple[Drawing, list[Axes]]:
    """A figure with its panels, the names of their rows and columns, and the header and note around them."""
    figure = Drawing((plan.width, plan.height))
    widths = [len(record["prompt"]["ids"]) * column for column in plan.columns]
    panels: list[Axes] = []
    left, bottom = LEFT, plan.height - plan.head.height - _ABOVE - plan.tall
    for i, width in enumerate(widths):
        box = (left / plan.width, bottom / plan.height, width / plan.width, plan.tall / plan.height)
        axes = figure.add_axes(box, label=str(i))
        named = plan.beside or plan.repeated
        label_tokens(axes, record, below=named or i == len(widths) - 1, above=named or not i)
        if plan.beside:
            left += width + _GAP
        else:
            bottom -= plan.tall + (_ABOVE + _BELOW if plan.repeated else _BETWEEN)
        if plan.beside and i:
            axes.set_yticks([])
        else:
            label_layers(axes, record)
        panels.append(axes)
    plan.head.draw(figure)
    write_note(figure, plan.note)
    return figure, panels


def _finish(axes: Axes, record: Record, names: tuple[str, str], plan: _Plan, place: int) -> None:
    """Marks the injection and names the panel, in full or in short."""
    mark_injection(axes, record)
    # 7% stay free beside a name.
    room = plan.columns[place] * len(record["prompt"]["ids"]) / 1.07
    name = names[inches(names[0], _NAME, "bold") > room]
    above = _ABOVE if plan.beside or plan.repeated or not place else _BETWEEN
    up = 1 + (above - 0.12) / plan.tall
    axes.text(0, up, name, transform=axes.transAxes, size=_NAME, weight="bold", va="center")


def _bar(figure: Drawing, plan: _Plan, place: int, scale: Normalize, colours: str, label: str) -> None:
    """A colour bar at the bottom: place 0 at the left, 1 at the right or below it."""
    left, bottom = LEFT, plan.bottom - 0.09
    if place and plan.bar_rows > 1:
        bottom -= BAR
    elif place:
        left = plan.width - _BAR_LENGTH - RIGHT - 0.15
    box = left / plan.width, bottom / plan.height, _BAR_LENGTH / plan.width, 0.09 / plan.height
    colour_bar(figure, box, scale, colours, label)
