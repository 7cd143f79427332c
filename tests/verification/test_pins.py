"""Pins: recorded numbers still come out, and a changed one is noticed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytest_regressions.dataframe_regression import DataFrameRegressionFixture

from replication.base import tables
from replication.base.config import Experiment, checked
from replication.base.files import read_json
from replication.base.paths import PIN_RECORD, PINS, REPOSITORY, path
from replication.base.strict_yaml import read_yaml
from replication.verification.pins import against_pins, inputs, pin_record, pinned_cells, same_bits_expected
from replication.verification.rounding import EXACT, tolerance_of
from replication.verification.summary import chosen_layers, summary

CONFIG = checked(read_yaml(REPOSITORY / "config.yaml"))
MODEL = "miniature"
WIDE = dict.fromkeys(EXACT, 1e-4)


def pin(name: str) -> tuple[Path, dict]:
    return REPOSITORY / path(PINS, MODEL, name), read_json(REPOSITORY / path(PIN_RECORD, MODEL, name))


@pytest.mark.parametrize("name", CONFIG.experiments)
def test_the_miniature_still_gives_its_pinned_numbers(
    miniature_measured, dataframe_regression: DataFrameRegressionFixture, name: str
):
    file, recorded = pin(name)
    cells = pinned_cells(miniature_measured[name].losses, miniature_measured[name].record)
    record = miniature_measured[name].record
    assert inputs(record).items() <= recorded.items(), "the pin was recorded for other inputs"
    # pytest-regressions passes columns and rows it does not find: text, keys and lengths are compared here, exactly.
    pinned = tables.read(file, tables.PIN)
    text = [column for column in tables.PIN if column != "loss"]
    pd.testing.assert_frame_equal(cells[text], pinned[text], check_exact=True)
    if same_bits_expected(recorded, record):
        assert (cells["loss"] == pinned["loss"]).all(), "not the same bits as the pin's"
        assert recorded["fingerprint"] == record["fingerprint"], "other bits in cells that are not pinned one by one"
    tolerance = {"rtol": 0, "atol": tolerance_of(recorded)["loss"]}
    numbers = cells[["position", "target_id", "loss"]].set_index("position")
    dataframe_regression.check(numbers, fullpath=file, default_tolerance=tolerance)


def test_pins_hold_every_position_at_the_chosen_layers(miniature_measured):
    record, losses = miniature_measured["love_hate"].record, miniature_measured["love_hate"].losses
    assert chosen_layers(record) == ["0", "6", "7", "12", "24", "36", "output"]
    assert len(pinned_cells(losses, record)) == 2 * 2 * 7 * 10


def test_one_changed_number_differs_with_its_place(miniature_measured):
    result = miniature_measured["anger"]
    pinned = pinned_cells(result.losses, result.record)
    changed = pinned.copy()
    changed.loc[17, "loss"] += np.float32(3e-4)
    assert against_pins(pinned, pinned, WIDE)["status"] == "agrees"
    found = against_pins(changed, pinned, WIDE)
    assert found["status"] == "differs"
    assert len(found["off"]) == 1
    assert found["off"][0]["difference"] == pytest.approx(3e-4, rel=1e-2)
    assert found["off"][0]["position"] == pinned.loc[17, "position"]


def test_a_missing_row_an_empty_pin_and_another_token_differ(miniature_measured):
    cells = pinned_cells(miniature_measured["anger"].losses, miniature_measured["anger"].record)
    assert against_pins(cells.drop(index=3), cells, WIDE)["status"] == "differs"
    assert against_pins(cells, cells.drop(index=3), WIDE)["status"] == "differs"
    assert against_pins(cells.iloc[:0], cells.iloc[:0], WIDE)["status"] == "differs"
    other = cells.assign(target_token=cells["target_token"].replace(" you", "you"))
    assert against_pins(other, cells, WIDE)["status"] == "differs"


def test_rows_in_another_order_agree(miniature_measured):
    cells = pinned_cells(miniature_measured["anger"].losses, miniature_measured["anger"].record)
    assert against_pins(cells.iloc[::-1].reset_index(drop=True), cells, EXACT)["status"] == "agrees"


def test_the_summary_is_the_loss_table_side_by_side(miniature_measured):
    losses, record = miniature_measured["conspiracy"].losses, miniature_measured["conspiracy"].record
    table = summary(losses, record)
    key = table[table["key"] & (table["layer"] == "output")]
    assert list(key["target_token"].unique()) == [" secret", " CIA", " prison"]
    for row in table.sample(40, random_state=0).itertuples():
        cell = losses.query("protocol == @row.protocol and layer == @row.layer and position == @row.position")
        unsteered, steered = (cell.loc[cell["condition"] == name, "loss"].item() for name in tables.CONDITIONS)
        assert (row.loss_unsteered, row.loss_steered) == (unsteered, steered)
        assert row.change == pytest.approx(steered - unsteered, abs=1e-6)
    assert len(table) == 2 * len(chosen_layers(record)) * len(record["prompt"]["ids"])


# The post's four effects, as the miniature must show them (nats at the output; issue 9).
LEAST_GAIN = 0.5


@pytest.mark.parametrize("name", CONFIG.experiments)
def test_the_miniature_shows_the_posts_effect(miniature_measured, name: str):
    losses, record = miniature_measured[name].losses, miniature_measured[name].record
    output = losses[(losses["layer"] == "output") & (losses["protocol"] == "raw")]
    key = output[output["position"].isin(record["key_positions"])].groupby("condition")["loss"].sum()
    assert len(record["key_positions"]) == len(CONFIG.experiments[name].key_tokens)
    assert key["unsteered"] - key["steered"] >= LEAST_GAIN


def test_the_tuned_lens_is_useful_in_the_lower_and_middle_layers(miniature_measured):
    for result in miniature_measured.values():
        tuned, logit = (
            table[(table["condition"] == "unsteered") & (table["layer"] != "output")]
            for table in (result.losses[result.losses["protocol"] == "raw"], result.logit_lens)
        )
        tuned, logit = (table.groupby(table["layer"].astype(int))["kl_to_output"].mean() for table in (tuned, logit))
        assert (tuned[:25] < 0.7 * logit[:25]).mean() > 0.9, pd.DataFrame({"tuned": tuned, "logit": logit})


def test_a_users_edited_experiment_has_no_pin(miniature_measured):
    _, recorded = pin("anger")
    edited = json.loads(json.dumps(miniature_measured["anger"].record))
    edited["experiment"]["steering"]["coefficient"] = 9.0
    assert pin_record(edited) != recorded
    assert isinstance(CONFIG.experiments["anger"], Experiment)
