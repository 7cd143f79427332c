r"""Token text made visible: spaces as `␣`, and what cannot be seen or could do harm as an escape.

Line breaks, control characters, marks that change the direction of writing, and characters for which a font has no
glyph all become text such as `\n`, `\x07` or `\u202e`.
"""

import unicodedata
from collections.abc import Callable

SPACE = "␣"
"""Cannot be mistaken for a character of a token, as an underscore could; the figures' font has it."""
ELLIPSIS = "…"

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", " ": SPACE}


def visible(text: str, drawable: Callable[[str], bool] = str.isprintable) -> str:
    """`text` with every character visible, spaces as `␣`.

    Args:
        text: A token, or several.
        drawable: Says of a printable character whether the font has it.
    """
    return "".join(_units(text, drawable))


def legible(text: str) -> str:
    """A text of several lines, for an element that keeps white space: spaces as they are, `↵` before a line break."""
    kept = {" ": " ", "\n": "↵\n"}
    return "".join(kept.get(character) or visible(character) for character in text)


def shortened(text: str, length: int, drawable: Callable[[str], bool] = str.isprintable) -> str:
    """`visible(text)` in at most `length` characters: what does not fit ends in an ellipsis, no escape is cut."""
    units = _units(text, drawable)
    if len("".join(units)) <= length:
        return "".join(units)
    kept = ""
    for unit in units:
        if len(kept) + len(unit) + len(ELLIPSIS) > length:
            break
        kept += unit
    return kept + ELLIPSIS


def _units(text: str, drawable: Callable[[str], bool]) -> list[str]:
    return [_NAMED.get(character) or _unit(character, drawable) for character in text]


def _unit(character: str, drawable: Callable[[str], bool]) -> str:
    # A combining mark alone would land on its neighbour.
    combining = unicodedata.category(character) in ("Mn", "Me")
    if character.isprintable() and not combining and drawable(character):
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
