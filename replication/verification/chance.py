"""What the controls say: more than chance or not, and from which layer on; other prompts; the sign; the sweep.

Verdicts are results, not tests. No p-value is given: shares and percentiles are of the draws or prompts that were made.
"""

from typing import Any

import numpy as np
import pandas as pd

from replication.base.recorded import coefficient
from replication.base.tables import OUTPUT, STEERING
from replication.verification.claims import DOES_NOT_HOLD, HOLDS, NOT_DECIDABLE

SHARE = 0.95
"""Share of random vectors that the steering vector must go beyond."""

CARRIED = 0.8
"""Share of the other prompts that must change in the direction of the experiment's own."""

BAND = (0.05, 0.95)
"""Quantiles of the random draws, interpolated linearly, that the band reaches from and to."""

FEWEST_DRAWS = 20
"""With fewer, the 5th and the 95th percentile would be the least and the greatest draw."""

RESAMPLES, CONFIDENCE = 10_000, 0.95
"""Of the percentile bootstrap of a median: how often the prompts are drawn anew, and what the interval covers."""


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
        with steering, and mean, deviation, median, `BAND`, least and greatest of the random draws, the share of them
        that is less and greater, how far it is beyond their median, and the effect in their standard deviations.
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


def _against(changes: "pd.Series[float]", draws: list[int]) -> dict[str, Any]:
    """The steering vector's change, and the distribution of the random draws'."""
    random, steering = changes[draws].astype("float64"), float(changes[STEERING])
    if not draws:
        return {"steering": steering}
    deviation = float(random.std(ddof=1)) if len(draws) > 1 else 0.0
    return {
        "steering": steering,
        "mean": float(random.mean()),
        "deviation": deviation,
        "median": float(random.median()),
        "band": [float(random.quantile(share)) for share in BAND],
        "beyond": steering - float(random.median()),
        "least": float(random.min()),
        "greatest": float(random.max()),
        "share_less": float((random < steering).mean()),
        "share_greater": float((random > steering).mean()),
        "effect": (steering - float(random.mean())) / deviation if deviation else None,
    }


def band(table: pd.DataFrame) -> pd.DataFrame:
    """Change of the key tokens' loss by layer, summed, in nats: the steering vector's, and the band of the draws.

    Args:
        table: Columns of `tables.RANDOM_BY_LAYER`.

    Returns:
        Columns steering, low and high, by layer in the lens' order; low and high are NaN where there are no draws.
    """
    changes = table.astype({"change": "float64"}).groupby(["layer", "draw"], sort=False)["change"].sum().unstack("draw")
    random = changes.drop(columns=STEERING)
    low, high = (random.quantile(share, axis=1) for share in BAND)
    return pd.DataFrame({"steering": changes[STEERING], "low": low, "high": high})


