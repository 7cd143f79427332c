"""Verdicts on the controls, against cases small enough to reckon by hand."""

import random
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pytest

from replication.verification.chance import band, prompts, random_by_layer, random_vectors, sweep

RECORD = {"key_positions": [0], "injection": {"block": 1}, "experiment": {"steering": {"coefficient": 2.0}}}


def draws(key: list[float], other: list[float]) -> pd.DataFrame:
    """The steering vector first, then random draws: a key token, and two others of which one changes by `other`."""
    rows = []
    for place, (of_key, of_other) in enumerate(zip(key, other, strict=True)):
        rows += [(place - 1, True, of_key), (place - 1, False, of_other), (place - 1, False, 0.0)]
    return pd.DataFrame(rows, columns=["draw", "key", "change"])


def test_the_vector_among_random_ones() -> None:
    found = random_vectors(draws([-3, -1, 0, 1], [-2, 4, -6, 2]), RECORD)
    assert found["verdict"] == "holds"
    assert found["draws"] == 3
    # Of -1, 0 and 1 the mean is 0, the deviation 1.
    assert found["key"] == {"steering": -3, "mean": 0, "deviation": 1, "median": 0, "beyond": -3, "least": -1,
                            "band": pytest.approx([-0.9, 0.9]), "greatest": 1, "share_less": 0, "share_greater": 1,
                            "effect": -3}  # fmt: skip
    assert random_vectors(draws([-3, -1, 0, 4], [0] * 4), RECORD)["key"]["beyond"] == -3, "the median, not the mean"
    # The means of absolute changes: 1 with steering; 2, 3 and 1 at random.
    other = {"steering": 1, "mean": 2, "deviation": 1, "median": 2, "beyond": -1, "least": 1, "greatest": 3}
    other |= {"share_less": 0, "share_greater": pytest.approx(2 / 3), "effect": -1}
    assert found["other"] == other | {"band": pytest.approx([1.1, 2.9])}


@pytest.mark.parametrize(
    ("steering", "beaten", "of", "verdict"),
    [(-1, 19, 20, "holds"), (-1, 18, 20, "does not hold"), (1, 20, 20, "does not hold")],
)
def test_the_loss_must_fall_and_by_more_than_with_95_percent(
    steering: float, beaten: int, of: int, verdict: str
) -> None:
    random = [steering + 1] * beaten + [steering - 1] * (of - beaten)
    assert random_vectors(draws([steering, *random], [0] * (of + 1)), RECORD)["verdict"] == verdict


def test_a_draw_as_large_as_the_vector_is_not_beaten() -> None:
    """Of 20 draws 18 change more, two by as much; of what is less and what is greater a tie is neither."""
    found = random_vectors(draws([-1, *[0] * 18, -1, -1], [3, *[4] * 18, 3, 3]), RECORD)
    assert found["verdict"] == "does not hold"
    for name in ("key", "other"):
        assert (found[name]["share_less"], found[name]["share_greater"]) == (0, 0.9)
    # The other way round: a vector that is only tied from below.
    found = random_vectors(draws([-1, *[-2] * 18, -1, -1], [3, *[2] * 18, 3, 3]), RECORD)
    for name in ("key", "other"):
        assert (found[name]["share_less"], found[name]["share_greater"]) == (0.9, 0)


def test_equal_draws_have_no_effect_size() -> None:
    found = random_vectors(draws([-3, 1, 1], [1, 2, 2]), RECORD)
    assert found["key"]["effect"] is None


def test_without_key_tokens_or_draws_nothing_is_decided() -> None:
    table = draws([-3, 1, 1], [1, 2, 2])
    without_key = random_vectors(table[~table["key"]], RECORD)
    assert without_key["verdict"] == "not decidable"
    assert "key" not in without_key
    assert random_vectors(table[table["draw"] == -1], RECORD)["verdict"] == "not decidable"
    assert prompts(pd.DataFrame(columns=["kind", "change"]), RECORD)["verdict"] == "not decidable"
    without_key = sweep(grid()[lambda rows: ~rows["key"]], RECORD)
    assert (without_key["cells"], without_key["tokens"], without_key["sign"]["verdict"]) == (6, 0, "not decidable")


def log_odds(own: float, others: list[float]) -> pd.DataFrame:
    kinds = ["post", *["neutral"] * len(others)]
    names = [f"prompt {i}" for i in range(len(kinds))]
    return pd.DataFrame({"kind": kinds, "prompt": names, "change": [own, *others]}).assign(target="a", contrast="b")


def test_whether_the_direction_carries_over() -> None:
    found = prompts(log_odds(2, [1, 3, 4, 1, -5]), RECORD)
    # By size 3, 4 and -5 come before 2.
    counts = {"prompts": 5, "same_direction": 4, "place": 4}
    assert found.items() >= (counts | {"verdict": "holds", "own": 2, "median": 1, "least": -5, "greatest": 4}).items()
    assert found["against"] == ["prompt 5"]
    assert prompts(log_odds(9, [1, 3]), RECORD)["place"] == 1


def test_the_interval_is_that_of_medians_of_prompts_drawn_anew() -> None:
    changes = [float(i) for i in range(301)]
    generator = random.Random(5)
    medians = sorted(median(generator.choices(changes, k=301)) for _ in range(4_000))
    # One of 90 % would be narrower by three prompts at either end.
    assert prompts(log_odds(2, changes), RECORD)["interval"] == pytest.approx([medians[100], medians[3900]], abs=1.5)


