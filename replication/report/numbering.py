"""Numbered captions: "Figure 1.2" within the experiment with number 1, "Table C" outside of experiments."""

from collections import Counter


class Numbering:
    """Counts as the template calls for captions, from top to bottom."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def figure(self, anchor: str, place: str, image: str, text: str, links: str) -> str:
        """A figure: image, then caption and links, as two paragraphs of Markdown.

        Args:
            anchor: Identifier that links to it end in.
            place: What its number starts with.
            image: The image, as Markdown.
            text: What it shows, as Markdown.
            links: Where its numbers are, as Markdown.
        """
        return f'<a id="{anchor}"></a>{image}\n\n*{self._next("Figure", place)}. {text}* {links}\n'

    def table(self, anchor: str, text: str, place: str = "") -> str:
        """The caption of the table that follows, as a paragraph of Markdown; arguments as for `figure`."""
        return f'<a id="{anchor}"></a>*{self._next("Table", place)}. {text}*\n'

    def _next(self, kind: str, place: str) -> str:
        self._counts[kind, place] += 1
        count = self._counts[kind, place]
        return f"{kind} {place}.{count}" if place else f"{kind} {_letters(count)}"


def _letters(number: int) -> str:
    """1 -> A, 26 -> Z, 27 -> AA."""
    letters = ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters
