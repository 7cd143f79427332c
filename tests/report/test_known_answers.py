"""What the report reckons from the tables, on tables made so that every answer is known by hand.

Five layers and four positions. Lens rows of the raw protocol have a KL to the output of layer + position, 100 more
where steered; every other row has one that would be seen in any mean it took part in.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawn_tables import Tables, made_up
from report_setup import written_run

from replication.base import tables
from replication.base.files import read_json, write_json
from replication.base.paths import CONTROLS, PUBLISHED, path
from replication.base.tables import OUTPUT
from replication.report.beyond_post import beyond, disagreements
from replication.report.compile import contents
from replication.report.experiment import experiment
from replication.verification import published_table

LAYERS, OF_POSITIONS = 5, 1.5
"""Layers of the model; mean of the positions 0 to 3."""


def known(largest_at_output: float) -> Tables:
    """The tables; `largest_at_output` is the larger of two changes of the loss at the output, at position 1."""
    made = made_up((" a", " b", " c"), layers=LAYERS, layer=2, key_positions=())
    losses = made.losses.copy()
    raw, lens, steered = (
        losses[name] == of for name, of in (("protocol", "raw"), ("layer", OUTPUT), ("condition", "steered"))
    )
    lens = ~lens
    place = losses["layer"].replace(OUTPUT, "50").astype("float32") + losses["position"]
    losses["kl_to_output"] = (place + 100 * steered).where(raw, 1000).astype("float32")
    losses["loss"] = 8.0
    position = losses["position"]
    losses.loc[steered & ~lens & (position == 1), "loss"] += largest_at_output
    losses.loc[steered & ~lens & (position == 3), "loss"] -= largest_at_output / 2
    # Centred is 0.5 off in the lens rows, once 4.5, and 0.25 at the output.
    losses.loc[~raw, "loss"] += 0.25 + 0.25 * lens
    losses.loc[~raw & steered & (losses["layer"] == "3") & (position == 1), "loss"] += 4
    losses[["top_id", "top_token"]] = 1, "one"
    other = ~raw & ((losses["layer"] == "2") & (position < 2) | ~lens & (position == 2))
    losses.loc[other, ["top_id", "top_token"]] = 2, "two"
    losses.loc[losses["layer"] == "2", "top_probability"] = 0.25
    losses.loc[(losses["layer"] == "2") & steered & (position == 1), "top_probability"] = 0.75
    # Sure in one protocol alone.
    losses.loc[raw & (losses["layer"] == "2") & ~steered & (position == 0), "top_probability"] = 0.875
    losses.loc[other & lens & ~steered & (position == 0), "top_probability"] = 0.125
    logit = made.logit_lens.copy()
    layer = logit["layer"].replace(OUTPUT, "50").astype("float32")
    logit["kl_to_output"] = (10 * layer + logit["position"]).where(logit["condition"] == "unsteered", 5000)
    return made._replace(losses=losses.astype(tables.LOSSES), logit_lens=logit.astype(tables.LOGIT_LENS))


MADE = {"rise": known(2.0), "fall": known(-2.0)}
"""Two experiments, whose larger change at the output is a rise in one and a fall in the other."""


@pytest.fixture
def found(run: Path) -> dict[str, Any]:
    return experiment("m", "rise")


def test_the_lenses_are_compared_on_unsteered_rows_layer_by_layer(found):
    rows = [
        {"layer": h, "tuned": h + OF_POSITIONS, "logit": 10 * h + OF_POSITIONS, "shown": True} for h in range(LAYERS)
    ]
    assert found["lenses"] == rows


def test_the_fit_is_over_the_layers_that_steering_reaches(found):
    assert found["fit"] == {
        "unsteered": (2 + 3 + 4) / 3 + OF_POSITIONS,
        "steered": 100 + (2 + 3 + 4) / 3 + OF_POSITIONS,
    }


def test_raw_and_centred_are_compared_over_the_lens_rows(found):
    cells = LAYERS * 4 * 2
    assert found["protocols"] == {
        "mean": pytest.approx(((cells - 1) * 0.5 + 4.5) / cells),
        **{"largest": 4.5, "condition": "steered", "layer": "3", "token": " b"},
        **{"output": 0.25, "other_top": 4, "cells": cells},
    }


@pytest.mark.parametrize("name", ["rise", "fall"])
def test_what_changes_most_may_rise_or_fall(run, name):
    assert {row["position"] for row in experiment("m", name)["predictions"]} == {1}


def test_changes_by_layer_and_at_the_output_are_of_the_raw_protocol(found):
    assert [row["changes"][-1] for row in found["by_layer"]] == [0, 2, 0, -1]
    assert {row["loss_unsteered"] for row in found["output"]} == {8}


def test_disagreements_begin_where_both_protocols_are_most_certain():
    rows = disagreements(known(2.0).losses)
    cells = [(row["condition"], row["layer"], row["position"]) for row in rows]
    assert cells[0] == ("steered", "2", 1)
    assert cells[-1] == ("unsteered", "2", 0), "0.875 in one protocol, 0.125 in the other"
    assert len(cells) == 4
    assert [(row["top_token"], row["top_token_centred"]) for row in rows] == [("one", "two")] * 4


def test_a_vector_that_changes_other_tokens_more_than_95_percent_is_unspecific(run):
    made = made_up((" a", " b"), key_positions=(1,))
    written_run("loud", {"e": made, "f": made})
    controls = read_json(path(CONTROLS, "loud"))
    for name, share in (("e", 0.95), ("f", 0.94)):
        controls[name]["random_vectors"]["other"]["share_less"] = share
    write_json(path(CONTROLS, "loud"), controls)
    described = [experiment("loud", name) | {"place": "1"} for name in ("e", "f")]
    described[1]["settings"] = described[1]["settings"].model_copy(update={"title": "quiet"})
    assert beyond("loud", described)["unspecific"] == ["Love - Hate"]


def test_of_a_published_set_the_value_furthest_off_for_its_tolerance_stands_for_it(run):
    rows = [
        ("s", "far but allowed", 0.5, 1.0, "agrees"),
        ("s", "near its limit", -0.09, 0.1, "agrees"),
        ("s", "exact", 0.0, 0.1, "agrees"),
        ("t", "off", 0.02, 0.01, "differs"),
        ("t", "fine", 0.0, 1.0, "agrees"),
    ]
    table = pd.DataFrame(rows, columns=["set", "quantity", "difference", "tolerance", "verdict"])
    table = table.assign(values=3, published=1.0, measured=1.0, note="", source="https://a; https://b")
    published_table.write(table[list(published_table.PUBLISHED)], path(PUBLISHED, "m"))
    printed = contents("m", ["rise"])["published"]
    found = [(row["set"], row["quantity"], row["values"], row["verdict"]) for row in printed]
    assert found == [("s", "near its limit", 9, "agrees"), ("t", "off", 6, "differs")]
    assert printed[0]["sources"] == ["https://a", "https://b"]
