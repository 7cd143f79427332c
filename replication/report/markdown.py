"""Text that others chose, such as tokens and titles, put into Markdown so that it stays text."""

import re
import unicodedata

from replication.base.visible import SPACE


def abridged(text: str, most: int = 600) -> str:
    """A prompt as it is printed: of a long one the beginning and the end."""
    return text if len(text) <= most else f"{text[: most // 2]} [...] {text[-(most // 2) :]}"


def code(text: str) -> str:
    """Text as a code span: control characters and marks of direction made visible, and spaces at both ends."""
    shown = "".join(
        character if character.isprintable() and unicodedata.category(character) != "Cf" else _escape(character)
        for character in text
    )
    inner = shown.strip(" ")
    before = len(shown) - len(shown.lstrip(" ")) if inner else len(shown)
    shown = SPACE * before + inner + SPACE * (len(shown) - before - len(inner))
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    # A backtick at an end would join the fence.
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def cell(text: str) -> str:
    """Text as a code span within a table, where a bar would end the cell even in code."""
    # A backslash before the escaped bar is read one way on GitHub and another elsewhere.
    return code(text.replace("\\|", "\\\\x7c")).replace("|", "\\|")


def written(text: str) -> str:
    """What a model wrote as a code span within a table; line breaks are seen, and the text goes on after them."""
    return cell(text.replace("\n", "↵ "))


def plain(text: str) -> str:
    """Text that Markdown leaves as it is, in a paragraph, a heading, a table or a figure's alternative text."""
    return re.sub(r"([\\`*_\[\]<>|#~!&$])", r"\\\1", " ".join(text.split()))


def anchor(text: str) -> str:
    """An identifier that links can end in: letters, digits, `-`, `_` and dots."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
