"""What all figures share: the style, text that can be drawn, titles, and saving the same bytes each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from replication.files import written_whole
from replication.visible import shortened, visible

STYLE = Path(__file__).with_name("style.mplstyle")

UNSTEERED, STEERED = "#0072B2", "#D55E00"
"""Colours of the two conditions (Okabe and Ito's blue and vermilion: told apart by colour-blind readers)."""

GREY = "0.35"

Record = dict[str, Any]
"""An experiment's record.json."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib with our style and nothing of the user's own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc_file(STYLE)
        yield


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the path's suffix, whole, and the same bytes each time."""
    metadata = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[path.suffix[1:]]
    with style(), written_whole(path) as temporary:
        figure.savefig(temporary, metadata=metadata)


def token_label(text: str, length: int = 7) -> str:
    """A token in at most `length` characters that our font can draw."""
    return shortened(text, length, _drawable)


def drawable_text(text: str) -> str:
    """Text of the user's, such as a title, with what our font cannot draw as escapes; spaces stay."""
    return " ".join(visible(word, _drawable) for word in text.split(" "))


def vector_text(record: Record) -> str:
    """The steering vector in words: 5 × (“Love” − “Hate”)."""
    steering = record["experiment"]["steering"]
    coefficient = f"{steering['coefficient']:g}".replace("-", "−")
    added, subtracted = (f"“{token_label(steering[side], 36)}”" for side in ("added", "subtracted"))
    return f"{coefficient} × ({added} − {subtracted})"


def heading(record: Record) -> str:
    """Number and title of the experiment."""
    experiment = record["experiment"]
    number = f"{experiment['number']}. " if experiment["number"] else ""
    return drawable_text(f"{number}{experiment['title']}")


def setting(record: Record, protocol: str) -> str:
    """Model, vector, coefficient, layer and protocol in one line."""
    model, layer = drawable_text(record["model"]), record["injection"]["block"]
    return f"{model} · {vector_text(record)} added before block {layer} · tuned lens, {protocol} residuals"


def changed_positions(record: Record) -> list[int]:
    """Positions where a vector other than zero was added; position 0 is bos - bos = 0."""
    norms = record["norms"]["vector"]
    return [position for position, norm in zip(record["injection"]["positions"], norms, strict=True) if norm > 0]


@cache
def _glyphs() -> frozenset[int]:
    """Code points that both weights of the font have."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    regular, bold = (set(FT2Font(str(folder / f"{name}.ttf")).get_charmap()) for name in ("DejaVuSans", "DejaVuSans-Bold"))
    return frozenset(regular & bold)


def _drawable(character: str) -> bool:
    return ord(character) in _glyphs()
