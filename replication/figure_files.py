"""Which figures exist and where they lie, spelled once; imports nothing heavy, so that the Snakefile can read it."""

from replication.paths import FIGURES

KINDS = ("post_raw", "post_centred", "lens", "output", "layers", "kl")
"""Kinds of figure; every experiment has each."""

FORMATS = ("png", "svg", "pdf")

INTERACTIVE = FIGURES + "/{experiment}.html"
"""Where the interactive page of an experiment lies."""


def figure(kind: str, name: str) -> str:
    """Where a figure lies in the format `name`, with the wildcards {model} and {experiment} left open."""
    return f"{FIGURES}/{{experiment}}/{kind}.{name}"


FIGURE_FILES = tuple(figure(kind, name) for kind in KINDS for name in FORMATS)
"""Every file that drawing one experiment writes, with wildcards; the interactive page is a step of its own."""

REPORTED = (
    (
        "post_raw",
        figure("post_raw", "png"),
        "The post's figure, drawn as its authors' script drew it: loss in nats, unsteered above steered, blue low and "
        "red high, every second layer and the output, one colour scale. Columns are named by the token to be "
        "predicted, cells hold the most probable token; `_` is a space.",
    ),
    (
        "output",
        figure("output", "png"),
        "Loss of every token at the model's output, in nats, without and with steering. Grey: predicted at a position "
        "the vector was added to. Bold: key tokens, with the change.",
    ),
    (
        "lens",
        figure("lens", "png"),
        "Loss at all layers through the tuned lens, in nats: unsteered, steered, and the change. The frame marks the "
        "residuals the vector was added to; empty cells of the change are equal bit for bit.",
    ),
    (
        "layers",
        figure("layers", "png"),
        "Loss by layer, in nats, without and with steering, through the tuned lens and the logit lens; the last point "
        "is the model's own output.",
    ),
    (
        "kl",
        figure("kl", "png"),
        "Where steering changes the prediction: KL(unsteered ‖ steered) in nats, by layer and token, square-root "
        "colour scale. Empty cells are the same bit for bit.",
    ),
)
"""What the report shows, in its order: kind, file, caption."""
