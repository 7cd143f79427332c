"""Pinned values: what was measured once, for which inputs, and whether it is still measured.

A pin belongs to an experiment by its contents and to weights by SHA-256, never by name.
"""

import re
from typing import Any

import pandas as pd

from replication.base.config import PORTABLE, PORTABLE_ARM
from replication.base.recorded import additions, one_or_several
from replication.base.tables import PIN
from replication.verification.cells import agreement, compared
from replication.verification.rounding import Tolerance
from replication.verification.summary import chosen_layers

BUILD = ("commit", "mkl", "onednn")
"""The parts of a build of torch that decide its bits."""


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
        "largest_logit": record["largest_logit"],
        "numerics": {name: record["numerics"][name] for name in ("mode", "build")},
        "fingerprint": record["fingerprint"],
    }


def inputs(record: dict[str, Any]) -> dict[str, Any]:
    """What decides the numbers beside the arithmetic: texts, layer, coefficient, and the model's files by SHA-256."""
    return {
        "prompt": record["experiment"]["prompt"],
        "steering": one_or_several([_input(addition) for addition in additions(record)]),
        "sha256": record["sha256"],
    }


def _input(addition: dict[str, Any]) -> dict[str, Any]:
    """An addition's settings with the layer that was steered, not the one it was scaled from; a file by its SHA-256."""
    settings = {name: value for name, value in addition["steering"].items() if name != "scaled_from"}
    file = {"vector": addition["vector"]["sha256"]} if "vector" in addition else {}
    return settings | {"layer": addition["injection"]["block"]} | file


def same_bits_expected(pinned: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether pin and run were both made in the same portable arithmetic by the same code of torch, MKL and oneDNN."""
    (a, b), kinds = (pinned["numerics"], record["numerics"]), (PORTABLE, PORTABLE_ARM)
    return a["mode"] == b["mode"] and a["mode"] in kinds and _code(a["build"]) == _code(b["build"])


def _code(build: dict[str, str] | str) -> tuple[str, ...]:
    """What a build's bits depend on: +cpu and +cu130 give the same. Pins of older versions hold one text."""
    if isinstance(build, dict):
        return tuple(build[name] for name in BUILD)
    parts = dict(re.findall(r"(torch|MKL|oneDNN) (\S+ \(\w+\))", build))
    commit = re.search(r"\((\w+)\)", parts.get("torch", ""))
    return (commit[1] if commit else "", parts.get("MKL", ""), parts.get("oneDNN", ""))


def against_pins(measured: pd.DataFrame, pinned: pd.DataFrame, tolerance: Tolerance) -> dict[str, Any]:
    """Measured against pinned cells, as `cells.agreement` says it.

    Args:
        measured: `pinned_cells` of a run.
        pinned: The pin, columns of `tables.PIN`.
        tolerance: Largest difference that passes.
    """
    keys = [name for name in PIN if name != "loss"]
    return agreement(compared(measured, pinned, keys, tolerance), tolerance)
