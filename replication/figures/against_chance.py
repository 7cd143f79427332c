"""What the controls found: the vector among random ones, other prompts, and other layers and coefficients."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from replication.base.numbers import brief, fixed, general, signed
from replication.base.tables import STEERING
from replication.figures.canvas import (
    GREY,
    STEERED,
    UNSTEERED,
    drawable_text,
    legend_line,
    style,
    titles,
    token_label,
)
from replication.figures.grid import Grid, cell_texts, colour_bar, draw_cells, framed
from replication.figures.positions import Record
from replication.verification.chance import collateral, key_change

_OUTPUT = "the model's own output"


def random_vectors(table: pd.DataFrame, record: Record) -> Figure:
    """The change by the steering vector among those by random vectors of its norms, as histograms.

    Args:
        table: Columns of `tables.RANDOM_VECTORS`; losses in nats.
        record: What went in.
    """
    key, other = key_change(table, ["draw"]), collateral(table, ["draw"])
    panels = (
        ("change of the key tokens' loss (sum, nats)", key, signed(key[STEERING], 2)),
        ("absolute change of the other tokens' loss (mean, nats)", other, fixed(other[STEERING], 2)),
    )
    width, height = 6.8, 2.6
    with style():
        figure = Figure((width, height))
        titles(figure, record, "against random vectors of its norms", _OUTPUT)
        axes_row = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(0.5 / width, 0.42 / height, 1 - 0.12 / width, 1 - 0.78 / height, wspace=0.08)
        for axes, (label, changes, text) in zip(axes_row, panels, strict=True):
            _among_random(axes, changes, text)
            axes.set_xlabel(label)
        axes_row[0].set_ylabel("random vectors")
        axes_row[0].yaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend_line(figure, axes_row[0])
    return figure


def _among_random(axes: Axes, changes: "pd.Series[float]", text: str) -> None:
    """Histogram of the draws, with the steering vector's value, written as `text`, and 0 as lines."""
    steering, random = float(changes[STEERING]), changes.drop(STEERING).to_numpy()
    axes.hist(random, bins=min(20, len(random)), color="0.72", label=f"{len(random)} random vectors")
    axes.axvline(0, color="0.4", linewidth=0.8, linestyle=":", label="no change")
    axes.axvline(steering, color=STEERED, linewidth=1.8, label="the steering vector")
    axes.margins(x=0.09)
    middle = sum(axes.get_xlim()) / 2
    axes.annotate(
        text,
        (steering, 1),
        (4 if steering < middle else -4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if steering < middle else "right",
        va="top",
        color=STEERED,
        weight="bold",
    )


_KINDS = {"post": "the experiment's own", "paraphrase": "paraphrase", "neutral": "neutral"}


def prompts(table: pd.DataFrame, record: Record) -> Figure:
    """Log-odds of the target against the contrast token after each prompt, without and with the vector.

    Args:
        table: Columns of `tables.PROMPTS`; log-odds in nats.
        record: What went in.
    """
    # Largest change on top; row 0 is drawn at the bottom.
    rows = table.sort_values("change", kind="stable").reset_index(drop=True)
    own = float(table.loc[table["kind"] == "post", "change"].iloc[0])
    target, contrast = (token_label(table[name].iloc[0], 20) for name in ("target", "contrast"))
    before, after = rows["log_odds_unsteered"].to_numpy(), rows["log_odds_steered"].to_numpy()
    places = np.arange(len(rows))
    width, height = 6.8, 1.35 + 0.2 * len(rows)
    with style():
        figure = Figure((width, height))
        titles(figure, record, "after other prompts", _OUTPUT)
        axes = figure.add_axes((3.35 / width, 0.42 / height, 1 - 4.25 / width, 1 - 1.2 / height))
        against = rows["change"].to_numpy() * own <= 0
        for some, colour in ((~against, "0.6"), (against, "black")):
            axes.hlines(places[some], before[some], after[some], color=colour, linewidth=1.2, zorder=2)
        axes.plot(before, places, "o", markersize=6, markerfacecolor="none", color=UNSTEERED, label="unsteered")
        axes.plot(after, places, "D", markersize=3.6, color=STEERED, label="steered")
        axes.axvline(0, color="0.4", linewidth=0.8, linestyle=":", label="equally likely")
        axes.set(ylim=(-0.7, len(rows) - 0.3), xlabel=f"log p({target}) − log p({contrast}) after the prompt (nats)")
        axes.grid(visible=True, axis="x")
        axes.set_yticks(places, [_prompt_label(row.kind, row.prompt) for row in rows.itertuples()])
        axes.tick_params("y", length=0)
        for place, change, goes_against in zip(places, rows["change"], against, strict=True):
            # The sign alone could be missed.
            text = f"{signed(change, 2)}{' against' if goes_against else ''}"
            axes.text(1.015, float(place), text, transform=axes.get_yaxis_transform(), va="center", size=6.5)
        for label, kind in zip(axes.get_yticklabels(), rows["kind"], strict=True):
            label.set_fontweight("bold" if kind == "post" else "normal")
        legend_line(figure, axes)
    return figure


def _prompt_label(kind: str, prompt: str) -> str:
    shown = drawable_text(prompt)
    # Where a long one is cut its end stays: that is what the target follows.
    return f"{shown if len(shown) <= 44 else '…' + shown[-43:]} ({_KINDS[kind]})"


class _Map(NamedTuple):
    """One heat map of the sweep: (layers, coefficients)."""

    values: Grid
    texts: Grid
    scale: Normalize
    colours: str
    extend: str
    title: str
    label: str


_ROW, _COLUMN = 0.116, 0.34  # inches
_TEXT = 5.5


def sweep(table: pd.DataFrame, record: Record) -> Figure:
    """Change of the key tokens' loss by injection layer and coefficient, and beside it that of the other tokens.

    Args:
        table: Columns of `tables.SWEEP`; losses in nats.
        record: What went in.
    """
    cells = ["layer", "coefficient"]
    key, other = (values.unstack("coefficient") for values in (key_change(table, cells), collateral(table, cells)))
    layers, coefficients = list(key.index), list(key.columns)
    column = coefficients.index(record["experiment"]["steering"]["coefficient"])
    row = layers.index(record["injection"]["block"])
    panel, tall = _COLUMN * len(coefficients), _ROW * len(layers)
    width, height = max(6.8, 0.45 + 2 * panel + 0.3 + 0.2), 0.72 + tall + 1.2
    with style():
        figure = Figure((width, height))
        titles(figure, record, "other layers and coefficients", _OUTPUT)
        maps = _key_map(key.to_numpy()), _collateral_map(other.to_numpy())
        for place, drawn in enumerate(maps):
            left = 0.45 + place * (panel + 0.3)
            axes = figure.add_axes((left / width, 1.2 / height, panel / width, tall / height), label=str(place))
            draw_cells(axes, drawn.values, drawn.texts, drawn.scale, drawn.colours, _TEXT)
            framed(axes, column, column, row)
            axes.set_title(drawn.title)
            axes.set_xticks(range(len(coefficients)), [general(value) for value in coefficients])
            axes.set_xlabel("coefficient (steps are uneven)")
            if place:
                axes.set_yticks([])
            else:
                axes.set_yticks(range(len(layers)), list(map(str, layers)), size=5.5)
                axes.get_yticklabels()[row].set_fontweight("bold")
                axes.set_ylabel("injection layer")
            axes.get_xticklabels()[column].set_fontweight("bold")
            box = (left / width, 0.66 / height, panel / width, 0.09 / height)
            colour_bar(figure, box, drawn.scale, drawn.colours, drawn.label, drawn.extend)
        note = _SWEEP_NOTE + (_CUT if maps[0].extend == "max" else "")
        figure.text(0.45 / width, 0.05 / height, note, size=5.5, color=GREY, va="bottom")
    return figure


_SWEEP_NOTE = "Frame: the experiment's own layer and coefficient. Coefficient 0 is the unsteered model: no change."
_CUT = "\nBeyond an arrow's end the colour no longer grows; the numbers in the cells do."


def _key_map(values: Grid) -> _Map:
    # Large coefficients raise the loss by far more than any lowers it: rises share the scale of the falls' size, cut.
    most = max(float(-values.min()), float(np.median(np.abs(values))), 1e-6)
    extend = "max" if values.max() > most else "neither"
    texts = cell_texts(values, lambda value: brief(value, _digits(most)) if value else "")
    title, label = "key tokens: change of the loss", "change of the key tokens' loss (sum, nats)"
    return _Map(values, texts, Normalize(-most, most), "RdBu_r", extend, title, label)


def _collateral_map(values: Grid) -> _Map:
    most = float(values.max()) or 1.0
    texts = cell_texts(values, lambda value: fixed(value, _digits(most)) if value else "")
    title, label = "other tokens: size of the change", "mean absolute change (nats), square-root scale"
    return _Map(values, texts, PowerNorm(0.5, 0, most), "Blues", "neither", title, label)


def _digits(most: float) -> int:
    """Digits after the point in cells whose colours go up to `most`."""
    return 1 if most >= 1 else 2
