"""Which figures exist and where they lie, spelled once; imports nothing heavy, so the Snakefile can read it."""

from replication.paths import FIGURES

KINDS = ("post_raw", "post_centred", "lens", "output", "layers", "kl")
"""Kinds of figure; every experiment has each."""

FORMATS = ("png", "svg", "pdf")

FIGURE = FIGURES + "/{experiment}/{kind}.{format}"
"""Where a figure lies."""

INTERACTIVE = FIGURES + "/{experiment}.html"
"""Where the interactive page lies."""


def figure_patterns(formats: tuple[str, ...] = FORMATS) -> list[str]:
    """Every figure of one experiment, with the wildcards {model} and {experiment} left open."""
    keep = {"model": "{model}", "experiment": "{experiment}"}
    return [FIGURE.format(kind=kind, format=name, **keep) for kind in KINDS for name in formats]
