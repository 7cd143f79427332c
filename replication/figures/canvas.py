"""What all figures share: how notebooks show them, the style, drawable text, titles, the same bytes each time."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from replication.base.files import written_whole
from replication.base.numbers import general
from replication.base.steered_layer import steered_layer
from replication.base.visible import shortened, visible
from replication.figures.cell_texts import FONTS, glyphs, text_width
from replication.figures.positions import Record

STYLE = Path(__file__).with_name("style.mplstyle")

UNSTEERED, STEERED = "#0072B2", "#D55E00"
"""Colours of the two conditions (Okabe and Ito's blue and vermilion: told apart by colour-blind readers)."""

GREY = "0.35"

NOTEBOOK_RESOLUTION = 100
"""Dots per inch in a notebook, which keeps every picture it shows."""


class Drawing(Figure):
    """A matplotlib figure with its words, that a notebook shows of itself: pyplot is not needed."""

    alt_text = ""
    """What is seen, for readers who cannot see it."""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        picture = io.BytesIO()
        with style():
            _image(self, NOTEBOOK_RESOLUTION).save(picture, "png", optimize=True)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode("ascii"), "text/plain": self.alt_text}
        return data, {"image/png": {"alt": self.alt_text}}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib with our style and nothing of the user's own."""
    with matplotlib.rc_context():
        matplotlib.rc_file(STYLE)
        yield


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the path's suffix, whole, and the same bytes each time."""
    with style(), written_whole(path) as temporary:
        if path.suffix == ".png":
            resolution = matplotlib.rcParams["savefig.dpi"]
            _image(figure, resolution).save(temporary, dpi=(resolution, resolution))
        else:
            figure.savefig(temporary, metadata=_NO_DATES[path.suffix])


_NO_DATES = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def _image(figure: Figure, resolution: float) -> Image.Image:
    """The figure in pixels, without the transparency that savefig would keep and nothing uses."""
    figure.set_dpi(resolution)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels[..., :3].copy())


def token_label(text: str, length: int = 7) -> str:
    """A token in at most `length` characters that our font can draw."""
    return shortened(text, length, _drawable)


def fitted_label(text: str, size: float, width: float) -> str:
    """A token in as many characters, at most 8, as fit into `width` inches at `size` points."""
    labels = (token_label(text, length) for length in range(8, 0, -1))
    return next((label for label in labels if text_width(label, "normal") * size / 72 <= width), "")


def drawable_text(text: str) -> str:
    """Text of the user's, such as a title, with what our font cannot draw as escapes; spaces stay."""
    return " ".join(visible(word, _drawable) for word in text.split(" "))


def vector_text(record: Record) -> str:
    """The steering vector in words: 5 × (“Love” − “Hate”)."""
    steering = record["experiment"]["steering"]
    coefficient = general(steering["coefficient"])
    added, subtracted = (f"“{token_label(steering[side], 36)}”" for side in ("added", "subtracted"))
    return f"{coefficient} × ({added} − {subtracted})"


def titles(figure: Figure, record: Record, what: str, read_out: str) -> None:
    """Two lines on top: which experiment and what is shown; then model, vector, coefficient, layer and read-out."""
    width, height = figure.get_size_inches()
    experiment = record["experiment"]
    number = f"{experiment['number']}. " if experiment["number"] else ""
    model = drawable_text(record["model"])
    first = f"{number}{drawable_text(experiment['title'])}: {what}"
    second = f"{model} · {vector_text(record)} added before block {steered_layer(record)} · {read_out}"
    second += f" · {record['window']}" if "window" in record else ""
    figure.text(0.12 / width, 1 - 0.17 / height, first, size=9, weight="bold", va="center")
    figure.text(0.12 / width, 1 - 0.36 / height, second, size=6.5, color=GREY, va="center")


def legend_line(figure: Figure, axes: Axes) -> None:
    """One legend line under the titles."""
    width, height = figure.get_size_inches()
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="center left",
        ncols=len(handles),
        fontsize=6.5,
        bbox_to_anchor=(0.06 / width, 1 - 0.6 / height),
        columnspacing=1.4,
        handletextpad=0.5,
        borderpad=0,
    )


def mark_block(axes: Axes, record: Record) -> None:
    """A dotted line at the layer that the vector was added before."""
    block = record["injection"]["block"]
    axes.axvline(block, color="0.4", linewidth=0.8, linestyle=":", label="vector added", zorder=0)


def _drawable(character: str) -> bool:
    return all(ord(character) in glyphs(weight) for weight in FONTS)
