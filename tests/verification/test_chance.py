"""Verdicts on the controls, against cases small enough to reckon by hand."""

import pandas as pd
import pytest

from replication.verification.chance import prompts, random_vectors, sweep

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
    assert found["key"] == {"steering": -3, "mean": 0, "deviation": 1, "least": -1, "greatest": 1,
                            "share_less": 0, "share_greater": 1, "effect": -3}  # fmt: skip
    # The means of absolute changes: 1 with steering; 2, 3 and 1 at random.
    other = {"steering": 1, "mean": 2, "deviation": 1, "least": 1, "greatest": 3, "share_less": 0, "effect": -1}
    assert found["other"] == other | {"share_greater": pytest.approx(2 / 3)}


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
    assert sweep(grid()[lambda rows: ~rows["key"]], RECORD) == {"cells": 4, "tokens": 0}


def log_odds(own: float, others: list[float]) -> pd.DataFrame:
    kinds = ["post", *["neutral"] * len(others)]
    names = [f"prompt {i}" for i in range(len(kinds))]
    return pd.DataFrame({"kind": kinds, "prompt": names, "change": [own, *others]}).assign(target="a", contrast="b")


def test_how_typical_the_prompt_is() -> None:
    found = prompts(log_odds(2, [1, 3, 4, 1, -5]), RECORD)
    counts = {"prompts": 5, "same_direction": 4, "larger_than_post": 3}
    assert found.items() >= (counts | {"verdict": "holds", "post": 2, "median": 1, "least": -5, "greatest": 4}).items()
    assert found["against"] == ["prompt 5"]


@pytest.mark.parametrize(("own", "others"), [(2, [1, 1, 1, 0, -1]), (-2, [-1, -1, -1])])
def test_a_prompt_is_not_typical(own: float, others: list[float]) -> None:
    """Too few others follow it, or the vector makes the target less likely in the first place."""
    assert prompts(log_odds(own, others), RECORD)["verdict"] == "does not hold"


def grid() -> pd.DataFrame:
    """Two layers x two coefficients; two key tokens, whose changes add up, and two others."""
    rows = []
    for (layer, coefficient), key, other in (((0, 0.0), 0, 0), ((0, 2.0), -3, 4), ((1, 0.0), 0, 0), ((1, 2.0), -1, -2)):
        rows += [(layer, coefficient, True, key), (layer, coefficient, True, key)]
        rows += [(layer, coefficient, False, other), (layer, coefficient, False, 0)]
    return pd.DataFrame(rows, columns=["layer", "coefficient", "key", "change"])


def test_where_the_own_choice_lies_in_the_sweep() -> None:
    found = sweep(grid(), RECORD)
    assert found["post"] == {"layer": 1, "coefficient": 2, "key": -2, "collateral": 1}
    assert found["best"] == {"layer": 0, "coefficient": 2, "key": -6, "collateral": 2}
    assert found["share_better"] == 0.25
    assert found["cells"] == 4
