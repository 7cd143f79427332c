"""How well each lens predicts the model's output."""

import pandas as pd
from matplotlib.ticker import FuncFormatter

from replication.base import tables
from replication.base.recorded import lens_name
from replication.figures.canvas import Drawing, panels, style
from replication.figures.header import ADDED, blocks_shown, header, mark_blocks
from replication.figures.positions import Record, layer_numbers
from replication.figures.view import WHOLE, View

LINES = {
    "tuned lens, raw": ("#0072B2", "-", 1.6),
    "tuned lens, centred": ("#E69F00", (0, (4, 1.5)), 1.4),
    "logit lens": ("0.25", (0, (1, 1.2)), 1.4),
}
"""Colour, dashes and width; the lines differ without colour, too."""


def lenses(losses: pd.DataFrame, logit_lens: pd.DataFrame, record: Record, view: View = WHOLE) -> Drawing:
    """KL of tuned lens (raw, centred) and logit lens to the output by layer, mean over positions, both conditions.

    Of a model without a tuned lens the logit lens alone.

    Args:
        losses: Columns of `tables.LOSSES`; KL in nats.
        logit_lens: Columns of `tables.LOGIT_LENS`; KL in nats.
        record: The experiment's record.
        view: How large.

    Raises:
        UserError: The figure cannot be read at the width of `view`.
    """
    lens_tables = {f"tuned lens, {protocol}": losses[losses["protocol"] == protocol] for protocol in tables.PROTOCOLS}
    lens_tables = (lens_tables if lens_name(record) == "tuned lens" else {}) | {"logit lens": logit_lens}
    what = "tuned lens against logit lens" if len(lens_tables) > 1 else "how far the logit lens is from the output"
    words = what, "KL(output ‖ lens), mean over positions"
    labels = [*lens_tables, *([ADDED] if blocks_shown(record) else [])]

    def height_at(width: float) -> float:
        return header(record, *words, view, width, labels).height + 1.95

    width = view.inches(6.8, 2.6, height_at)
    head, numbers = header(record, *words, view, width, labels), layer_numbers(record)
    with style():
        figure = Drawing((width, height_at(width)))
        both = panels(figure, 1, 2, (0.62, 0.42, 0.12, head.height + 0.15), (0.18, 0))
        for axes, condition in zip(both, tables.CONDITIONS, strict=True):
            for name, table in lens_tables.items():
                colour, dashes, line = LINES[name]
                means = table[table["condition"] == condition].groupby("layer")["kl_to_output"].mean()
                values = means[list(map(str, numbers))].to_numpy()
                axes.plot(numbers, values, color=colour, linestyle=dashes, linewidth=line, label=name)
            mark_blocks(axes, record)
            axes.set_title(condition)
            axes.set_yscale("log")
            axes.minorticks_off()
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(visible=True, axis="y")
        both[0].set_ylabel("KL to the output (nats)")
        head.draw(figure, both[0])
        figure.supxlabel("layer: residual entering the block", size=7, y=0.05 / height_at(width))
    return figure
