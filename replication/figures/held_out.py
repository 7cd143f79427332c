"""How well a new lens predicts the model's output, on text that it was not trained on."""

import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from replication.figures.canvas import Drawing, drawable_text, panels, style
from replication.figures.header import lines_above
from replication.figures.lens_fit import LINES

_WIDTH, _PANEL = 4.4, 1.9  # inches
_TITLE = "Tuned lens against logit lens on held-out text"
_LINES = {"tuned_lens": ("tuned lens", *LINES["tuned lens, raw"]), "logit_lens": ("logit lens", *LINES["logit lens"])}
"""By column of the table: name, colour, dashes and width."""


def held_out(table: pd.DataFrame, model: str, tokens: int) -> Drawing:
    """KL of both lenses to the model's output by layer.

    Args:
        table: Columns of `tables.HELD_OUT`; KL in nats.
        model: Name of the model.
        tokens: How many the means are taken over.
    """
    below = f"{drawable_text(model)} · KL(output ‖ lens), mean over {tokens:,} tokens"
    head = lines_above(_TITLE, below, _WIDTH, [line[0] for line in _LINES.values()])
    height = head.height + 0.15 + _PANEL + 0.42
    with style():
        figure = Drawing((_WIDTH, height))
        (axes,) = panels(figure, 1, 1, (0.62, 0.42, 0.12, head.height + 0.15), (0, 0))
        for column, (name, colour, dashes, width) in _LINES.items():
            axes.plot(table["layer"], table[column], color=colour, linestyle=dashes, linewidth=width, label=name)
        axes.set(yscale="log", ylabel="KL to the output (nats)", xlabel="layer: residual entering the block")
        axes.set_xlim(-0.5, len(table) - 0.5)
        values = table[list(_LINES)].to_numpy()
        # Within two powers of ten, these alone would be too few ticks to read a value from.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 100 * values.min() else (1,)))
        axes.minorticks_off()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(visible=True, axis="y")
        head.draw(figure, axes)
    return figure
