"""How well each lens predicts the model's output."""

import pandas as pd
from matplotlib.ticker import FuncFormatter

from replication.base import tables
from replication.figures.canvas import Drawing, legend_line, mark_block, style, titles
from replication.figures.positions import Record

_LINES = {
    "tuned lens, raw": ("#0072B2", "-", 1.6),
    "tuned lens, centred": ("#E69F00", (0, (4, 1.5)), 1.4),
    "logit lens": ("0.25", (0, (1, 1.2)), 1.4),
}
"""Colour, dashes and width; told apart without colour as well."""


def lenses(losses: pd.DataFrame, logit_lens: pd.DataFrame, record: Record) -> Drawing:
    """KL of tuned lens (raw, centred) and logit lens to the output by layer, mean over positions, both conditions.

    Args:
        losses: Columns of `tables.LOSSES`; KL in nats.
        logit_lens: Columns of `tables.LOGIT_LENS`; KL in nats.
        record: What went in.
    """
    depth = record["shape"]["layers"]
    lens_tables = [losses[losses["protocol"] == protocol] for protocol in tables.PROTOCOLS]
    width, height = 6.8, 2.7
    with style():
        figure = Drawing((width, height))
        titles(figure, record, "tuned lens against logit lens", "KL(output ‖ lens), mean over positions")
        panels = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(0.62 / width, 0.42 / height, 1 - 0.12 / width, 1 - 0.9 / height, wspace=0.06)
        for axes, condition in zip(panels, tables.CONDITIONS, strict=True):
            for (name, (colour, dashes, line)), table in zip(_LINES.items(), [*lens_tables, logit_lens], strict=True):
                means = table[table["condition"] == condition].groupby("layer")["kl_to_output"].mean()
                values = means[tables.layer_names(depth)[:-1]].to_numpy()
                axes.plot(values, color=colour, linestyle=dashes, linewidth=line, label=name)
            mark_block(axes, record)
            axes.set_title(condition)
            axes.set_yscale("log")
            axes.minorticks_off()
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(visible=True, axis="y")
        panels[0].set_ylabel("KL to the output (nats)")
        figure.supxlabel("layer: residual entering the block", size=7, y=0.05 / height)
        legend_line(figure, panels[0])
    return figure
