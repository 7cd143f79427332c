"""Which figures exist and where they lie, spelled once; imports nothing heavy, so that the Snakefile can read it."""

from replication.paths import CONTROL_TABLES, EFFECT, FIGURES, LOGIT_LENS, LOSSES

KINDS = ("post_raw", "post_centred", "lens", "output", "layers", "kl", "lenses")
"""Kinds of figure; every experiment has each."""

CONTROL_KINDS = tuple(CONTROL_TABLES)
"""Kinds that an experiment has if it has what they need, and the configuration asks for them (`workflow`)."""

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
"""What the report shows of each experiment, in its order: kind, and the tables it is drawn from."""

BEYOND = {"lenses": (LOSSES, LOGIT_LENS)} | {kind: (CONTROL_TABLES[kind],) for kind in CONTROL_KINDS}
"""What it shows beyond the post."""

TITLES = {
    "post_raw": "the post's figure",
    "post_centred": "the post's figure",
    "lens": "loss at all layers, and its change",
    "output": "loss by token at the output",
    "layers": "loss by layer of the key tokens",
    "kl": "where steering changes the prediction",
    "lenses": "tuned lens against logit lens",
    "random_vectors": "against random vectors",
    "prompts": "after other prompts",
    "sweep": "other layers and coefficients",
}
"""What each kind is called in a list."""


def figure(kind: str, name: str) -> str:
    """Where a figure lies in the format `name`, with the wildcards {model} and {experiment} left open."""
    return f"{FIGURES}/{{experiment}}/{kind}.{name}"


FIGURE_FILES = tuple(figure(kind, name) for kind in KINDS for name in FORMATS)
"""Every file that drawing one experiment writes, with wildcards; the interactive page is a step of its own."""


def control_figures(chosen: dict[str, list[str]]) -> list[str]:
    """Files of the controls' figures, with the wildcard {model} left open.

    Args:
        chosen: Kinds by experiment.
    """
    return [
        figure(kind, name).replace("{experiment}", experiment)
        for experiment, kinds in chosen.items()
        for kind in kinds
        for name in FORMATS
    ]
