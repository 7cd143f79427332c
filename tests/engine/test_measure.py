"""The engine against independent calculations, and what must hold by definition."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy_gpt2 import NumpyGPT2, lens_log_p

from replication.base import tables
from replication.base.addition import Addition
from replication.base.config import Experiment
from replication.engine.loaded import Loaded
from replication.engine.measure import Measurement, measure

TOLERANCE = 1e-4  # nats; float32 against float64
STATISTICS = ["loss", "rank_margin", "entropy", "kl_to_output", "top_probability"]

PROMPT = "I hate you because you're a wonderful person"
STEERING = Addition(layer=3, coefficient=1.5, added="Intent to praise", subtracted="Hate")


def experiment(**changes: object) -> Experiment:
    steering = STEERING.model_copy(update={k: v for k, v in changes.items() if k in Addition.model_fields})
    return Experiment(title="test", prompt=PROMPT, steering=steering, key_tokens=(" wonderful",))


@pytest.fixture(scope="module")
def measured(random_loaded: Loaded) -> Measurement:
    return measure(random_loaded, experiment())


def grid(table: pd.DataFrame, column: str, **where: str) -> np.ndarray:
    """One statistic as (layers + 1, positions), rows in the table's order."""
    for name, value in where.items():
        table = table[table[name] == value]
    positions = table["position"].max() + 1
    return table[column].to_numpy().reshape(-1, positions)


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    difference = np.abs(ours - theirs)
    return f"largest difference {difference.max()} at {np.unravel_index(difference.argmax(), difference.shape)}"


@pytest.fixture(scope="module")
def reference(random_loaded: Loaded, measured: Measurement) -> dict[tuple[str, str], np.ndarray]:
    """Log-probabilities by the numpy forward, keyed by protocol (or "logit lens") and condition."""
    model = NumpyGPT2(random_loaded.files.folder, heads=random_loaded.gpt2.config.n_head)
    record = measured.record
    streams = model.steered(
        record["prompt"]["ids"],
        record["added"]["ids"],
        record["subtracted"]["ids"],
        STEERING.layer,
        STEERING.coefficient,
    )
    lens = random_loaded.files.lens_folder
    result = {}
    for condition, stream in zip(("unsteered", "steered"), streams, strict=True):
        result["raw", condition] = lens_log_p(model, stream, lens, centre=False)
        result["centred", condition] = lens_log_p(model, stream, lens, centre=True)
        result["logit lens", condition] = lens_log_p(model, stream, None, centre=False)
    return result


@pytest.mark.parametrize("condition", ["unsteered", "steered"])
@pytest.mark.parametrize("protocol", ["raw", "centred", "logit lens"])
def test_every_cell_equals_the_numpy_forward(measured, reference, protocol, condition):
    log_p = reference[protocol, condition]
    if protocol == "logit lens":
        table, where = measured.logit_lens, {"condition": condition}
    else:
        table, where = measured.losses, {"protocol": protocol, "condition": condition}
    ids = [*measured.record["prompt"]["ids"][1:], 50256]
    target = log_p[:, np.arange(len(ids)), ids]
    p = np.exp(log_p)
    expected = {
        "loss": -target,
        "entropy": -(p * log_p).sum(-1),
        "kl_to_output": (p[-1] * (log_p[-1] - log_p)).sum(-1),
        "top_probability": p.max(-1),
        "rank_margin": np.sort(np.abs(log_p - target[..., None]), -1)[..., 1],
    }
    for column, theirs in expected.items():
        ours = grid(table, column, **where)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < TOLERANCE, f"{column}: {largest_difference(ours, theirs)}"
    # Discrete results can differ only by tokens that float32 cannot tell from the target.
    close = 2e-5
    ranks = grid(table, "rank", **where)
    assert (1 + (log_p > target[..., None] + close).sum(-1) <= ranks).all()
    assert (ranks <= (log_p > target[..., None] - close).sum(-1)).all()
    ordered = np.sort(log_p, -1)
    clear_top = ordered[..., -1] - ordered[..., -2] > TOLERANCE
    assert (grid(table, "top_id", **where) == log_p.argmax(-1))[clear_top].all()


def test_top_ten_equal_the_numpy_forward(measured, reference):
    for (protocol, condition), log_p in reference.items():
        if protocol == "logit lens":
            continue
        table = measured.top10[(measured.top10["protocol"] == protocol) & (measured.top10["condition"] == condition)]
        ours = table["probability"].to_numpy().reshape(*log_p.shape[:2], 10)
        theirs = np.exp(np.sort(log_p, -1)[..., :-11:-1])
        assert np.abs(ours - theirs).max() < TOLERANCE
        ids = table["id"].to_numpy().reshape(ours.shape)
        assert np.abs(np.exp(np.take_along_axis(log_p, ids, -1)) - theirs).max() < TOLERANCE


