"""Everything that draws: one experiment's tables in, its figures out."""

from replication import figure_files, tables
from replication.figures.words import alt_text
from replication.files import read_json
from replication.paths import EFFECT, LOGIT_LENS, LOSSES, RECORD, path

__all__ = ["alt_text", "draw"]


def draw(model: str, experiment: str) -> None:
    """Draws every figure of one experiment, in every format, from its tables."""
    # The report wants only the words above, not matplotlib.
    from replication.figures import curves, overview, page, post

    losses = tables.read(path(LOSSES, model, experiment), tables.LOSSES)
    effect = tables.read(path(EFFECT, model, experiment), tables.EFFECT)
    logit_lens = tables.read(path(LOGIT_LENS, model, experiment), tables.LOGIT_LENS)
    record = read_json(path(RECORD, model, experiment))
    figures = {
        "post_raw": lambda: post.post(losses, record, "raw"),
        "post_centred": lambda: post.post(losses, record, "centred"),
        "lens": lambda: overview.lens(losses, record),
        "output": lambda: curves.output(losses, record),
        "layers": lambda: curves.layers(losses, logit_lens, record),
        "kl": lambda: overview.kl(effect, record),
    }
    for kind in figure_files.KINDS:
        figure = figures[kind]()
        for name in figure_files.FORMATS:
            page.save(figure, path(figure_files.figure(kind, name), model, experiment))
