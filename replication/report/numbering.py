"""Numbered captions: "Figure 1.2" within the experiment with number 1, "Table C" outside of experiments."""

from collections import Counter

from replication.report.markdown import plain


class Numbering:
    """Counts as the template calls for captions, from top to bottom."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def figure(self, anchor: str, figure: dict[str, str], place: str = "") -> str:
        """A figure: image, then caption and links, as two paragraphs of Markdown.

        Args:
            anchor: Identifier that links to it end in.
            figure: What `links.described_figure` returns.
            place: Number or name of its experiment, which its number starts with; empty outside of experiments.
        """
        image = f"![{plain(figure['alt'])}]({figure['image']})"
        caption = f"*{self._next('Figure', place)}. {figure['caption']}*"
        return f'<a id="{anchor}"></a>{image}\n\n{caption} {figure["links"]}\n'

    def table(self, anchor: str, text: str, place: str = "") -> str:
        """The caption of the table that follows, as a paragraph of Markdown.

        Args:
            anchor: Identifier that links to it end in.
            text: What the table shows, as Markdown.
            place: As for `figure`.
        """
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