def random_by_layer(table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """From which layer on the vector does more than chance, and from which on half of its effect is there.

    Args:
        table: Columns of `tables.RANDOM_BY_LAYER`.
        record: The experiment's record.

    Returns:
        `outside_from`: the first layer from which on, up to the output, the vector's change lies outside the band on
        the side where it ends; `half_from`: the first from which on at least half of the output's change holds. Or
        `undecided`: why neither can be decided.
    """
    draws = table["draw"].nunique() - 1
    if not record["key_positions"]:
        return {"undecided": "the experiment names no key tokens"}
    if draws < FEWEST_DRAWS:
        return {"undecided": f"{draws} random vectors are too few for a band; it takes {FEWEST_DRAWS}"}
    by_layer = band(table)
    change, final = by_layer["steering"], by_layer.loc[OUTPUT]
    if final["low"] <= final["steering"] <= final["high"]:
        return {"undecided": "at the output the vector does no more than random ones do"}
    outside = change < by_layer["low"] if final["steering"] < final["low"] else change > by_layer["high"]
    return {"outside_from": _for_good(outside), "half_from": _for_good(change / final["steering"] >= 0.5)}


def _for_good(holds: "pd.Series[bool]") -> str:
    """The first layer from which on something holds up to the output, where it does."""
    return str(holds.index[np.flatnonzero(~holds.to_numpy())[-1] + 1] if not holds.all() else holds.index[0])


def prompts(table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """Whether the direction carries over: log-odds of target against contrast after other prompts.

    Args:
        table: Columns of `tables.PROMPTS`.
        record: The experiment's record.

    Returns:
        verdict; change after the experiment's prompt and its place among all by size, 1 for the largest; of the others
        how many, their median with its bootstrap interval, least and greatest change in nats, how many change in the
        same direction, and the prompts that do not.
    """
    result: dict[str, Any] = {"statement": _PROMPTS, "verdict": NOT_DECIDABLE, "prompts": 0}
    others = table[table["kind"] != "post"]
    if not len(others):
        return result
    own = float(table.loc[table["kind"] == "post", "change"].iloc[0])
    same = others["change"] * own > 0
    result["verdict"] = HOLDS if own > 0 and same.mean() >= CARRIED else DOES_NOT_HOLD
    return result | {
        "prompts": len(others),
        "target": str(others["target"].iloc[0]),
        "contrast": str(others["contrast"].iloc[0]),
        "own": own,
        "place": int((others["change"].abs() > abs(own)).sum()) + 1,
        "median": float(others["change"].median()),
        "interval": _bootstrap_of_median(others["change"]),
        "least": float(others["change"].min()),
        "greatest": float(others["change"].max()),
        "same_direction": int(same.sum()),
        "against": others.loc[~same, "prompt"].tolist(),
    }


_PROMPTS = (
    "The direction carries over to other prompts: the vector makes the target token likelier against the contrast "
    f"token after the experiment's own prompt, and after at least {CARRIED:.0%} of the others."
)


def _bootstrap_of_median(values: "pd.Series[float]") -> list[float]:
    """Percentile bootstrap interval of a median (Efron and Tibshirani 1993, chapter 13)."""
    drawn = np.random.default_rng(0).choice(values.to_numpy("float64"), (RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    return [float(value) for value in np.quantile(np.median(drawn, axis=1), [tail, 1 - tail])]


def sweep(table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """Where the experiment's layer and coefficient lie among those of its sign, and what the other sign does.

    Args:
        table: Columns of `tables.SWEEP`.
        record: The experiment's record.

    Returns:
        cells tried; for the own choice and for the best cell: layer, coefficient, change of the key tokens' loss
        (sum, nats) and collateral (mean absolute change of the other tokens' loss, nats); how many cells have the sign
        of the own coefficient, and the share of them that lower the key tokens' loss more; under `sign` a verdict of
        its own, with the change by the negated vector.
    """
    cells = ["layer", "coefficient"]
    key, other = key_change(table, cells), collateral(table, cells)
    if not len(key):
        return {"cells": len(other), "tokens": 0, "sign": _sign(None, None)}
    layer, factor = record["injection"]["block"], coefficient(record)
    own = (layer, factor)

    def cell(at: tuple[int, float]) -> dict[str, float]:
        values = {"layer": int(at[0]), "coefficient": float(at[1])}
        return values | {"key": float(key[at]), "collateral": float(other[at])}

    of_sign = key[np.sign(key.index.get_level_values("coefficient")) == np.sign(factor)]
    negated = float(key[layer, -factor]) if factor and (layer, -factor) in key.index else None
    return {
        "cells": len(key),
        "tokens": len(record["key_positions"]),
        "own": cell(own),
        "best": cell(key.idxmin()),
        "cells_of_sign": len(of_sign),
        "share_better": float((of_sign < key[own]).mean()),
        "sign": _sign(float(key[own]), negated),
    }


_SIGN = (
    "The sign of the vector matters: with the coefficient negated, the key tokens' loss changes in the other direction."
)


def _sign(own: float | None, negated: float | None) -> dict[str, Any]:
    """The verdict on the vector's sign, by the change of the key tokens' loss with it and with its negative."""
    if own is None or negated is None:
        return {"statement": _SIGN, "verdict": NOT_DECIDABLE}
    verdict = HOLDS if own * negated < 0 else DOES_NOT_HOLD
    return {"statement": _SIGN, "verdict": verdict, "own": own, "negated": negated}


def shown(verdicts: dict[str, Any]) -> list[str]:
    """Kinds of control that have a figure: those that are not empty for want of key tokens, draws or prompts.

    Args:
        verdicts: The verdicts on one experiment, by kind of control.
    """
    decisive = {"random_vectors": "key", "prompts": "own", "sweep": "own"}
    return [kind for kind, value in decisive.items() if value in verdicts.get(kind, {})]
