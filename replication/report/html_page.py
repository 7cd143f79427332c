"""One self-contained HTML page from Markdown that this package wrote: for the report, the index, a comparison.

Of HTML in the Markdown only anchors, `<a id="..."></a>`, and folds pass; everything else shows as text. An anchor
becomes the identifier of the heading, figure, table or table row it stands in front of. A picture followed by a
paragraph "*Figure ...*" becomes a figure with that caption, and so does a table after "*Table ...*"; both scroll by
themselves.

A fold is written as GitHub reads it, with empty lines around its contents: `<details>`, in the next line
`<summary>...</summary>`, and at the end `</details>`. It is printed unfolded; a fold of the class `lookup`, whose
summary names the file that has the same, is not printed. A link to something in it opens it: browsers do that.
"""

import base64
import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup
from PIL import Image

_ANCHOR = re.compile(r'<a id="([A-Za-z0-9._-]+)">')
_FOLD = re.compile(r'<details( class="lookup")?>\n<summary>[^<>&]+</summary>\n?|</details>\n?')
_KINDS = {".svg": "image/svg+xml", ".png": "image/png"}

_NUMBER = re.compile(r"(Figure|Table) [\w.-]*\w")

_PROSE = 60
"""A cell with more characters than this is prose, which a narrow column would make unreadable."""

_SCALE = 0.65
"""CSS pixels of a picture's pixel: the text of all pictures has one size, unless one is wider than the page."""

_LONG = 1600
"""CSS pixels beyond which a picture as wide as the page could not be read: it scrolls at its own size."""


class Heading(NamedTuple):
    """A line of the table of contents."""

    level: int
    anchor: str
    text: str


def page(markdown: str, folder: Path) -> str:
    """The HTML of a Markdown text; it loads nothing, and is the same for the same text and pictures.

    Args:
        markdown: The text; its first heading is the page's title.
        folder: Where the text's relative addresses start. Pictures are read there and embedded: the PNG that is named,
            or the SVG beside it, whichever is smaller.
    """
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(markdown)
    _identify_headings(tokens)
    tokens = _captioned(tokens)
    for token in tokens:
        _arrange(token, folder)
    _arrange_rows(tokens)
    parser.add_render_rule("html_inline", _only_anchors_and_folds)
    parser.add_render_rule("html_block", _only_anchors_and_folds)
    headings = [
        Heading(int(token.tag[1]), str(token.attrs["id"]), _text(inline))
        for token, inline in pairwise(tokens)
        if token.type == "heading_open"
    ]
    _link_to_themselves(tokens)
    environment = Environment(
        loader=PackageLoader("replication.report", "page_template"), undefined=StrictUndefined, autoescape=True
    )
    return environment.get_template("page.html.jinja").render(
        title=next((heading.text for heading in headings if heading.level == 1), ""),
        headings=[heading for heading in headings if heading.level in (2, 3)],
        content=Markup(parser.renderer.render(tokens, parser.options, {})),
    )


def _only_anchors_and_folds(_: Any, tokens: Sequence[Token], place: int, *__: Any) -> str:
    text = tokens[place].content
    return text if _ANCHOR.fullmatch(text) or text == "</a>" or _FOLD.fullmatch(text) else escapeHtml(text)


def _text(inline: Token) -> str:
    """What a reader sees of a line, without its markup."""
    return "".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline"))


def _taken_anchor(inline: Token) -> str:
    """The identifier of the anchor that a line starts with, which is taken out of it; empty where there is none."""
    children = inline.children or []
    anchor = _ANCHOR.fullmatch(children[0].content) if children and children[0].type == "html_inline" else None
    if not anchor:
        return ""
    inline.children = children[2:]
    return anchor[1]


def _identify_headings(tokens: list[Token]) -> None:
    """Gives every heading the anchor that stands alone before it, or else the one that GitHub makes of its text."""
    place = 0
    while place < len(tokens):
        if tokens[place].type == "heading_open":
            anchor = ""
            if place >= 3 and tokens[place - 1].type == "paragraph_close" and not _text(tokens[place - 2]):
                anchor = _taken_anchor(tokens[place - 2])
            if anchor:
                del tokens[place - 3 : place]
                place -= 3
            slug = re.sub(r"[^\w -]", "", _text(tokens[place + 1]).lower()).replace(" ", "-")
            tokens[place].attrSet("id", anchor or slug)
        place += 1


