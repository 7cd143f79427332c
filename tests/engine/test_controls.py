"""The controls against the numpy GPT-2 and against what they are by definition."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy_gpt2 import NumpyGPT2, lens_log_p

from replication.base.addition import Addition
from replication.base.config import Experiment, checked
from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.base.tables import OUTPUT, STEERING
from replication.engine import controls
from replication.engine.batches import CHUNK
from replication.engine.loaded import Loaded
from replication.engine.measure import measure

TOLERANCE = 1e-4  # nats; float32 against float64
PROMPT = "I hate you because you're a wonderful person"
MULTIPLES = (-2, 0, 1, 4)
DRAWS = CHUNK + 3
"""More than one chunk."""

EXPERIMENT = Experiment.model_validate(
    {
        "title": "test",
        "prompt": PROMPT,
        "steering": {"layer": 3, "coefficient": 1.5, "added": "Intent to praise", "subtracted": "Hate"},
        # The first is predicted where the vector is added, and changes much.
        "key_tokens": [" because", " wonderful"],
        "more_prompts": {
            "target": " wonderful",
            "contrast": " terrible",
            "paraphrases": ["I hate him because he's a"],
            "neutral": ["Everybody who has met him says that he is a"],
        },
    }
)


@pytest.fixture(scope="module")
def model(random_loaded: Loaded) -> NumpyGPT2:
    return NumpyGPT2(random_loaded.files.folder, heads=random_loaded.gpt2.config.n_head)


def log_p(model: NumpyGPT2, ids: list[int], layer: int, values: np.ndarray) -> np.ndarray:
    """Log p at the output when `values` are added before block `layer`, (positions, vocabulary), float64."""

    def add(hidden: np.ndarray) -> np.ndarray:
        return hidden + np.pad(values, ((0, len(ids) - len(values)), (0, 0)))

    return model.log_p(model.stream(ids, {layer: add})[-1])


def side(model: NumpyGPT2, loaded: Loaded, text: str, length: int, layer: int) -> np.ndarray:
    ids = loaded.tokenizer.with_bos(text)
    return model.stream([*ids, *[220] * (length - len(ids))])[layer]


def vector(model: NumpyGPT2, loaded: Loaded, layer: int) -> np.ndarray:
    """Added minus subtracted, times nothing, entering `layer`."""
    return side(model, loaded, "Intent to praise", 5, layer) - side(model, loaded, "Hate", 5, layer)


def token_losses(model: NumpyGPT2, loaded: Loaded, layer: int, values: np.ndarray) -> np.ndarray:
    ids = loaded.tokenizer.with_bos(PROMPT)
    targets = [*ids[1:], loaded.tokenizer.bos]
    return -log_p(model, ids, layer, values)[range(len(ids)), targets]


@pytest.fixture(scope="module")
def both_tables(random_loaded: Loaded) -> tuple[pd.DataFrame, pd.DataFrame]:
    return controls.random_vectors(random_loaded, EXPERIMENT, DRAWS, seed=7)


@pytest.fixture(scope="module")
def random(both_tables) -> pd.DataFrame:
    return both_tables[0]


@pytest.fixture(scope="module")
def by_layer(both_tables) -> pd.DataFrame:
    return both_tables[1]


@pytest.fixture(scope="module")
def vectors(model, random_loaded) -> dict[int, np.ndarray]:
    """The steering vector and the random ones, by draw, from the definition."""
    real = 1.5 * vector(model, random_loaded, 3)
    norms = np.linalg.norm(real, axis=-1, keepdims=True)
    generator = np.random.default_rng(7)
    directions = [generator.standard_normal(real.shape) for _ in range(DRAWS)]
    drawn = [each / np.linalg.norm(each, axis=-1, keepdims=True) * norms for each in directions]
    return {STEERING: real} | dict(enumerate(drawn))


def test_draws_are_random_directions_with_the_vectors_norms(model, random_loaded, random, vectors):
    for draw, values in vectors.items():
        rows = random[random["draw"] == draw]
        assert np.abs(rows["loss_steered"] - token_losses(model, random_loaded, 3, values)).max() < TOLERANCE
    assert sorted(random["draw"].unique()) == list(range(STEERING, DRAWS))


def test_changes_by_layer_are_those_of_the_lens_read_in_numpy(model, random_loaded, by_layer, vectors):
    """Draws of the first and of the second chunk."""
    ids = random_loaded.tokenizer.with_bos(PROMPT)
    keys, targets = [3, 7], [ids[4], ids[8]]

    def losses(values: np.ndarray) -> np.ndarray:
        rows = np.pad(values, ((0, len(ids) - len(values)), (0, 0)))
        stream = model.stream(ids, {3: lambda hidden: hidden + rows})
        return -lens_log_p(model, stream, random_loaded.files.lens_folder, centre=False)[:, keys, targets]

    for draw in (STEERING, 0, CHUNK - 2, CHUNK - 1, DRAWS - 1):
        rows = by_layer[by_layer["draw"] == draw].pivot(index="layer", columns="position", values="change")
        assert rows.columns.tolist() == keys
        changes = rows.loc[[*map(str, range(model.layers)), OUTPUT]].to_numpy()
        assert np.abs(changes - (losses(vectors[draw]) - losses(0 * vectors[draw]))).max() < TOLERANCE, draw
        assert np.abs(changes[3:, 0]).min() > 10 * TOLERANCE


def test_changes_by_layer_are_those_of_the_other_tables_bit_for_bit(random_loaded, random, by_layer):
    output = by_layer.loc[by_layer["layer"] == OUTPUT, "change"].to_numpy()
    assert (output == random.loc[random["key"], "change"].to_numpy()).all()
    losses = measure(random_loaded, EXPERIMENT).losses
    raw = losses[(losses["protocol"] == "raw") & losses["position"].isin([3, 7])]
    unsteered, steered = (raw.loc[raw["condition"] == name, "loss"].to_numpy() for name in ("unsteered", "steered"))
    assert (by_layer.loc[by_layer["draw"] == STEERING, "change"].to_numpy() == steered - unsteered).all()


def test_without_key_tokens_there_is_nothing_by_layer(random_loaded):
    experiment = EXPERIMENT.model_copy(update={"key_tokens": ()})
    assert controls.random_vectors(random_loaded, experiment, 2, seed=7)[1].empty


def test_the_steering_vector_and_the_unsteered_run_are_those_of_the_experiment(random_loaded, random):
    losses = measure(random_loaded, EXPERIMENT).losses
    output = losses[(losses["layer"] == OUTPUT) & (losses["protocol"] == "raw")]
    real = random[random["draw"] == STEERING]
    for condition in ("unsteered", "steered"):
        theirs = output.loc[output["condition"] == condition, "loss"].to_numpy()
        assert (real[f"loss_{condition}"].to_numpy() == theirs).all(), condition
    assert real.loc[real["key"], "target_token"].tolist() == [" because", " wonderful"]


def test_nothing_random_reaches_position_0(random):
    first = random[random["position"] == 0]
    assert (first["change"] == 0).all()
    assert random.loc[random["position"] == 9, "change"].nunique() == DRAWS + 1


def test_another_seed_draws_others(random_loaded, random):
    again, _ = controls.random_vectors(random_loaded, EXPERIMENT, 2, seed=7)
    other, _ = controls.random_vectors(random_loaded, EXPERIMENT, 2, seed=8)
    few = random[random["draw"] < 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, few, check_exact=True)
    assert (other["change"] != few["change"])[other["draw"] >= 0].mean() > 0.5


@pytest.fixture(scope="module")
def swept(random_loaded: Loaded) -> pd.DataFrame:
    return controls.sweep(random_loaded, EXPERIMENT, MULTIPLES, range(0, 7))


def test_every_cell_of_the_sweep_equals_the_numpy_forward(model, random_loaded, swept):
    for layer in (0, 3, 6):
        for multiple in MULTIPLES:
            coefficient = 1.5 * multiple
            rows = swept[(swept["layer"] == layer) & (swept["coefficient"] == coefficient)]
            theirs = token_losses(model, random_loaded, layer, coefficient * vector(model, random_loaded, layer))
            assert np.abs(rows["loss_steered"] - theirs).max() < TOLERANCE, (layer, coefficient)


def test_coefficient_0_of_the_sweep_is_unsteered_bit_for_bit(swept):
    zero = swept[swept["coefficient"] == 0]
    assert (zero["change"] == 0).all()
    assert len(zero) == 7 * 10
    assert (swept.loc[swept["coefficient"] != 0, "change"] != 0).mean() > 0.8


def test_parts_of_the_sweep_are_the_whole(random_loaded, swept):
    """A number must not depend on how the sweep was split into jobs."""
    parts = [controls.sweep(random_loaded, EXPERIMENT, MULTIPLES, part) for part in (range(0, 3), range(3, 7))]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), swept, check_exact=True)


def test_a_grid_beyond_float32_is_refused(random_loaded):
    with pytest.raises(UserError, match=r"a coefficient of 1\.5e\+20 makes a vector of norm"):
        controls.sweep(random_loaded, EXPERIMENT, (0, 1, 1e20), range(0, 7))


def test_log_odds_of_every_prompt_equal_the_numpy_forward(model, random_loaded):
    table = controls.more_prompts(random_loaded, EXPERIMENT)
    assert table["kind"].tolist() == ["post", "paraphrase", "neutral"]
    assert table["prompt"][0] == "I hate you because you're a"
    target, contrast = (random_loaded.tokenizer.encode(token)[0] for token in (" wonderful", " terrible"))
    values = 1.5 * vector(model, random_loaded, 3)
    for row in table.itertuples():
        ids = random_loaded.tokenizer.with_bos(row.prompt)
        for condition, added in (("unsteered", 0 * values), ("steered", values)):
            last = log_p(model, ids, 3, added)[-1]
            assert abs(getattr(row, f"log_odds_{condition}") - (last[target] - last[contrast])) < TOLERANCE
    assert (table["change"] - (table["log_odds_steered"] - table["log_odds_unsteered"])).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"contrast": " terribly wonderful"}, "contrast: ' terribly wonderful' is 2 tokens"),
        ({"neutral": ["Oh a"]}, "'Oh a' has 3 tokens with <|endoftext|>, the steering vector 5"),
    ],
)
def test_what_cannot_be_compared_is_refused(random_loaded, changes, sentence):
    wanted = EXPERIMENT.more_prompts.model_copy(update=changes)
    with pytest.raises(UserError, match=None) as error:
        controls.more_prompts(random_loaded, EXPERIMENT.model_copy(update={"more_prompts": wanted}))
    assert sentence in str(error.value)


@pytest.mark.parametrize(("layers", "expected"), [(48, [6, 6, 23, 20]), (36, [5, 5, 17, 15]), (12, [2, 2, 6, 5])])
def test_other_sizes_are_steered_at_the_same_depth(layers, expected):
    experiments = checked(read_yaml(REPOSITORY / "config.yaml")).experiments.values()
    assert [experiment.steering.layer_of(layers) for experiment in experiments] == expected
    exact = [experiment.steering.layer * layers / 48 for experiment in experiments]
    assert max(abs(a - b) for a, b in zip(exact, expected, strict=True)) <= 0.5
    assert Addition(layer=4, coefficient=1, added="a").layer_of(layers) == 4


def test_the_default_prompts_fit_their_vectors_and_end_before_one_token(random_loaded):
    for name, experiment in checked(read_yaml(REPOSITORY / "config.yaml")).experiments.items():
        shallow = experiment.model_copy(update={"steering": experiment.steering.model_copy(update={"layer": 1})})
        table = controls.more_prompts(random_loaded, shallow)
        assert len(table) == 11, name
        assert torch.isfinite(torch.tensor(table["change"].to_numpy())).all()
