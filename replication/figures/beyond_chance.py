"""The first figure of a report: what steering changes layer by layer, in all experiments, beside random vectors."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from replication.base.numbers import signed
from replication.base.recorded import lens_name
from replication.base.tables import OUTPUT
from replication.figures.canvas import STEERED, Drawing, drawable_text, panels, style, wrapped
from replication.figures.header import ADDED, Header, lines_above, mark_blocks
from replication.figures.positions import Record, layer_ticks
from replication.figures.view import WHOLE, View
from replication.verification.chance import band, random_by_layer

ACROSS = 4
"""Panels side by side: as many as the post has experiments."""


def beyond_chance(experiments: Sequence[tuple[Record, pd.DataFrame]], view: View = WHOLE) -> Drawing:
    """Change of the key tokens' loss by layer beside the band of the random vectors, a panel per experiment.

    Args:
        experiments: Of each that has key tokens its record, and its columns of `tables.RANDOM_BY_LAYER` in nats.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    verdicts = [_verdict_lines(random_by_layer(table, record)) for record, table in experiments]
    first = experiments[0][0]
    read_out = f"{drawable_text(first['model'])} · {_QUANTITY} · {lens_name(first)}, raw residuals"

    def at(width: float) -> _Plan:
        fit = max(1, min(ACROSS, int((width - _BESIDE + _GAP) / (_LEAST_PANEL + _GAP))))
        down = -(-len(verdicts) // fit)
        across = -(-len(verdicts) // down)  # rows of equal length, where that is possible
        room = (width - _BESIDE + _GAP) / across - _GAP
        lines = [[line for words in verdict for line in wrapped(words, 7, room)] for verdict in verdicts]
        below = [[line.replace(_TIE, " ") for line in each] for each in lines]
        title = _TITLE if view.title else ""
        head = lines_above(title, read_out, width, [_BAND, _VECTOR, ADDED])
        return _Plan(head, below, room, across, down)

    natural = max(4.6, 0.6 + 1.65 * min(ACROSS, len(verdicts)))
    width = view.inches(natural, _LEAST, lambda width: at(width).height, "experiments")
    plan = at(width)
    with style():
        figure = Drawing((width, plan.height))
        margins = 0.5, plan.under, 0.1, plan.head.height + _OVER
        axes_of_all = panels(figure, plan.down, plan.across, margins, (_GAP, plan.under + _OVER))
        for axes in axes_of_all[len(experiments) :]:
            axes.set_visible(False)
        for axes, (record, table), below in zip(axes_of_all, experiments, plan.below, strict=False):
            _panel(axes, record, band(table), plan.room)
            axes.set_xlabel("\n".join(["layer", *below]))
        for axes in axes_of_all[:: plan.across]:
            axes.set_ylabel("change of the loss (nats)")
        plan.head.draw(figure, axes_of_all[0])
    return figure


class _Plan(NamedTuple):
    """Where the panels stand and what is around them; in inches."""

    head: Header
    below: list[list[str]]
    """Lines below each panel."""
    room: float
    """Width of a panel."""
    across: int
    down: int

    @property
    def under(self) -> float:
        """What stands below a panel."""
        return 0.48 + 0.12 * max(map(len, self.below))

    @property
    def height(self) -> float:
        """Height of the figure."""
        return self.head.height + self.down * (_OVER + _TALL + self.under)


_TITLE = "What steering changes, beside what random vectors of the same norms change"
_QUANTITY = "loss of the key tokens, steered − unsteered, summed"
_BAND, _VECTOR = "random vectors, 5th to 95th percentile", "the steering vector"
_BESIDE, _GAP, _OVER, _TALL = 0.6, 0.12, 0.22, 1.65  # inches: beside all panels, between two, above one, and of one
_TIE = "\u00a0"  # a no-break space: no line is broken there
_LEAST, _LEAST_PANEL = 2.4, 1.25  # inches: of a figure whose legend fits, and of a panel


def _panel(axes: Axes, record: Record, values: pd.DataFrame, room: float) -> None:
    """One experiment's line and band; the last point, the output, stands apart because no lens reads it."""
    ticks, output_at = layer_ticks(record, 4)
    layers, output = values.drop(index=OUTPUT).reset_index(), values.loc[OUTPUT]
    axes.fill_between(layers.index, layers["low"], layers["high"], color="0.82", linewidth=0, label=_BAND)
    axes.plot([output_at] * 2, [output["low"], output["high"]], color="0.82", linewidth=5, solid_capstyle="butt")
    axes.axhline(0, color="0.4", linewidth=0.6, zorder=1)
    axes.plot(layers["steering"], color=STEERED, linewidth=1.5, label=_VECTOR)
    axes.plot(output_at, output["steering"], "D", color=STEERED, markersize=3.6, clip_on=False)
    below = output["steering"] < 0
    axes.annotate(
        signed(output["steering"], 2),
        (output_at, output["steering"]),
        (3, -5 if below else 5),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        color=STEERED,
        weight="bold",
    )
    mark_blocks(axes, record)
    axes.set_xticks([*ticks, output_at], [*ticks.values(), "out"])
    axes.margins(y=0.12)
    number = f"{record['experiment']['number']}. " if record["experiment"]["number"] else ""
    first, *more = wrapped(number + drawable_text(record["experiment"]["title"]), 8, room - 0.11, "bold")
    axes.set_title(first + "…" * bool(more))


def _verdict_lines(verdict: dict[str, str]) -> list[str]:
    """What `chance.random_by_layer` returns, in lines to set below a panel."""
    if "undecided" in verdict:
        return ["not decidable by layer"]
    outside, half = (_place(verdict[name]) for name in ("outside_from", "half_from"))
    return [f"outside the band from {outside}", f"half of the effect from {half}"]


def _place(layer: str) -> str:
    return f"the{_TIE}output" if layer == OUTPUT else f"layer{_TIE}{layer}"
