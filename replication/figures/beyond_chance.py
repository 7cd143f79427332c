"""The first figure of a report: what steering changes layer by layer, in all experiments, beside what chance does."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from replication.base.numbers import signed
from replication.base.tables import OUTPUT
from replication.figures.canvas import STEERED, Drawing, drawable_text, panels, style, wrapped
from replication.figures.header import ADDED, lines_above, mark_blocks
from replication.figures.positions import Record, layer_ticks
from replication.verification.chance import band, random_by_layer

ACROSS = 4
"""Panels side by side: as many as the post has experiments."""


def beyond_chance(experiments: Sequence[tuple[Record, pd.DataFrame]]) -> Drawing:
    """Change of the key tokens' loss by layer beside the band of the random vectors, a panel per experiment.

    Args:
        experiments: Of each that has key tokens what went in, and its columns of `tables.RANDOM_BY_LAYER`.
    """
    across, down = min(ACROSS, len(experiments)), -(-len(experiments) // ACROSS)
    width = max(4.4, 0.6 + 1.65 * across)
    head = lines_above(
        _TITLE, f"{drawable_text(experiments[0][0]['model'])} · {_READ_OUT}", width, [_BAND, _VECTOR, ADDED]
    )
    above, below = head.height + 0.22, 0.72
    with style():
        figure = Drawing((width, above + down * _TALL + (down - 1) * (below + 0.22) + below))
        axes_of_all = panels(figure, down, across, (0.5, below, 0.1, above), (0.12, below + 0.22))
        for axes in axes_of_all[len(experiments) :]:
            axes.set_visible(False)
        for axes, (record, table) in zip(axes_of_all, experiments, strict=False):
            _panel(axes, record, band(table))
            axes.set_xlabel(f"layer\n{_takes_hold(random_by_layer(table, record))}")
        for axes in axes_of_all[::across]:
            axes.set_ylabel("change of the loss (nats)")
        head.draw(figure, axes_of_all[0])
    return figure


_TITLE = "What steering changes, beside what random vectors of the same norms change"
_READ_OUT = "loss of the key tokens, steered − unsteered, summed · tuned lens, raw residuals"
_BAND, _VECTOR = "random vectors, 5th to 95th percentile", "the steering vector"
_TALL, _NAMED = 1.65, 1.45  # inches: of a panel, and for its title


def _panel(axes: Axes, record: Record, values: pd.DataFrame) -> None:
    """One experiment's line and band; the last point, the output, stands apart, being no lens."""
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
    first, *more = wrapped(number + drawable_text(record["experiment"]["title"]), 8, _NAMED, "bold")
    axes.set_title(first + "…" * bool(more))


def _takes_hold(found: dict[str, str]) -> str:
    """The verdict by layer, in two short lines."""
    if "undecided" in found:
        return "not decidable by layer"
    return (
        f"outside the band from {_place(found['outside_from'])}\nhalf of the effect from {_place(found['half_from'])}"
    )


def _place(layer: str) -> str:
    return "the output" if layer == OUTPUT else f"layer {layer}"
