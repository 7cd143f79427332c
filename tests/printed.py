"""What README, CONTRIBUTING and docs/ print to be typed: commands, Python and YAML."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from replication.base.paths import REPOSITORY

DOCUMENTS = ("README.md", "CONTRIBUTING.md", *(f"docs/{file.name}" for file in sorted(REPOSITORY.glob("docs/*.md"))))

PROGRAMS = ("make", "snakemake", "python", ".venv/bin/python", "pip", "source")
"""A line or a piece of code in the text that starts with one of these, and says more, is a command."""


class Example(NamedTuple):
    """Something printed that a reader may type."""

    document: str
    kind: str
    """command, python or yaml."""
    text: str


@cache
def examples() -> tuple[Example, ...]:
    """All of them, in the order in which a reader meets them."""
    return tuple(Example(document, *found) for document in DOCUMENTS for found in _examples(REPOSITORY / document))


def commands() -> list[str]:
    """Every command once, however often it is printed."""
    return list(dict.fromkeys(example.text for example in examples() if example.kind == "command"))


def of_kind(kind: str) -> dict[str, list[str]]:
    """Texts of one kind by document."""
    found: dict[str, list[str]] = {}
    for example in examples():
        if example.kind == kind:
            found.setdefault(example.document, []).append(example.text)
    return found


def _examples(file: Path) -> Iterator[tuple[str, str]]:
    for token in MarkdownIt().enable("table").parse(file.read_text(encoding="utf-8")):
        if token.type == "fence":
            yield token.info, token.content
        elif token.type == "code_block" and _is_command(token.content):
            for line in token.content.splitlines():
                assert _is_command(line), f"{file}: {line!r} stands among commands and is none"
                yield "command", re.sub(r"\s+# .*", "", line).strip()
        for child in token.children or []:
            if child.type == "code_inline" and _is_command(child.content):
                yield "command", child.content


def _is_command(text: str) -> bool:
    program, _, rest = text.partition(" ")
    return program in PROGRAMS and bool(rest.strip())
