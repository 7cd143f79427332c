"""The second opinion: other people's code on the same files, unsteered and steered, and nothing of ours in it."""

import numpy as np
import pytest
from numpy_gpt2 import NumpyGPT2, lens_log_p

from replication.base import tables
from replication.base.addition import Addition
from replication.base.config import Experiment
from replication.engine.measure import measure
from replication.engine.second_opinion import second_opinion

PROMPT = "I hate you because you're a wonderful person"


def experiment(layer: int) -> Experiment:
    steering = Addition(layer=layer, coefficient=1.5, added="Intent to praise", subtracted="Hate")
    return Experiment(title="test", prompt=PROMPT, steering=steering)


@pytest.mark.parametrize("layer", [0, 3, 6])
def test_every_raw_cell_is_ours_to_rounding_at_any_layer_of_injection(random_loaded, layer):
    result = measure(random_loaded, experiment(layer))
    files = random_loaded.files
    opinion = second_opinion(files.folder, files.lens_folder, {"e": result.record})
    assert list(opinion.columns) == list(tables.SECOND_OPINION)
    raw = result.losses[result.losses["protocol"] == "raw"].reset_index(drop=True)
    assert (opinion[list(tables.CELL)] == raw[list(tables.CELL)]).all().all()
    for name in ("loss", "entropy"):
        difference = np.abs(opinion[name].to_numpy() - raw[name].to_numpy())
        assert difference.max() < 1e-4, (name, raw.iloc[difference.argmax()][list(tables.CELL)].to_dict())
        # Neither a copy of ours, which would agree to the last bit, nor one statistic twice.
        assert difference.max() > 0
    assert np.abs(opinion["loss"] - opinion["entropy"]).min() > 1e-3


def test_steered_rows_are_steered(random_loaded):
    result = measure(random_loaded, experiment(3))
    files = random_loaded.files
    opinion = second_opinion(files.folder, files.lens_folder, {"e": result.record})
    both = opinion.pivot(index=["layer", "position"], columns="condition", values="loss")
    changed = (both["steered"] != both["unsteered"]).groupby("layer").any()
    assert changed.to_dict() == {**dict.fromkeys("012", False), **dict.fromkeys(["3", "4", "5", "6", "output"], True)}


def test_our_own_numbers_take_no_part(random_loaded, monkeypatch):
    """Whatever our engine computes, the opinion stays: it reads ids, coefficient and block alone."""
    files, record = random_loaded.files, measure(random_loaded, experiment(3)).record
    before = second_opinion(files.folder, files.lens_folder, {"e": record})
    for name in ("block", "embedding", "logits"):
        monkeypatch.setattr(f"replication.engine.gpt2.GPT2.{name}", lambda *_: pytest.fail("our own engine is asked"))
    after = second_opinion(files.folder, files.lens_folder, {"e": record})
    assert before.equals(after)


def test_losses_equal_the_numpy_forward(random_loaded):
    record = measure(random_loaded, experiment(3)).record
    files = random_loaded.files
    opinion = second_opinion(files.folder, files.lens_folder, {"e": record})
    numpy_gpt2 = NumpyGPT2(files.folder, heads=3)
    ids = record["prompt"]["ids"]
    log_p = lens_log_p(numpy_gpt2, numpy_gpt2.stream(ids), files.lens_folder, False)
    targets = [*ids[1:], record["bos"]["id"]]
    loss = -np.take_along_axis(log_p, np.array(targets)[None, :, None], -1)[..., 0]
    theirs = opinion.loc[opinion["condition"] == "unsteered", "loss"].to_numpy().reshape(loss.shape)
    assert np.abs(theirs - loss).max() < 1e-4
