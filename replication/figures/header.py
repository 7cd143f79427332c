"""What stands above the panels of a figure: title, model and vector, legend, each in as many lines as it needs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.base.recorded import blocks, vectors_in_words
from replication.figures.canvas import GREY, drawable_text, inches, token_label, wrapped
from replication.figures.positions import Record, layer_numbers
from replication.figures.view import View

_TITLE, _SMALL = 9, 6.5  # points
_MARGIN = 0.12  # inches

_HANDLE, _SPACE = 2.5, 1.4  # of a legend: a line with the space behind it, and between columns, as parts of its size


class Header(NamedTuple):
    """What stands above the panels."""

    title: list[str]
    """Lines in bold: which experiment, and what is shown."""
    below: list[str]
    """Lines: model, vector, coefficient, layer and read-out."""
    columns: int
    """Of the legend; 0 for none."""
    legend_rows: int

    @property
    def height(self) -> float:
        """Inches that it takes."""
        return self._titles + (0.3 + 0.15 * (self.legend_rows - 1) if self.columns else 0)

    @property
    def _titles(self) -> float:
        return 0.45 + 0.16 * (len(self.title) - 1) + 0.125 * (len(self.below) - 1) if self.title else 0

    def draw(self, figure: Figure, axes: Axes | None = None) -> None:
        """Writes it on top of a figure, with the legend of the lines of `axes`."""
        width, height = figure.get_size_inches()
        down = 0.17
        for line in self.title:
            figure.text(_MARGIN / width, 1 - down / height, line, size=_TITLE, weight="bold", va="center")
            down += 0.16
        down += 0.03
        for line in self.below:
            figure.text(_MARGIN / width, 1 - down / height, line, size=_SMALL, color=GREY, va="center")
            down += 0.125
        if axes is not None:
            handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            figure.legend(
                handles.values(),
                handles.keys(),
                loc="upper left",
                ncols=self.columns,
                fontsize=_SMALL,
                bbox_to_anchor=(0.06 / width, 1 - (self._titles + 0.08) / height),
                columnspacing=_SPACE,
                handletextpad=0.5,
                borderpad=0,
                labelspacing=0.6,
            )


def header(record: Record, what: str, read_out: str, view: View, width: float, labels: Sequence[str] = ()) -> Header:
    """What stands above the panels of a figure.

    Args:
        record: The experiment's record.
        what: What the figure shows, for the title.
        read_out: By which lens, or at the model's output.
        view: Whether there is a title.
        width: Of the figure, in inches.
        labels: Of the legend, if it has one.
    """
    experiment = record["experiment"]
    number = f"{experiment['number']}. " if experiment["number"] else ""
    first = f"{number}{drawable_text(experiment['title'])}: {what}"
    model = drawable_text(record["model"])
    second = f"{model} · {vector_text(record)} · {read_out}"
    second += f" · {record['window']}" if "window" in record else ""
    return lines_above(first if view.title else "", second, width, labels)


def lines_above(title: str, below: str, width: float, labels: Sequence[str] = ()) -> Header:
    """A title, what stands below it, and a legend, in as many lines as they need; without a title the legend alone."""
    room = 0.94 * (width - _MARGIN)  # at a low resolution characters are set on whole pixels
    columns = next((n for n in range(len(labels), 1, -1) if _legend_width(labels, n) <= room), 1)
    legend = (columns, -(-len(labels) // columns)) if labels else (0, 0)
    across = width - 2 * _MARGIN
    titles = (wrapped(title, _TITLE, across, "bold"), wrapped(below, _SMALL, across)) if title else ([], [])
    return Header(*titles, *legend)


def _legend_width(labels: Sequence[str], columns: int) -> float:
    """Inches of a legend, which is filled column by column."""
    parts = np.array_split(np.asarray(labels, dtype=object), columns)
    texts = sum(max(inches(label, _SMALL) for label in part) for part in parts)
    return texts + (_HANDLE * columns + _SPACE * (columns - 1)) * _SMALL / 72


def vector_text(record: Record) -> str:
    """What was added, in words: 5 × (“Love” − “Hate”) added before block 6."""
    return vectors_in_words(record, lambda text: f"“{token_label(text, 36)}”")


ADDED = "vector added"
"""What the legend calls the lines of `mark_blocks`."""


def blocks_shown(record: Record) -> list[int]:
    """The layers that something was added before, of those drawn."""
    numbers = layer_numbers(record)
    return [block for block in blocks(record) if numbers[0] <= block <= numbers[-1]]


def mark_blocks(axes: Axes, record: Record) -> None:
    """A dotted line at each layer that a vector was added before, if it is among those drawn."""
    for block in blocks_shown(record):
        axes.axvline(block, color="0.4", linewidth=0.8, linestyle=":", label=ADDED, zorder=0)
