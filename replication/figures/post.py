"""The post's figure, as its authors' script drew it: montemac/activation_additions, lenses_demo.py, 09484cf4."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from replication.base import tables
from replication.figures.canvas import Drawing, style, titles, token_label
from replication.figures.grid import cell_texts, draw_cells, grid, of_condition
from replication.figures.positions import Record, tokens

STRIDE = 2
"""Every second layer is drawn, and the output."""

_LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 0.75, 1.15, 0.85, 0.3, 0.5  # inches
_ROW, _COLUMN, _LEAST_WIDTH = 0.175, 0.56, 8.0  # inches


def post(losses: pd.DataFrame, record: Record, protocol: str) -> Drawing:
    """Unsteered above steered, blue low and red high, the most probable token in every cell.

    Args:
        losses: Columns of `tables.LOSSES`; losses in nats.
        record: What went in.
        protocol: "raw", what the lens was trained for, or "centred", as posted.
    """
    layers = record["shape"]["layers"]
    by_condition = [of_condition(losses, protocol, condition) for condition in tables.CONDITIONS]
    loss = [grid(table, "loss", layers) for table in by_condition]
    # The limits are those of all layers, of which half are drawn.
    scale = Normalize(np.min(loss), np.max(loss))
    rows = [*range(0, layers, STRIDE), layers]
    names = ["input", *map(str, rows[1:-1]), tables.OUTPUT]
    targets = [token_label(token) for token in tokens(record)[1]]

    width = max(_LEAST_WIDTH, _LEFT + _RIGHT + _COLUMN * len(targets))
    panel = _ROW * len(rows)
    height = _TOP + 2 * panel + _BETWEEN + _BOTTOM
    with style():
        figure = Drawing((width, height))
        for i, (condition, table) in enumerate(zip(tables.CONDITIONS, by_condition, strict=True)):
            bottom = _BOTTOM + (1 - i) * (panel + _BETWEEN)
            axes = figure.add_axes((_LEFT / width, bottom / height, 1 - (_LEFT + _RIGHT) / width, panel / height))
            top = cell_texts(grid(table, "top_token", layers)[rows], token_label)
            draw_cells(axes, loss[i][rows], top, scale, "RdBu_r", 7, "bold")
            axes.set_xticks(range(len(targets)), targets)
            axes.set_yticks(range(len(rows)), names)
            axes.set_title(condition, pad=4)
        bar = figure.add_axes((1 - 0.95 / width, _BOTTOM / height, 0.16 / width, (2 * panel + _BETWEEN) / height))
        figure.colorbar(ScalarMappable(scale, "RdBu_r"), cax=bar, label="cross entropy (nats)")
        bar.tick_params(length=2)
        titles(figure, record, "tokens visualized with the Tuned Lens", f"tuned lens, {protocol} residuals")
    return figure
