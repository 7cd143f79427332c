"""What all figures share: how notebooks show them, the style, drawable text, the same bytes each time."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from replication.base.files import written_whole
from replication.base.visible import shortened, visible
from replication.figures.cell_texts import FONTS, glyphs, text_width

STYLE = Path(__file__).with_name("style.mplstyle")

UNSTEERED, STEERED = "#0072B2", "#D55E00"
"""Colours of the two conditions (Okabe and Ito's blue and vermilion, which colour-blind readers can distinguish)."""

GREY = "0.35"

OUTPUT = "the model's own output"
"""The read-out that a title names where no lens is used."""

NOTEBOOK_RESOLUTION = 100
"""Dots per inch in a notebook, which keeps every picture it shows."""


class Drawing(Figure):
    """A matplotlib figure with alternative text, which a notebook shows without pyplot."""

    alt_text = ""
    """What the figure shows, for readers who cannot see it."""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        picture = io.BytesIO()
        with style():
            _image(self, NOTEBOOK_RESOLUTION).save(picture, "png", optimize=True)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode("ascii"), "text/plain": self.alt_text}
        return data, {"image/png": {"alt": self.alt_text}}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib with our style, and without the user's own settings."""
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


def token_label(text: str, length: int) -> str:
    """A token in at most `length` characters that our font can draw."""
    return shortened(text, length, _drawable)


@cache
def fitted_label(text: str, size: float, width: float, weight: str = "normal") -> str:
    """A token in as many characters as fit into `width` inches at `size` points; empty where not one does."""
    labels = (token_label(text, length) for length in range(len(visible(text, _drawable)), 0, -1))
    return next((label for label in labels if inches(label, size, weight) <= width), "")


def inches(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text of `size` points."""
    return text_width(text, weight) * size / 72


def wrapped(text: str, size: float, width: float, weight: str = "normal") -> list[str]:
    """Text in lines that fit into `width` inches at `size` points; they end at a space, or inside what has none."""
    room = 0.97 * width  # at a low resolution characters are set on whole pixels
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if inches(longer, size, weight) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and inches(lines[-1] + character, size, weight) > room:
                lines.append("")
            lines[-1] += character
    return lines


def drawable_text(text: str) -> str:
    """Text of the user's, such as a title, with what our font cannot draw as escapes; spaces stay."""
    return " ".join(visible(word, _drawable) for word in text.split(" "))


def _drawable(character: str) -> bool:
    return all(ord(character) in glyphs(weight) for weight in FONTS)


def panels(
    figure: Figure, down: int, across: int, margins: tuple[float, float, float, float], gaps: tuple[float, float]
) -> list[Axes]:
    """Panels of one size in rows, all with the same scale across.

    Args:
        figure: The figure.
        down: How many rows.
        across: How many in a row.
        margins: Inches left of them all, below, right and above.
        gaps: Inches between neighbours, and between rows.
    """
    width, height = figure.get_size_inches()
    left, below, right, above = margins
    one = (width - left - right - gaps[0] * (across - 1)) / across
    tall = (height - below - above - gaps[1] * (down - 1)) / down
    axes = figure.subplots(down, across, sharey=True, squeeze=False)
    figure.subplots_adjust(left / width, below / height, 1 - right / width, 1 - above / height)
    figure.subplots_adjust(wspace=gaps[0] / one, hspace=gaps[1] / tall)
    return list(axes.flat)
