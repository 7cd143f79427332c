r"""The loss of every token as a LaTeX table, for \input into a paper: booktabs, siunitx, multirow, longtable, caption.

A space of a token is `\textvisiblespace`; a character that pdflatex's own fonts lack becomes an escape such as
`\u4e2d`.
"""

from replication.base.numbers import MINUS
from replication.base.visible import visible
from replication.report.token_tables import DIGITS, Token, TokenTable, caption_of

FLOATING = 12
"""Most tokens of a table that floats on one page; a longer one breaks over pages."""

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
    columns = "@{}rll" + _number_column(table.tokens) * len(table.layers) + "@{}"
    width = _NAMES + len(table.layers)
    head = [
        r"\toprule",
        rf"& & & \multicolumn{{{len(table.layers)}}}{{c}}{{layer}} \\",
        rf"\cmidrule(l){{{_NAMES + 1}-{width}}}",
        "$i$ & token & & " + " & ".join(f"{{{layer}}}" for layer in table.layers) + r" \\",
        r"\midrule",
    ]
    rows = [line for token in table.tokens for line in [*_rows(token), r"\addlinespace"]][:-1]
    layout = _breaking if len(table.tokens) > FLOATING else _floating
    lines = [
        "% Packages: booktabs, siunitx, multirow, longtable, caption",
        *layout(_caption(table), columns, head, rows),
    ]
    return "\n".join(lines) + "\n"


def _floating(caption: str, columns: str, head: list[str], rows: list[str]) -> list[str]:
    return [
        r"\begin{table}",
        r"\centering",
        caption,
        _SMALL,
        rf"\begin{{tabular}}{{{columns}}}",
        *head,
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _breaking(caption: str, columns: str, head: list[str], rows: list[str]) -> list[str]:
    return [
        r"\begingroup",
        _SMALL,
        rf"\begin{{longtable}}{{{columns}}}",
        caption + r" \\",
        *head,
        r"\endfirsthead",
        r"\multicolumn{3}{@{}l}{\tablename~\thetable{}, continued} \\",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *rows,
        r"\end{longtable}",
        r"\endgroup",
    ]


def _caption(table: TokenTable) -> str:
    short = latex_text(f"{table.record['experiment']['title']}, {table.model}, {table.protocol}: loss of every token")
    words = caption_of(table, latex_text, latex_token, "underlined")
    return rf"\caption[{short}]{{{words}}}\label{{tab:{table.model}:{table.experiment}:{table.protocol}}}"


def _rows(token: Token) -> list[str]:
    """The three rows of a token; the star keeps a page break from parting them."""
    shown = rf"\underline{{{latex_token(token.text)}}}" if token.key else latex_token(token.text)
    names = [rf"\multirow{{{len(token.cells)}}}{{*}}{{{name}}}" for name in (str(token.position), shown)]
    lines = []
    for row, cells in token.cells.items():
        lines.append(" & ".join([*names, row, *map(_data, cells)]) + r" \\*")
        names = ["", ""]
    return [*lines[:-1], lines[-1].removesuffix("*")]


def _data(number: str) -> str:
    """A number as siunitx takes it, which makes the minus. "<0.001" is too wide; 0.000 has decimals, as 0 has not."""
    return f"{0:.{DIGITS}f}" if number[0] in "<>" else number.replace(MINUS, "-")


def _number_column(tokens: list[Token]) -> str:
    """A column that the longest of the numbers fits into, aligned at the decimal point."""
    numbers = [number for token in tokens for cells in token.cells.values() for number in cells]
    digits = max(len(number.lstrip("<>+" + MINUS).split(".")[0]) for number in numbers)
    return f"S[table-format=+{digits}.{DIGITS}, retain-explicit-plus]"


def latex_token(text: str) -> str:
    """Token text in typewriter, every character of it visible."""
    return rf"\texttt{{{_written(text, _TYPEWRITER)}}}"


def latex_text(text: str) -> str:
    """Text in the document's own font; runs of white space are one space."""
    return _written(" ".join(text.split()), _PLAIN)


def _written(text: str, special: dict[str, str]) -> str:
    shown = (character if character in special else visible(character, _has_glyph) for character in text)
    return "".join(special.get(unit, unit) for units in shown for unit in units)


def _has_glyph(character: str) -> bool:
    return character.isascii() or character in _LETTERS
