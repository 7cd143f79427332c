r"""Text in LaTeX, so that it compiles with pdflatex and no package, and reads as it is.

A space of a token is `\textvisiblespace`; a character that pdflatex's own fonts lack becomes an escape such as
`\u4e2d`.
"""

from replication.base.visible import visible

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
}

# Letters of Latin-1 that the OT1 fonts can make; the rest, such as thorn, stops pdflatex.
_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿß")


def token(text: str) -> str:
    """Token text in typewriter, every character of it visible."""
    return rf"\texttt{{{_written(text, _TYPEWRITER)}}}"


def plain(text: str) -> str:
    """Text in the document's own font; runs of white space are one space."""
    return _written(" ".join(text.split()), _PLAIN)


def _written(text: str, special: dict[str, str]) -> str:
    shown = (character if character == " " else visible(character, _has_glyph) for character in text)
    return "".join(special.get(unit, unit) for units in shown for unit in units)


def _has_glyph(character: str) -> bool:
    return character.isascii() or character in _LETTERS