@pytest.mark.parametrize(("own", "others"), [(2, [1, 1, 1, 0, -1]), (-2, [-1, -1, -1])])
def test_the_direction_does_not_carry_over(own: float, others: list[float]) -> None:
    """Too few others follow it, or the vector makes the target less likely in the first place."""
    assert prompts(log_odds(own, others), RECORD)["verdict"] == "does not hold"


def grid() -> pd.DataFrame:
    """Two layers x three coefficients; two key tokens, whose changes add up, and two others."""
    rows = []
    changes = {(0, -2.0): (2, 4), (0, 0.0): (0, 0), (0, 2.0): (-0.5, 4), (1, -2.0): (-4, 2), (1, 0.0): (0, 0)}
    for (layer, coefficient), (key, other) in (changes | {(1, 2.0): (-1, -2)}).items():
        rows += [(layer, coefficient, True, key), (layer, coefficient, True, key)]
        rows += [(layer, coefficient, False, other), (layer, coefficient, False, 0)]
    return pd.DataFrame(rows, columns=["layer", "coefficient", "key", "change"])


def test_where_the_own_choice_lies_in_the_sweep() -> None:
    found = sweep(grid(), RECORD)
    assert found["own"] == {"layer": 1, "coefficient": 2, "key": -2, "collateral": 1}
    assert found["best"] == {"layer": 1, "coefficient": -2, "key": -8, "collateral": 1}
    # Neither of the two cells of the own sign falls more; a negated one does, and does not count.
    assert (found["cells"], found["cells_of_sign"], found["share_better"]) == (6, 2, 0)
    assert sweep(grid(), at(0, 2.0))["share_better"] == 0.5


def at(layer: int, coefficient: float) -> dict[str, Any]:
    """The record of an experiment that steers there."""
    return RECORD | {"injection": {"block": layer}, "experiment": {"steering": {"coefficient": coefficient}}}


@pytest.mark.parametrize(
    ("record", "verdict", "negated"),
    [
        (at(0, 2.0), "holds", 4),
        (at(1, 2.0), "does not hold", -8),
        (at(1, -2.0), "does not hold", -2),
        (at(1, 0.0), "not decidable", None),
    ],
)
def test_the_sign_matters_where_the_negated_vector_does_the_opposite(
    record: dict[str, Any], verdict: str, negated: float | None
) -> None:
    sign = sweep(grid(), record)["sign"]
    assert (sign["verdict"], sign.get("negated")) == (verdict, negated)


def test_without_the_negated_coefficient_the_sign_is_not_decidable() -> None:
    table = grid()
    assert sweep(table[table["coefficient"] >= 0], at(0, 2.0))["sign"]["verdict"] == "not decidable"


LAYERS = ["0", "1", "2", "3", "output"]


def by_layer(own: list[float], draws: int = 41) -> pd.DataFrame:
    """The vector's change by layer, and draws evenly from -1 to 1 at every layer but the first: 5 % lie below -0.9."""
    rows = [(-1, layer, change) for layer, change in zip(LAYERS, own, strict=True)]
    spread = np.linspace(-1, 1, draws)
    rows += [(draw, layer, value * (layer != "0")) for draw, value in enumerate(spread) for layer in LAYERS]
    # Two key tokens, each with half of the change.
    halves = [(draw, layer, position, change / 2) for draw, layer, change in rows for position in (4, 7)]
    return pd.DataFrame(halves, columns=["draw", "layer", "position", "change"])


def test_the_band_is_the_5th_to_the_95th_percentile_of_the_sums() -> None:
    found = band(by_layer([0, -1, -2, -3, -4]))
    assert found.index.tolist() == LAYERS
    assert found["steering"].tolist() == [0, -1, -2, -3, -4]
    assert found["low"].tolist() == pytest.approx([0, -0.9, -0.9, -0.9, -0.9])
    assert found["high"].tolist() == pytest.approx([0, 0.9, 0.9, 0.9, 0.9])


@pytest.mark.parametrize(
    ("own", "outside_from", "half_from"),
    [
        ([0, -1, -2, -3, -4], "1", "2"),
        ([0, -3, -0.5, -3, -4], "3", "3"),  # left the band and came back
        ([0, -3, -1.9, -3, -4], "1", "3"),  # always outside, but once below half
        ([0, 2, -2, -2, -4], "2", "2"),  # outside on the other side does not count
        ([0, 1, 1, 1, 4], "1", "output"),  # a rise beyond chance is an effect too
        ([0, 0, 0, 0, -0.91], "output", "output"),
    ],
)
def test_where_the_effect_takes_hold(own: list[float], outside_from: str, half_from: str) -> None:
    assert random_by_layer(by_layer(own), RECORD) == {"outside_from": outside_from, "half_from": half_from}


@pytest.mark.parametrize(
    ("own", "draws", "record", "why"),
    [
        ([0, -3, -3, -3, -0.89], 41, RECORD, "at the output the vector does no more than random ones do"),
        ([0, -3, -3, -3, 0.9], 41, RECORD, "at the output the vector does no more than random ones do"),
        ([0, -1, -2, -3, -4], 19, RECORD, "19 random vectors are too few for a band; it takes 20"),
        ([0, -1, -2, -3, -4], 41, RECORD | {"key_positions": []}, "the experiment names no key tokens"),
    ],
)
def test_where_nothing_can_be_told_by_layer(own: list[float], draws: int, record: dict[str, Any], why: str) -> None:
    assert random_by_layer(by_layer(own, draws), record) == {"undecided": why}
