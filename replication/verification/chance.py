"""What the controls say: beyond chance or not, typical or not, and where in the sweep the post's own choice lies.

Verdicts are results, not tests. No p-value is given: shares are of the draws or prompts that were made.
"""

from typing import Any

import pandas as pd

from replication.base.tables import STEERING
from replication.verification.claims import DOES_NOT_HOLD, HOLDS, NOT_DECIDABLE

SHARE = 0.95
"""Share of random vectors that the steering vector must go beyond."""

TYPICAL = 0.8
"""Share of the other prompts that must change in the direction of the post's own."""


def key_change(table: pd.DataFrame, cells: list[str]) -> "pd.Series[float]":
    """Change of the key tokens' loss, summed, in nats, of every draw or cell of the sweep."""
    return table[table["key"]].groupby(cells)["change"].sum()


def collateral(table: pd.DataFrame, cells: list[str]) -> "pd.Series[float]":
    """Mean absolute change of all other tokens' loss, in nats, of every draw or cell of the sweep."""
    return table[~table["key"]].assign(change=table["change"].abs()).groupby(cells)["change"].mean()


def random_vectors(table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """Whether the direction matters, not only the norm: the vector against random ones of its norms.

    Args:
        table: Columns of `tables.RANDOM_VECTORS`.
        record: The experiment's record.

    Returns:
        verdict; change of the key tokens' loss (sum, nats) and absolute change of the other tokens' (mean, nats), each
        with steering, and mean, deviation, least and greatest of the random draws, the share of them that is less and
        greater, and the effect in standard deviations of the draws.
    """
    key, other = key_change(table, ["draw"]), collateral(table, ["draw"])
    draws = [draw for draw in other.index if draw != STEERING]
    result: dict[str, Any] = {"draws": len(draws), "other": _against(other, draws), "verdict": NOT_DECIDABLE}
    if len(key) and draws:
        result["key"] = _against(key, draws)
        result["verdict"] = (
            HOLDS if key[STEERING] < 0 and (key[draws] > key[STEERING]).mean() >= SHARE else DOES_NOT_HOLD
        )
    return result | {"statement": _RANDOM, "tokens": len(record["key_positions"])}


_RANDOM = (
    "The direction of the vector matters, not only its norm: the key tokens' loss falls, and by more than with at "
    f"least {SHARE:.0%} of the random vectors of the same norms."
)


def _against(changes: "pd.Series[float]", draws: list[int]) -> dict[str, float | None]:
    """The steering vector's change, and the distribution of the random draws'."""
    random, steering = changes[draws].astype("float64"), float(changes[STEERING])
    if not draws:
        return {"steering": steering}
    deviation = float(random.std(ddof=1)) if len(draws) > 1 else 0.0
    return {
        "steering": steering,
        "mean": float(random.mean()),
        "deviation": deviation,
        "least": float(random.min()),
        "greatest": float(random.max()),
        "share_less": float((random < steering).mean()),
        "share_greater": float((random > steering).mean()),
        "effect": (steering - float(random.mean())) / deviation if deviation else None,
    }


def prompts(table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """How typical the post's prompt is: log-odds of target against contrast after other prompts.

    Args:
        table: Columns of `tables.PROMPTS`.
        record: The experiment's record.

    Returns:
        verdict; change after the post's prompt; of the others how many, their median, least and greatest change in
        nats, how many change in the same direction, and the prompts that do not.
    """
    result: dict[str, Any] = {"statement": _PROMPTS, "verdict": NOT_DECIDABLE, "prompts": 0}
    others = table[table["kind"] != "post"]
    if not len(others):
        return result
    own = float(table.loc[table["kind"] == "post", "change"].iloc[0])
    same = others["change"] * own > 0
    result["verdict"] = HOLDS if own > 0 and same.mean() >= TYPICAL else DOES_NOT_HOLD
    return result | {
        "prompts": len(others),
        "target": str(others["target"].iloc[0]),
        "contrast": str(others["contrast"].iloc[0]),
        "post": own,
        "median": float(others["change"].median()),
        "least": float(others["change"].min()),
        "greatest": float(others["change"].max()),
        "same_direction": int(same.sum()),
        "larger_than_post": int((others["change"].abs() > abs(own)).sum()),
        "against": others.loc[~same, "prompt"].tolist(),
    }


_PROMPTS = (
    "The post's prompt is typical: the vector makes the target token likelier against the contrast token there, and "
    f"after at least {TYPICAL:.0%} of the other prompts."
)


def sweep(table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """Where the post's layer and coefficient lie among all that were tried.

    Args:
        table: Columns of `tables.SWEEP`.
        record: The experiment's record.

    Returns:
        cells tried; for the post's choice and for the best cell: layer, coefficient, change of the key tokens' loss
        (sum, nats) and collateral (mean absolute change of the other tokens' loss, nats); share of cells that lower
        the key tokens' loss more than the post's.
    """
    cells = ["layer", "coefficient"]
    key, other = key_change(table, cells), collateral(table, cells)
    if not len(key):
        return {"cells": len(other), "tokens": 0}
    own = (record["injection"]["block"], record["experiment"]["steering"]["coefficient"])

    def cell(at: tuple[int, float]) -> dict[str, float]:
        values = {"layer": int(at[0]), "coefficient": float(at[1])}
        return values | {"key": float(key[at]), "collateral": float(other[at])}

    return {
        "cells": len(key),
        "tokens": len(record["key_positions"]),
        "post": cell(own),
        "best": cell(key.idxmin()),
        "share_better": float((key < key[own]).mean()),
    }


def shown(verdicts: dict[str, Any]) -> list[str]:
    """Kinds of control that have a figure: those that are not empty for want of key tokens, draws or prompts.

    Args:
        verdicts: The verdicts on one experiment, by kind of control.
    """
    decisive = {"random_vectors": "key", "prompts": "post", "sweep": "post"}
    return [kind for kind, result in verdicts.items() if decisive[kind] in result]
