"""What a figure shows, and how large: its width and title, and which layers and tokens."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from replication.base.errors import UserError

SMALLEST = 6
"""Size of the smallest text of any figure, in points."""

PAGE = 9.5
"""Height of the tallest figure whose width was asked for, in inches: what a page holds."""

_NARROWEST, _BROADEST = 1, 40  # inches


@dataclass(frozen=True)
class View:
    """What a figure shows, and how large."""

    width: float | None = None
    """Inches; None for as many as are comfortable on a screen."""
    title: bool = True
    """Whether the lines above the panels are drawn that say what is shown."""
    layers: str | None = None
    """Layers to show, such as "0,6,12-47,output"; None for all that the kind shows."""
    tokens: str | None = None
    """Positions to show, such as "3-8"; None for all that the kind shows."""

    def inches(
        self, natural: float, least: float, height: Callable[[float], float], parts: str = "layers or tokens"
    ) -> float:
        """The width to draw a figure in.

        Args:
            natural: Its width where none was asked for, in inches.
            least: Inches below which its texts would be cut or overlap.
            height: How tall it is at a width, both in inches.
            parts: What there can be fewer of in it, for the error's advice.

        Raises:
            UserError: It cannot be read at the width that was asked for; the sentence names the smallest that works.
        """
        if self.width is None:
            return natural
        if not _NARROWEST <= self.width <= _BROADEST:
            raise UserError(f"a figure is {_NARROWEST} to {_BROADEST} inches wide, not {self.width:g}")
        if least <= self.width and height(self.width) <= PAGE:
            return self.width
        widths = (tenths / 10 for tenths in range(10 * _NARROWEST, 10 * _BROADEST + 1))
        works = next((width for width in widths if least <= width and height(width) <= PAGE), None)
        fewer = f"choose fewer {parts}"
        if works is None:
            raise UserError(f"this figure is taller than a page ({PAGE:g} inches) at every width: {fewer}")
        tall, instead = (", where it is taller than a page", f"; or {fewer}") if self.width >= least else ("", "")
        raise UserError(
            f"this figure cannot be read at a width of {self.width:g} inches{tall}: {works:g} is the smallest width "
            f"that works{instead}"
        )


WHOLE = View()
"""All that a kind shows, as large as for a screen."""


def chosen(text: str, names: Sequence[str], what: str) -> list[str]:
    """Names out of a list such as "0,6,12-47,output", in the order of all.

    Args:
        text: Names and ranges of numbers, commas between; both ends of a range belong to it.
        names: All there are.
        what: What they are, for the error.

    Raises:
        UserError: A part is not among them.
    """
    picked: set[str] = set()
    for part in text.replace(" ", "").split(","):
        ends = re.fullmatch(r"(\d+)-(\d+)", part)
        first, last = ends.groups() if ends else (part, part)
        if first not in names or last not in names or names.index(first) > names.index(last):
            numbers = [name for name in names if name.isdecimal()]
            others = "".join(f" and {name}" for name in names if not name.isdecimal())
            raise UserError(f"{what}: {part!r} is not among {numbers[0]} to {numbers[-1]}{others}, as in 0,2-4")
        picked |= set(names[names.index(first) : names.index(last) + 1])
    return [name for name in names if name in picked]
