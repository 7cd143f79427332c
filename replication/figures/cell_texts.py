"""Hundreds of short texts in one artist: one matplotlib text object each would take most of the drawing time."""

from functools import cache
from pathlib import Path as FilePath
from typing import Any, NamedTuple, cast

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

FONTS = {"normal": "DejaVuSans", "bold": "DejaVuSans-Bold"}
"""Files of the font that comes with matplotlib, by weight."""

_CAPITAL = 0.73
"""Height of the font's capitals, as part of its size: half of it is below the middle of a line."""


class CellTexts(Artist):
    """The texts of all cells, each in the middle of its cell: outlines in PNG, text in SVG and PDF."""

    def __init__(self, axes: Axes, texts: NDArray[Any], colours: NDArray[Any], size: float, weight: str) -> None:
        """Adds itself to `axes`, whose cells have their middles at whole numbers.

        Args:
            axes: Where to draw.
            texts: (rows, positions) strings; nothing is drawn where they are empty.
            colours: (rows, positions) colours.
            size: In points.
            weight: "normal" or "bold".
        """
        super().__init__()
        self.set_zorder(2)
        self.texts, self.colours, self.size, self.weight = texts, colours, size, weight
        self._axes = axes
        self._cells = [
            _Cell(str(text), str(colours[row, position]), (position, row))
            for (row, position), text in np.ndenumerate(texts)
            if text
        ]
        axes.add_artist(self)

    def draw(self, renderer: RendererBase) -> None:
        """Called by matplotlib."""
        if not self._cells:
            return
        if isinstance(renderer, RendererAgg):
            self._outlines().draw(renderer)
        else:
            self._write(renderer)

    def _outlines(self) -> PathCollection:
        figure = cast(Figure, self.get_figure(root=True))
        collection = PathCollection(
            [_outline(cell.text, self.weight) for cell in self._cells],
            offsets=[cell.middle for cell in self._cells],
            offset_transform=self._axes.transData,
            facecolors=[cell.colour for cell in self._cells],
            linewidths=0,
        )
        collection.set_figure(figure)
        collection.set_transform(Affine2D().scale(self.size / 72) + figure.dpi_scale_trans)
        return collection

    def _write(self, renderer: RendererBase) -> None:
        font = FontProperties(size=self.size, weight=self.weight)
        # SVG asks a text object where its middle is, so that it stays there in a font of another width.
        anchor = Text(fontproperties=font, ha="center", transform=self._axes.transData)
        middles = self._axes.transData.transform([cell.middle for cell in self._cells])
        size = float(cast(float, renderer.points_to_pixels(self.size)))
        height = renderer.get_canvas_width_height()[1]
        context = renderer.new_gc()
        for cell, (x, y) in zip(self._cells, middles, strict=True):
            anchor.set_position(cell.middle)
            context.set_foreground(cell.colour)
            left, base = x - size * text_width(cell.text, self.weight) / 2, y - size * _CAPITAL / 2
            base = height - base if renderer.flipy() else base
            renderer.draw_text(context, left, base, cell.text, font, 0, mtext=anchor)
        context.restore()


class _Cell(NamedTuple):
    """A text, its colour, and the middle of its cell."""

    text: str
    colour: str
    middle: tuple[int, int]


@cache
def glyphs(weight: str) -> frozenset[int]:
    """Code points that the font has."""
    return frozenset(_font(weight).get_charmap())


@cache
def _font(weight: str) -> FT2Font:
    font = FT2Font(str(FilePath(matplotlib.get_data_path(), "fonts", "ttf", f"{FONTS[weight]}.ttf")))
    font.set_size(100, 72)
    return font


@cache
def _glyph(character: str, weight: str) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Outline of a character at size 1, as vertices (n, 2) and path codes (n,), and its advance."""
    font = _font(weight)
    advance = font.load_char(ord(character), flags=LoadFlags.NO_HINTING).linearHoriAdvance / 65536
    vertices, codes = font.get_path()
    return vertices / 100, codes, advance / 100


def text_width(text: str, weight: str) -> float:
    """Width of a text, as part of its size."""
    return sum(_glyph(character, weight)[2] for character in text)


@cache
def _outline(text: str, weight: str) -> Path:
    """Outline of a text at size 1 with its middle at the origin."""
    left = -text_width(text, weight) / 2
    parts = []
    for character in text:
        vertices, codes, advance = _glyph(character, weight)
        parts.append(Path(vertices + np.array([left, -_CAPITAL / 2]), codes))
        left += advance
    return Path.make_compound_path(*parts)