def _captioned(tokens: list[Token]) -> list[Token]:
    """The tokens with captions in one figure with their picture or table; what may be wide in a box that scrolls."""
    captioned: list[Token] = []
    place = 0
    while place < len(tokens):
        caption = _caption_at(tokens, place + 3)
        if _is_picture(tokens, place) and caption and caption.startswith("Figure "):
            picture, words = tokens[place + 1], tokens[place + 4]
            legend = [_open("figcaption"), words, _close("figcaption")]
            captioned += [
                _open("figure", id=_taken_anchor(picture)),
                *_box(caption, [picture]),
                *legend,
                _close("figure"),
            ]
            place += 6
            continue
        caption = _caption_at(tokens, place)
        if caption and caption.startswith("Table ") and tokens[place + 3].type == "table_open":
            end = next(i for i in range(place, len(tokens)) if tokens[i].type == "table_close")
            words, table = tokens[place + 1], tokens[place + 3 : end + 1]
            # Outside of the box, so that a wide table scrolls and its caption stays.
            figure = _open("figure", id=_taken_anchor(words))
            legend = [_open("figcaption"), words, _close("figcaption")]
            captioned += [figure, *legend, *_box(caption, table), _close("figure")]
            place = end + 1
            continue
        captioned += _box("Source text", [tokens[place]]) if tokens[place].type == "fence" else [tokens[place]]
        place += 1
    return captioned


def _link_to_themselves(tokens: list[Token]) -> None:
    """Gives every heading but the title, and every caption, a link to itself, from which its address can be copied."""
    anchor = ""
    for token, inline in pairwise(tokens):
        if token.type in ("figure_open", "heading_open"):
            anchor = str(token.attrs.get("id", ""))
        if anchor and token.type in ("figcaption_open", "heading_open") and token.tag != "h1":
            of_link = {"href": f"#{anchor}", "class": "permalink", "aria-label": f"Link to {_name(_text(inline))}"}
            link, end = Token("link_open", "a", 1, attrs={**of_link}), Token("link_close", "a", -1)
            space, mark = (Token("text", "", 0, content=text) for text in " #")
            inline.children = [*(inline.children or []), space, link, mark, end]


def _name(text: str) -> str:
    """Of a caption its number, of a heading all."""
    number = _NUMBER.match(text)
    return number[0] if number else text


def _is_picture(tokens: list[Token], place: int) -> bool:
    """Whether a paragraph begins here that holds a picture, after an anchor or not, and nothing else."""
    if place + 3 > len(tokens) or tokens[place].type != "paragraph_open":
        return False
    shown = [child for child in tokens[place + 1].children or [] if child.type != "html_inline"]
    return [child.type for child in shown] == ["image"]


def _caption_at(tokens: list[Token], place: int) -> str:
    """The start of a caption, "Table 1.2", if a paragraph begins here that starts, after an anchor, in italics."""
    if place + 3 >= len(tokens) or tokens[place].type != "paragraph_open":
        return ""
    shown = [child for child in tokens[place + 1].children or [] if child.type != "html_inline" and child.content]
    first = next((child for child in tokens[place + 1].children or [] if child.type != "html_inline"), None)
    if first is None or first.type not in ("em_open", "text") or not shown:
        return ""
    number = _NUMBER.match(shown[0].content)
    return number[0] if number else ""


def _box(label: str, contents: list[Token]) -> list[Token]:
    """What is too wide for a phone scrolls by itself, by keyboard too."""
    box = _open("div", **{"class": "wide", "role": "region", "tabindex": "0", "aria-label": label})
    return [box, *contents, _close("div")]


def _open(tag: str, **attributes: str) -> Token:
    token = Token(f"{tag}_open", tag, 1, block=True)
    for name, value in attributes.items():
        if value:
            token.attrSet(name, value)
    return token


def _close(tag: str) -> Token:
    return Token(f"{tag}_close", tag, -1, block=True)


def _arrange(token: Token, folder: Path) -> None:
    """Embeds pictures, names the scope of header cells, and aligns cells by class."""
    for child in token.children or []:
        if child.type == "image":
            file = Path(os.path.normpath(folder / str(child.attrs["src"])))
            child.attrSet("src", _embedded(file))
            width = _width(file)
            child.attrSet("width", str(width))
            if width > _LONG:
                child.attrSet("class", "long")
    if token.type == "th_open":
        token.attrSet("scope", "col")
    if str(token.attrs.pop("style", "")) == "text-align:right":
        token.attrSet("class", "number")


def _embedded(file: Path) -> str:
    """The picture, or the SVG beside it if that is smaller, as a data address."""
    files = [candidate for candidate in (file, file.with_suffix(".svg")) if candidate.exists()]
    smallest = min(files or [file], key=lambda candidate: candidate.stat().st_size)
    return f"data:{_KINDS[smallest.suffix]};base64,{base64.b64encode(smallest.read_bytes()).decode('ascii')}"


def _width(file: Path) -> int:
    """Width of a PNG on the page, in CSS pixels."""
    with Image.open(file) as picture:
        return round(_SCALE * picture.width)


def _arrange_rows(tokens: list[Token]) -> None:
    """Gives a table row the anchor that its first cell starts with, and marks cells whose text needs room."""
    for row, cell, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if cell.type == "td_open" and row.type == "tr_open" and (anchor := _taken_anchor(inline)):
            row.attrSet("id", anchor)
        if cell.type == "td_open" and len(_text(inline)) > _PROSE:
            cell.attrSet("class", "prose")
