"""A few numbers per token out of the large table: loss without and with steering at a few layers."""

from typing import Any

import pandas as pd

from replication.base.errors import UserError
from replication.base.recorded import blocks
from replication.base.tables import CONDITIONS, LABELS, OUTPUT, SUMMARY


def chosen_layers(record: dict[str, Any]) -> list[str]:
    """Rows worth printing: the quarters of the depth, the injected layers and those above them, the output."""
    layers = record["shape"]["layers"]
    chosen = {quarter * layers // 4 for quarter in range(4)} | {b + above for b in blocks(record) for above in (0, 1)}
    return [*(str(layer) for layer in sorted(chosen) if layer < layers), OUTPUT]


def cell_of(losses: pd.DataFrame, token: str | int, layer: str, protocol: str) -> pd.DataFrame:
    """The cell of one token at one layer, unsteered and steered: rows of `losses` by condition.

    Args:
        losses: Columns of `tables.LOSSES`.
        token: The token, leading space included, or its place in the prompt, where `<|endoftext|>` is 0.
        layer: Name of a row of the lens.
        protocol: "raw" or "centred".

    Raises:
        UserError: There is no such token, layer or protocol, or several tokens are equal.
    """
    prompt = losses.drop_duplicates("position").set_index("position")["target_token"].iloc[:-1]
    places = [place + 1 for place, text in prompt.items() if token in (text, place + 1)]
    if len(places) != 1:
        split = ", ".join(f"{place + 1} {text!r}" for place, text in prompt.items())
        fault = f"stands at places {places}; name one by its place" if places else "does not occur"
        raise UserError(f"token: {token!r} {fault}; the prompt splits into {split}")
    here = losses[(losses["position"] == places[0] - 1) & (losses["protocol"] == protocol)]
    cell = here[here["layer"] == layer].set_index("condition")
    if not len(cell):
        raise UserError(f"layer: {layer} does not exist; layers are 0 to {here['layer'].nunique() - 2}, and {OUTPUT}")
    return cell.loc[list(CONDITIONS)]


def loss_of(losses: pd.DataFrame, token: str | int, layer: str, protocol: str) -> "pd.Series[float]":
    """Loss of one token at one layer in nats, unsteered, steered, and the change; arguments and errors of `cell_of`."""
    cell = cell_of(losses, token, layer, protocol)
    unsteered, steered = map(float, cell["loss"])
    values = {"unsteered": unsteered, "steered": steered, "change": steered - unsteered}
    return pd.Series(values, name=str(cell["target_token"].iloc[0]))


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


def text_losses(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each text its number, who wrote it, how many tokens it has, and their mean loss under both models, in nats.

    Args:
        table: Columns of `tables.COMPLETIONS`.
    """
    texts = table.groupby(["number", "condition"])
    order = [(number, condition) for number in sorted(set(table["number"])) for condition in CONDITIONS]
    rows = []
    for number, condition in order:
        text = texts.get_group((number, condition))
        means = text[["loss_unsteered", "loss_steered"]].astype("float64").mean()
        row = {"number": int(number), "condition": condition, "tokens": len(text)}
        rows.append(row | {"unsteered": float(means.iloc[0]), "steered": float(means.iloc[1])})
    return rows
