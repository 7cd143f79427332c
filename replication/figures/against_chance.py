"""The figures of two controls: the vector among random ones, and after other prompts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from replication.base.numbers import fixed, signed
from replication.base.tables import STEERING
from replication.figures.canvas import (
    OUTPUT,
    STEERED,
    UNSTEERED,
    drawable_text,
    inches,
    panels,
    style,
    token_label,
    wrapped,
)
from replication.figures.header import header
from replication.figures.positions import Record
from replication.figures.view import WHOLE, View
from replication.verification.chance import collateral, key_change

_BESIDE = 5.6  # inches from which on both histograms stand side by side
_PROMPT_BESIDE = 5.6  # inches from which on prompts stand beside their lines


def random_vectors(table: pd.DataFrame, record: Record, view: View = WHOLE) -> Figure:
    """The change by the steering vector among those by random vectors of its norms, as histograms.

    Args:
        table: Columns of `tables.RANDOM_VECTORS`; losses in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    key, other = key_change(table, ["draw"]), collateral(table, ["draw"])
    shown = (
        ("change of the key tokens' loss (sum, nats)", key, signed(key[STEERING], 2)),
        ("absolute change of the other tokens' loss (mean, nats)", other, fixed(other[STEERING], 2)),
    )
    words = "against random vectors of its norms", OUTPUT
    labels = [f"{len(key) - 1} random vectors", "no change", "the steering vector"]

    def height_at(width: float) -> float:
        return header(record, *words, view, width, labels).height + 1.87 * (1 if width >= _BESIDE else 2)

    width = view.inches(6.8, 3.2, height_at)
    head, beside = header(record, *words, view, width, labels), width >= _BESIDE
    with style():
        figure = Figure((width, height_at(width)))
        margins = (0.5, 0.42, 0.12, head.height + 0.05)
        both = panels(figure, 1 if beside else 2, 2 if beside else 1, margins, (0.25, 0.47))
        for axes, (label, changes, text) in zip(both, shown, strict=True):
            _among_random(axes, changes, text)
            axes.set_xlabel(label)
            if axes is both[0] or not beside:
                axes.set_ylabel("random vectors")
        both[0].yaxis.set_major_locator(MaxNLocator(5, integer=True))
        head.draw(figure, both[0])
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


def prompts(table: pd.DataFrame, record: Record, view: View = WHOLE) -> Figure:
    """Log-odds of the target against the contrast token after each prompt, without and with the vector.

    Args:
        table: Columns of `tables.PROMPTS`; log-odds in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    # Largest change on top; row 0 is drawn at the bottom.
    rows = table.sort_values("change", kind="stable").reset_index(drop=True)
    own = float(table.loc[table["kind"] == "post", "change"].iloc[0])
    target, contrast = (token_label(table[name].iloc[0], 20) for name in ("target", "contrast"))
    across = f"log p({target}) − log p({contrast}) after the prompt (nats)"
    before, after = rows["log_odds_unsteered"].to_numpy(), rows["log_odds_steered"].to_numpy()
    places = np.arange(len(rows))
    words, labels = ("after other prompts", OUTPUT), ["unsteered", "steered", "equally likely"]

    def below_at(width: float) -> float:
        return 0.3 + 0.12 * len(wrapped(across, 7, width - 0.3))

    def height_at(width: float) -> float:
        row = 0.2 if width >= _PROMPT_BESIDE else 0.31
        return header(record, *words, view, width, labels).height + row * len(rows) + 0.16 + below_at(width)

    width = view.inches(6.8, 2.9, height_at)
    height, head, beside = height_at(width), header(record, *words, view, width, labels), width >= _PROMPT_BESIDE
    left = 0.625 * width - 0.9 if beside else 0.2
    right = 0.9 if beside else 0.75
    with style():
        figure = Figure((width, height))
        tall = height - head.height - 0.05 - below_at(width)
        axes = figure.add_axes((left / width, below_at(width) / height, 1 - (left + right) / width, tall / height))
        against = rows["change"].to_numpy() * own <= 0
        for some, colour in ((~against, "0.6"), (against, "black")):
            axes.hlines(places[some], before[some], after[some], color=colour, linewidth=1.2, zorder=2)
        axes.plot(before, places, "o", markersize=6, markerfacecolor="none", color=UNSTEERED, label="unsteered")
        axes.plot(after, places, "D", markersize=3.6, color=STEERED, label="steered")
        axes.axvline(0, color="0.4", linewidth=0.8, linestyle=":", label="equally likely")
        axes.set(ylim=(-0.7, len(rows) - 0.3 if beside else len(rows)))
        axes.grid(visible=True, axis="x")
        figure.supxlabel("\n".join(wrapped(across, 7, width - 0.3)), size=7, y=0.05 / height)
        for place, change, goes_against in zip(places, rows["change"], against, strict=True):
            # The sign alone could be missed.
            text = f"{signed(change, 2)}{' against' if goes_against else ''}"
            axes.text(1.015, float(place), text, transform=axes.get_yaxis_transform(), va="center", size=6.5)
        _name_prompts(axes, rows, left - 0.15 if beside else width - left - 0.1, beside)
        head.draw(figure, axes)
    return figure


def _name_prompts(axes: Axes, rows: pd.DataFrame, room: float, beside: bool) -> None:
    """Writes the prompts, cut to `room` inches, beside their lines or above them."""
    weights = ["bold" if kind == "post" else "normal" for kind in rows["kind"]]
    pairs = zip(rows["kind"], rows["prompt"], weights, strict=True)
    names = [_prompt_label(kind, prompt, room, weight) for kind, prompt, weight in pairs]
    axes.tick_params("y", length=0)
    axes.set_yticks(range(len(rows)), names if beside else [])
    for label, weight in zip(axes.get_yticklabels(), weights, strict=False):
        label.set_fontweight(weight)
    axes.spines["left"].set_visible(beside)
    # Lines that run through the panel don't run through its texts.
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for place, (name, weight) in enumerate(zip(names, weights, strict=True)):
        if not beside:
            text = axes.text(0, place + 0.5, name, transform=axes.get_yaxis_transform(), va="center", bbox=behind)
            text.set(size=6.5, weight=weight)


def _prompt_label(kind: str, prompt: str, room: float, weight: str) -> str:
    shown, what = drawable_text(prompt), f" ({_KINDS[kind]})"
    # Where a long one is cut its end stays: that is what the target follows.
    cuts = (f"{'…' if cut else ''}{shown[cut:]}{what}" for cut in range(len(shown)))
    return next((text for text in cuts if inches(text, 6.5, weight) <= room), what)
