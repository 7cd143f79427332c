"""A few numbers per token out of the large table: loss without and with steering at a few layers."""

from typing import Any

import pandas as pd

from replication.base.tables import LABELS, OUTPUT, SUMMARY


def chosen_layers(record: dict[str, Any]) -> list[str]:
    """Rows worth printing: the quarters of the depth, the injected layer and the one above it, the output."""
    layers, injected = record["shape"]["layers"], record["injection"]["block"]
    chosen = {quarter * layers // 4 for quarter in range(4)} | {injected, injected + 1}
    return [*(str(layer) for layer in sorted(chosen) if layer < layers), OUTPUT]


def summary(losses: pd.DataFrame, record: dict[str, Any]) -> pd.DataFrame:
    """Loss of every token unsteered and steered, and its change, in nats, at the chosen layers.

    Args:
        losses: Columns of `tables.LOSSES`.
        record: The experiment's record.

    Returns:
        Columns of `tables.SUMMARY`.
    """
    cells = ["protocol", "layer", "position", *LABELS]
    chosen = losses[losses["layer"].isin(chosen_layers(record))]
    wide = chosen.pivot(index=cells, columns="condition", values="loss").reset_index()
    table = wide.rename(columns={"unsteered": "loss_unsteered", "steered": "loss_steered"})
    table["change"] = table["loss_steered"] - table["loss_unsteered"]
    table["key"] = table["position"].isin(record["key_positions"])
    order = {name: i for i, name in enumerate(chosen_layers(record))}
    by = [table["protocol"].eq("centred"), table["layer"].map(order), table["position"]]
    ordered = table.assign(a=by[0], b=by[1], c=by[2]).sort_values(["a", "b", "c"], ignore_index=True)
    return ordered[list(SUMMARY)].rename_axis(columns=None)
