"""Which figures exist and where they lie, spelled once; imports nothing heavy, so that the Snakefile can read it."""

from replication.paths import EFFECT, FIGURES, LOGIT_LENS, LOSSES

KINDS = ("post_raw", "post_centred", "lens", "output", "layers", "kl")
"""Kinds of figure; every experiment has each."""

FORMATS = ("png", "svg", "pdf")

INTERACTIVE = FIGURES + "/{experiment}.html"
"""Where the interactive page of an experiment lies."""

REPORTED = {
    "post_raw": (LOSSES,),
    "output": (LOSSES,),
    "lens": (LOSSES,),
    "layers": (LOSSES, LOGIT_LENS),
    "kl": (EFFECT,),
}
"""What the report shows, in its order: kind, and the tables it is drawn from."""

TITLES = {
    "post_raw": "the post's figure",
    "post_centred": "the post's figure",
    "lens": "loss at all layers, and its change",
    "output": "loss by token at the output",
    "layers": "loss by layer of the key tokens",
    "kl": "where steering changes the prediction",
}
"""What each kind is called in a list."""


def figure(kind: str, name: str) -> str:
    """Where a figure lies in the format `name`, with the wildcards {model} and {experiment} left open."""
    return f"{FIGURES}/{{experiment}}/{kind}.{name}"


FIGURE_FILES = tuple(figure(kind, name) for kind in KINDS for name in FORMATS)
"""Every file that drawing one experiment writes, with wildcards; the interactive page is a step of its own."""
