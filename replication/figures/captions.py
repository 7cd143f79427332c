"""Captions of figures and tables, a file each, in words that are reStructuredText and Markdown at once.

Snakemake's report reads the files; our own report the text.
"""

from pathlib import Path

FOLDER = Path(__file__).with_name("caption_texts")


def caption_file(name: str) -> str:
    """Where the caption of a kind of figure or table lies."""
    return str(FOLDER / f"{name}.rst")


def caption(name: str) -> str:
    """A caption's first paragraph, in one line; our report states what the second, on long prompts, is about."""
    return " ".join(Path(caption_file(name)).read_text(encoding="utf-8").partition("\n\n")[0].split())