def test_effect_equals_the_numpy_forward(measured, reference):
    for protocol in tables.PROTOCOLS:
        unsteered, steered = (reference[protocol, condition] for condition in tables.CONDITIONS)
        theirs = (np.exp(unsteered) * (unsteered - steered)).sum(-1)
        ours = grid(measured.effect, "kl_to_unsteered", protocol=protocol)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < TOLERANCE, largest_difference(ours, theirs)


def test_coefficient_zero_changes_nothing_at_all(random_loaded):
    losses = measure(random_loaded, experiment(coefficient=0.0)).losses
    unsteered, steered = (losses[losses["condition"] == c].drop(columns="condition") for c in tables.CONDITIONS)
    pd.testing.assert_frame_equal(unsteered.reset_index(drop=True), steered.reset_index(drop=True), check_exact=True)


def test_position_0_keeps_its_bits_when_both_sides_are_given(measured):
    for protocol in tables.PROTOCOLS:
        for column in STATISTICS:
            unsteered, steered = (
                grid(measured.losses, column, protocol=protocol, condition=condition)[:, 0]
                for condition in tables.CONDITIONS
            )
            assert (unsteered == steered).all(), column


def test_rows_below_the_injection_are_unchanged(measured):
    unsteered, steered = (
        grid(measured.losses, "loss", protocol="raw", condition=condition) for condition in tables.CONDITIONS
    )
    assert (unsteered[: STEERING.layer] == steered[: STEERING.layer]).all()
    injected = len(measured.record["injection"]["positions"])
    assert (unsteered[STEERING.layer, 1:injected] != steered[STEERING.layer, 1:injected]).all()
    assert (unsteered[STEERING.layer, injected:] == steered[STEERING.layer, injected:]).all()


def test_swapping_sides_negates_the_coefficient(random_loaded):
    swapped = experiment(added=STEERING.subtracted, subtracted=STEERING.added)
    negated = experiment(coefficient=-STEERING.coefficient)
    ours, theirs = (measure(random_loaded, each).losses["loss"].to_numpy() for each in (swapped, negated))
    assert np.abs(ours - theirs).max() < TOLERANCE


def test_kl_of_the_output_row_is_zero(measured):
    output = measured.losses[measured.losses["layer"] == tables.OUTPUT]
    assert (output["kl_to_output"] == 0).all()
    assert (measured.losses["kl_to_output"] > -1e-5).all()


def test_centred_and_raw_agree_on_the_output_row_only(measured):
    for condition in tables.CONDITIONS:
        raw, centred = (grid(measured.losses, "loss", protocol=p, condition=condition) for p in tables.PROTOCOLS)
        assert np.abs(raw - centred)[-1].max() < 1e-5
        assert np.abs(raw - centred)[:-1].max() > 1e-3, "the lens' translators see the mean"


def test_top_probabilities_fall_and_stay_below_one(measured):
    p = measured.top10["probability"].to_numpy().reshape(-1, 10)
    assert (np.diff(p) <= 0).all()
    assert (p.sum(-1) <= 1 + 1e-5).all()
    assert (p > 0).all()


def test_an_empty_side_is_bos_and_spaces(random_loaded):
    empty = measure(random_loaded, experiment(added="Bush did 9/11 because", subtracted=""))
    spaces = measure(random_loaded, experiment(added="Bush did 9/11 because", subtracted=" " * 6))
    assert empty.record["subtracted"]["ids"] == [50256] + [220] * 6 == spaces.record["subtracted"]["ids"]
    pd.testing.assert_frame_equal(empty.losses, spaces.losses, check_exact=True)


def test_a_negative_coefficient_and_layer_0_work(random_loaded):
    losses = measure(random_loaded, experiment(layer=0, coefficient=-2.0)).losses
    unsteered, steered = (grid(losses, "loss", protocol="raw", condition=c) for c in tables.CONDITIONS)
    assert (unsteered[0, 1:3] != steered[0, 1:3]).all()


def test_a_prompt_longer_than_one_slice_reads_out_the_same(random_loaded, monkeypatch):
    """Slices of positions and chunks of rows change no number beyond rounding."""
    whole = measure(random_loaded, experiment()).losses
    monkeypatch.setattr("replication.engine.lens.POSITIONS", 4)
    monkeypatch.setattr("replication.engine.lens.ROWS", 9)
    sliced = measure(random_loaded, experiment()).losses
    pd.testing.assert_frame_equal(
        whole.drop(columns=STATISTICS),
        sliced.drop(columns=STATISTICS),
    )
    for column in STATISTICS:
        assert np.abs(whole[column] - sliced[column]).max() < 1e-5


def test_equal_logits_rank_by_id():
    from replication.engine.lens import _top_ids

    logits = torch.tensor([[[1.0, 3.0, 2.0, 2.0, 3.0, 2.0, 0.0]]])
    assert _top_ids(logits, 3).tolist() == [[[1, 4, 2]]]
    assert _top_ids(torch.zeros(1, 1, 6), 4).tolist() == [[[0, 1, 2, 3]]]
