"""Pinned values: what was measured once, for which inputs, and whether it still comes out.

A pin belongs to an experiment by its contents and to weights by SHA-256, never by name.
"""

from typing import Any

import pandas as pd

from replication.numerics import PORTABLE
from replication.summary import chosen_layers
from replication.tables import PIN

IDENTITY = ("model/model.safetensors", "model/tokenizer.json", "lens/params.pt")
"""The files that decide the numbers; their hashes tie a pin to weights."""

TOLERANCE = 2e-5
"""Largest difference in nats that passes where bits may differ; docs/method.md says what it was set from."""


def pinned_cells(losses: pd.DataFrame, record: dict[str, Any]) -> pd.DataFrame:
    """The cells that are pinned: every position, both conditions and protocols, at the chosen layers.

    Returns:
        Columns of `tables.PIN`.
    """
    return losses.loc[losses["layer"].isin(chosen_layers(record)), list(PIN)].reset_index(drop=True)


def pin_record(record: dict[str, Any]) -> dict[str, Any]:
    """What a pin was measured for, and under what arithmetic."""
    return {
        **inputs(record),
        "tolerance_nats": TOLERANCE,
        "numerics": {name: record["numerics"][name] for name in ("mode", "build")},
        "fingerprint": record["fingerprint"],
    }


def inputs(record: dict[str, Any]) -> dict[str, Any]:
    """What decides the numbers beside the arithmetic: texts, layer, coefficient, and weights by SHA-256."""
    experiment = record["experiment"]
    steering = {name: value for name, value in experiment["steering"].items() if name != "scaled_from"}
    return {
        "prompt": experiment["prompt"],
        # The layer that was steered, not the one it was scaled from.
        "steering": steering | {"layer": record["injection"]["block"]},
        "sha256": {name: record["sha256"][name] for name in IDENTITY},
    }


def same_bits_expected(pinned: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether pin and run were both made in portable arithmetic by the same build of torch."""
    numerics = pin_record(record)["numerics"]
    return bool(numerics["mode"] == PORTABLE and pinned["numerics"] == numerics)


def compare(measured: pd.DataFrame, pinned: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    """Measured against pinned cells, compared by what they are, not by place.

    Args:
        measured: `pinned_cells` of a run.
        pinned: The pin, columns of `tables.PIN`.
        tolerance: Largest absolute difference of the loss that passes, in nats.

    Returns:
        status ("agrees" or "differs"), cells, largest_difference (nats) and its place, and the cells that are off
        or stand on one side only.
    """
    keys = [name for name in PIN if name != "loss"]
    both = measured.merge(pinned, on=keys, how="outer", suffixes=("", "_pinned"), indicator=True)
    one_sided = both[both["_merge"] != "both"]
    matched = both[both["_merge"] == "both"].reset_index(drop=True)
    difference = (matched["loss"].astype("float64") - matched["loss_pinned"].astype("float64")).abs()
    off = matched.assign(difference=difference)[difference > tolerance]
    worst = matched.loc[difference.idxmax()] if len(matched) else None
    return {
        "status": "agrees" if not len(off) and not len(one_sided) and len(matched) else "differs",
        "cells": len(matched),
        "tolerance": tolerance,
        "largest_difference": float(difference.max()) if len(matched) else None,
        "at": None
        if worst is None
        else {name: worst[name] for name in ("protocol", "condition", "layer")} | {"position": int(worst["position"])},
        "off": [
            {name: row[name] for name in ("protocol", "condition", "layer", "target_token")}
            | {"position": int(row["position"])}
            | {"pinned": float(row["loss_pinned"]), "measured": float(row["loss"])}
            | {"difference": float(row["difference"])}
            for _, row in off.iterrows()
        ],
        "on_one_side_only": [
            {name: str(row[name]) for name in keys}
            | {"found_in": "measured" if row["_merge"] == "left_only" else "pins"}
            for _, row in one_sided.iterrows()
        ],
    }
