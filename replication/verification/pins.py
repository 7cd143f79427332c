"""Pinned values: what was measured once, for which inputs, and whether it is still measured.

A pin belongs to an experiment by its contents and to weights by SHA-256, never by name.
"""

from typing import Any

import pandas as pd

from replication.base.config import PORTABLE
from replication.base.tables import PIN
from replication.verification.cells import agreement, compared
from replication.verification.published_sets import LENS, WEIGHTS
from replication.verification.summary import chosen_layers

TOKENIZER = "model/tokenizer.json"
IDENTITY = (WEIGHTS, TOKENIZER, LENS)
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


def against_pins(measured: pd.DataFrame, pinned: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    """Measured against pinned cells, as `cells.agreement` says it.

    Args:
        measured: `pinned_cells` of a run.
        pinned: The pin, columns of `tables.PIN`.
        tolerance: Largest absolute difference of the loss that passes, in nats.
    """
    keys = [name for name in PIN if name != "loss"]
    return agreement(compared(measured, pinned, keys, tolerance), tolerance)
