"""The post's statements as predicates, on tables made by hand."""

import copy

import pandas as pd
import pytest

from replication.base.tables import CONDITIONS, LABELS, LOSSES, OUTPUT, PROTOCOLS, TOP10
from replication.verification.claims import claims

TOKENS = ["<|endoftext|>", "I", " hate", " you", " because", " you", "'re", " a", " wonderful", " person"]
RECORD = {
    "experiment": {
        "prompt": "I hate you because you're a wonderful person",
        "steering": {"layer": 6, "coefficient": 5.0, "added": "Love", "subtracted": "Hate"},
    },
    "injection": {"block": 6, "positions": [0, 1, 2]},
    "key_positions": [7],
}


def tables_with(steered: dict[int, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of one layer and the output where every loss is 2 unsteered and 2 + `steered` by position."""
    rows, top = [], []
    for protocol in PROTOCOLS:
        for condition in CONDITIONS:
            for layer in ("0", OUTPUT):
                for position in range(10):
                    change = steered.get(position, 0.0) if condition == "steered" else 0.0
                    row = dict.fromkeys(LOSSES, 0) | {"protocol": protocol, "condition": condition, "layer": layer}
                    row |= dict.fromkeys(LABELS, 0) | {"position": position, "loss": 2.0 + change, "top_token": "x"}
                    row |= {"context_token": TOKENS[position], "target_token": [*TOKENS[1:], TOKENS[0]][position]}
                    rows.append(row)
                    cell = {"protocol": protocol, "condition": condition, "layer": layer, "position": position}
                    top += [cell | {"place": i, "id": i, "token": f" t{i}", "probability": 0.1} for i in range(1, 11)]
    return pd.DataFrame(rows).astype(LOSSES), pd.DataFrame(top).astype(TOP10)


def verdicts(steered: dict[int, float], record: dict = RECORD) -> dict[str, str | None]:
    return {claim["id"]: claim["verdict"] for claim in claims(*tables_with(steered), record)}


def test_all_three_hold():
    assert verdicts({1: 3.0, 2: 1.0, 7: -0.75}) == {
        "surprise": "holds",
        "disturbance": "holds",
        "first-token": "holds",
    }


@pytest.mark.parametrize(
    ("steered", "fails"),
    [
        ({1: 3.0, 7: -0.4}, "surprise"),
        ({1: 3.0, 7: 3.0}, "surprise"),
        ({1: -1.0, 2: 0.5, 7: -0.5}, "disturbance"),
        ({0: 1e-6, 1: 1, 7: -0.5}, "first-token"),
    ],
)
def test_each_can_fail_alone(steered, fails):
    found = verdicts(steered)
    assert found.pop(fails) == "does not hold"
    assert set(found.values()) == {"holds"}


def test_the_numbers_that_decide_are_given():
    found = {claim["id"]: claim for claim in claims(*tables_with({1: 3.0, 2: 1.0, 7: -0.75}), RECORD)}
    assert found["surprise"]["numbers"] == {"unsteered": 2.0, "steered": 1.25, "change": -0.75}
    assert found["disturbance"]["numbers"] == {"unsteered": 2.0, "steered": 4.0, "change": 2.0}
    assert [row["token"] for row in found["surprise"]["top10_unsteered"]] == [f" t{i}" for i in range(1, 11)]


def test_the_posts_other_experiments_are_reported_not_judged():
    record = copy.deepcopy(RECORD)
    record["experiment"]["steering"] |= {
        "coefficient": 15.0,
        "added": "Intent to praise",
        "subtracted": "Intent to hurt",
    }
    (claim,) = claims(*tables_with({7: -0.75}), record)
    assert claim["verdict"] is None
    assert claim["key_tokens"] == [
        {"token": " wonderful", "position": 7, "unsteered": 2.0, "steered": 1.25, "change": -0.75}
    ]


@pytest.mark.parametrize("other", [{"coefficient": 4.0}, {"layer": 7}, {"subtracted": ""}])
def test_of_an_experiment_that_is_not_the_posts_nothing_is_said(other):
    record = copy.deepcopy(RECORD)
    record["experiment"]["steering"] |= other
    assert claims(*tables_with({7: -0.75}), record) == []
