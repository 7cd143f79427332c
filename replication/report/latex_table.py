r"""The loss of every token as a LaTeX table, for \input into a paper of one or two columns.

Packages: booktabs, siunitx, multirow, caption. A space of a token is `\textvisiblespace`; a character that pdflatex's
own fonts lack becomes an escape such as `\u4e2d`.
"""

from collections.abc import Iterable

from replication.base.numbers import MINUS
from replication.base.visible import visible
from replication.report.token_tables import DIGITS, Token, TokenTable, caption_of, notes_of

MOST_ROWS = 36
"""Most rows of a table on one page; a longer one goes on in further ones."""

LONGEST = 16
"""Most characters of a token in a cell; of a longer one the beginning is printed."""

_RUN, _WORD = 16, 40
"""Characters of typewriter, and of other text, without a space after which a line may break."""

_SMALL = r"\footnotesize\setlength{\tabcolsep}{2pt}"
_NAMES = 3  # columns before the numbers: position, token, row

# What typewriter fonts have at its ASCII code, whatever their encoding. Braces part what a font would join.
_TYPEWRITER = {character: rf"{{\char{ord(character)}}}" for character in '\\{}_^~"<>|'} | {
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "-{}",
    ",": ",{}",
    # A long prompt in a caption breaks after its spaces.
    " ": r"\textvisiblespace\allowbreak{}",
}

_PLAIN = _TYPEWRITER | {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A bracket must not end an optional argument.
    "[": "{[}",
    "]": "{]}",
    "'": "'",
    "-": "-",
    ",": ",",
    " ": " ",
    MINUS: "$-$",
}

# Letters of Latin-1 that the OT1 fonts can make; the rest, such as thorn, stops pdflatex.
_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿß")


def latex_table(table: TokenTable) -> str:
    """The table in LaTeX, with caption and label `tab:<model>:<experiment>:<protocol>`."""
    numbers = [number for token in table.tokens for cells in token.cells.values() for number in cells]
    columns = "@{}rll" + number_column(numbers) * len(table.layers) + "@{}"
    width = _NAMES + len(table.layers)
    head = [
        rf"& & & \multicolumn{{{len(table.layers)}}}{{c}}{{layer}} \\",
        rf"\cmidrule(l){{{_NAMES + 1}-{width}}}",
        "$i$ & token & & " + " & ".join(f"{{{layer}}}" for layer in table.layers) + r" \\",
    ]
    caption = caption_of(table, latex_text)
    notes = notes_of(table, latex_text, latex_token, "underlined")
    label = f"{table.model}:{table.experiment}:{table.protocol}"
    return floats(caption, label, columns, head, [_rows(token) for token in table.tokens], notes)


def floats(caption: str, label: str, columns: str, head: list[str], groups: list[list[str]], notes: str) -> str:
    """A table in as many floats as it takes, each as wide as the page.

    Args:
        caption: LaTeX.
        label: Its label, without `tab:`.
        columns: Argument of `tabular`.
        head: Lines of the head.
        groups: Lines of rows that belong together.
        notes: LaTeX to set below; may be empty.
    """
    parts: list[list[list[str]]] = [[]]
    for group in groups:
        if parts[-1] and sum(map(len, parts[-1])) + len(group) > MOST_ROWS:
            parts.append([])
        parts[-1].append(group)
    lines = ["% Packages: booktabs, siunitx, multirow, caption"]
    for part in parts:
        rows = [line for group in part for line in [*group, r"\addlinespace"]][:-1]
        first, last = part is parts[0], part is parts[-1]
        lines += [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{caption}}}\label{{tab:{label}}}" if first else r"\ContinuedFloat\caption[]{Continued.}",
            _SMALL,
            rf"\begin{{tabular}}{{{columns}}}",
            *(r"\toprule", *head, r"\midrule", *rows, r"\bottomrule"),
            r"\end{tabular}",
            *(
                [rf"\par\smallskip\begin{{minipage}}{{\textwidth}}\raggedright {notes}\end{{minipage}}"]
                if last and notes
                else []
            ),
            r"\end{table*}",
        ]
    return "\n".join(lines) + "\n"


def _rows(token: Token) -> list[str]:
    """The three rows of a token."""
    shown = rf"\underline{{{cell_token(token.text)}}}" if token.key else cell_token(token.text)
    names = [rf"\multirow{{{len(token.cells)}}}{{*}}{{{name}}}" for name in (str(token.position), shown)]
    lines = []
    for row, cells in token.cells.items():
        lines.append(" & ".join([*names, row, *map(data, cells)]) + r" \\")
        names = ["", ""]
    return lines


def data(number: str) -> str:
    """A number as siunitx takes it, which makes the minus. "<0.001" is too wide; 0.000 has decimals, as 0 has not."""
    return f"{0:.{DIGITS}f}" if number[0] in "<>" else number.replace(MINUS, "-")


def number_column(numbers: Iterable[str]) -> str:
    """A column that the longest of the numbers fits into, aligned at the decimal point."""
    digits = max(len(number.lstrip("<>+" + MINUS).split(".")[0]) for number in numbers)
    return f"S[table-format=+{digits}.{DIGITS}, retain-explicit-plus]"


def latex_token(text: str) -> str:
    """Token text in typewriter, every character of it visible."""
    return rf"\texttt{{{_written(text, _TYPEWRITER, _RUN)}}}"


def cell_token(text: str) -> str:
    """A token in a cell, cut where it has more than `LONGEST` characters."""
    kept = len(text)
    while sum(len(visible(character, _has_glyph)) for character in text[:kept]) > LONGEST:
        kept -= 1
    return latex_token(text[:kept]) + (r"\ldots" if kept < len(text) else "")


def latex_text(text: str) -> str:
    """Text in the document's own font; runs of white space are one space."""
    return _written(" ".join(text.split()), _PLAIN, _WORD)


def _written(text: str, special: dict[str, str], run: int) -> str:
    """Text with every character visible; TeX may break a line inside what has no space for `run` characters."""
    written, length = "", 0
    for character in text:
        for unit in character if character in special else visible(character, _has_glyph):
            written += r"\allowbreak{}" * (length > 0 and length % run == 0) + special.get(unit, unit)
            length = 0 if character == " " else length + 1
    return written


def _has_glyph(character: str) -> bool:
    return character.isascii() or character in _LETTERS
