"""What the post says, as predicates over the tables, with the numbers that decide them.

A verdict is a result, not a test: "does not hold" is an answer. The post comments on its first example only;
for the others the change on their key tokens is reported, not judged.
"""

from typing import Any

import pandas as pd

from replication.base.posts import place_in_post
from replication.base.tables import CONDITIONS, OUTPUT

FALL = 0.5
"""How far, in nats, a loss must fall to count as "significantly better"."""

HOLDS, DOES_NOT_HOLD, NOT_DECIDABLE = "holds", "does not hold", "not decidable"


def claims(losses: pd.DataFrame, top10: pd.DataFrame, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The post's statements about one experiment, each with verdict and numbers.

    Args:
        losses: Columns of `tables.LOSSES`.
        top10: Columns of `tables.TOP10`.
        record: The experiment's record.

    Returns:
        One dictionary per statement: id, statement, verdict (None where only reported), numbers; none of an
        experiment that is not the post's.
    """
    output = losses[(losses["layer"] == OUTPUT) & (losses["protocol"] == "raw")]
    wide = output.pivot(index="position", columns="condition", values="loss")
    place = place_in_post(record["experiment"])
    if place is None:
        return []
    if place == 0:
        return [_surprise(wide, output, top10), _disturbance(wide, record), _first_position(losses)]
    return [_key_tokens(wide, output, record)]


def _surprise(wide: pd.DataFrame, output: pd.DataFrame, top10: pd.DataFrame) -> dict[str, Any]:
    """Claim 1: ` wonderful` is surprising unsteered, and much less so steered."""
    position = int(output.loc[output["target_token"] == " wonderful", "position"].iloc[0])
    unsteered, steered = (float(wide.loc[position, condition]) for condition in CONDITIONS)
    here = (top10["layer"] == OUTPUT) & (top10["protocol"] == "raw") & (top10["position"] == position)
    top = top10[here & (top10["condition"] == "unsteered")]
    return {
        "id": "surprise",
        "statement": "The token `␣wonderful` surprises the unsteered model, and the steered model does significantly "
        f"better on it: its loss at the output falls by at least {FALL} nats.",
        "verdict": HOLDS if unsteered - steered >= FALL else DOES_NOT_HOLD,
        "numbers": {"unsteered": unsteered, "steered": steered, "change": steered - unsteered},
        "top10_unsteered": [
            {"token": token, "probability": float(p)} for token, p in zip(top["token"], top["probability"], strict=True)
        ],
    }


def _disturbance(wide: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """Claim 2: predictions at the modified positions are worse."""
    positions = record["injection"]["positions"][1:]
    unsteered, steered = (float(wide.loc[positions, condition].mean()) for condition in CONDITIONS)
    worse = steered > unsteered
    return {
        "id": "disturbance",
        "statement": "Predictions around the modified tokens are disturbed: the mean loss at the output over the "
        f"injected positions {positions[0]} to {positions[-1]} rises.",
        "verdict": HOLDS if worse else DOES_NOT_HOLD,
        "numbers": {"unsteered": unsteered, "steered": steered, "change": steered - unsteered},
    }


def _first_position(losses: pd.DataFrame) -> dict[str, Any]:
    """Claim 3: nothing changes at position 0, whose only context is BOS."""
    numbers = list(losses.select_dtypes("number").columns)
    first = losses[losses["position"] == 0]
    unsteered, steered = (first[first["condition"] == c][numbers].reset_index(drop=True) for c in CONDITIONS)
    largest = float((unsteered["loss"] - steered["loss"]).abs().max())
    return {
        "id": "first-token",
        "statement": "The first token's prediction is unchanged, bit for bit, at every layer: its only context is "
        "`<|endoftext|>`, where the two sides cancel.",
        "verdict": HOLDS if unsteered.equals(steered) else DOES_NOT_HOLD,
        "numbers": {"largest change of the loss at any layer": largest, "rows compared": len(unsteered)},
    }


def _key_tokens(wide: pd.DataFrame, output: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """The change on the key tokens, reported and not judged."""
    tokens = output.drop_duplicates("position").set_index("position")["target_token"]
    changes = [
        {
            "token": tokens[position],
            "position": position,
            "unsteered": float(wide.loc[position, "unsteered"]),
            "steered": float(wide.loc[position, "steered"]),
            "change": float(wide.loc[position, "steered"] - wide.loc[position, "unsteered"]),
        }
        for position in record["key_positions"]
    ]
    return {
        "id": "key-tokens",
        "statement": "The post shows this vector without comment; the change of the key tokens' loss at the output is "
        "reported here.",
        "verdict": None,
        "numbers": {},
        "key_tokens": changes,
    }
