"""Token text and plain text in Markdown, so that it reads as it is."""

import re
import unicodedata


def code(text: str) -> str:
    """Token text as a Markdown code span that is safe in a table, control characters made visible."""
    shown = "".join(
        character if character.isprintable() and unicodedata.category(character) != "Cf" else _escape(character)
        for character in text
    )
    fence = "`" * (1 + max((len(run) for run in _runs(shown, "`")), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", "\\|")


def plain(text: str) -> str:
    """Text that Markdown leaves as it is, in a paragraph, a table or a figure's alternative text."""
    return re.sub(r"([\\`*_\[\]<>|#~!&])", r"\\\1", " ".join(text.split()))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _runs(text: str, character: str) -> list[str]:
    return [run for run in "".join(c if c == character else " " for c in text).split(" ") if run]
