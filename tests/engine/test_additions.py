"""Lists of additions, places, padding, one side alone, vectors from files: against numpy and by definition."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy_gpt2 import NumpyGPT2, lens_log_p
from pydantic import ValidationError
from safetensors.numpy import save_file

from replication.base import tables
from replication.base.addition import Addition
from replication.base.config import Experiment, MorePrompts
from replication.base.errors import UserError
from replication.base.recorded import additions, vectors_in_words
from replication.engine import controls
from replication.engine.loaded import Loaded
from replication.engine.measure import Measurement, measure
from replication.engine.second_opinion import second_opinion
from replication.engine.sides import check

PROMPT = "I hate you because you're a wonderful person"
BOS = "<|endoftext|>"
LOVE = {"layer": 3, "coefficient": 1.5, "added": "Love", "subtracted": "Hate"}
CALM = {"layer": 5, "coefficient": -2, "added": "Anger", "subtracted": "I hate him because"}


def experiment(*steering: dict, prompt: str = PROMPT, **more: object) -> Experiment:
    return Experiment(title="test", prompt=prompt, steering=list(steering), key_tokens=(" wonderful",), **more)


def tokens(loaded: Loaded, text: str, length: int, padding: str) -> list[int]:
    ids = loaded.tokenizer.with_bos(text)
    return ids + loaded.tokenizer.encode(padding) * (length - len(ids))


def as_the_authors_add(loaded: Loaded, steering: list[dict]) -> list[tuple]:
    """Every side of every addition, as `NumpyGPT2.added` takes it."""
    sides = []
    for addition in steering:
        texts = {name: addition[name] for name in ("added", "subtracted") if name in addition}
        length = max(len(loaded.tokenizer.with_bos(text)) for text in texts.values())
        place = addition.get("position", "front")
        for name, text in texts.items():
            ids = tokens(loaded, text, length, addition.get("padding", " "))
            factor = addition["coefficient"] * (1 if name == "added" else -1)
            sides.append((ids, factor, addition["layer"], "mid" if place == "middle" else place))
    return sides


CASES = {
    "two layers": [LOVE, CALM],
    "two at one layer": [LOVE, {**CALM, "layer": 3}],
    "the higher first": [CALM, LOVE],
    "three, the first and last layer": [{**LOVE, "layer": 0}, CALM, {**LOVE, "layer": 6, "position": "back"}],
    "middle": [{**CALM, "position": "middle"}],
    "back": [{**LOVE, "position": "back"}],
    "a number": [{**LOVE, "position": 4}],
    "the last number": [{**LOVE, "position": 7}],
    "added alone": [{"layer": 2, "coefficient": 3, "added": "Love"}],
    "subtracted alone": [{"layer": 2, "coefficient": 3, "subtracted": "Hate"}],
    "padded with bos": [{**LOVE, "padding": BOS}],
    "empty side, padded with bos": [{**LOVE, "subtracted": "", "padding": BOS}],
}


@pytest.fixture(scope="module")
def reference(miniature: Loaded) -> NumpyGPT2:
    return NumpyGPT2(miniature.files.folder, heads=miniature.gpt2.config.n_head)


@pytest.fixture(scope="module")
def of_case(miniature: Loaded) -> Callable[[str], Measurement]:
    """Measures a case once for all that is asked of it."""
    return cache(lambda case: measure(miniature, experiment(*CASES[case])))


@pytest.mark.parametrize("case", CASES)
def test_every_lens_row_equals_the_authors_rule_in_numpy(miniature, reference, of_case, case):
    measured = of_case(case)
    ids = miniature.tokenizer.with_bos(PROMPT)
    stream = reference.added(ids, as_the_authors_add(miniature, CASES[case]))
    log_p = lens_log_p(reference, stream, miniature.files.lens_folder, centre=False)
    targets = [*ids[1:], miniature.tokenizer.bos]
    expected = -log_p[:, np.arange(len(ids)), targets]
    steered = measured.losses.query("protocol == 'raw' and condition == 'steered'")["loss"].to_numpy()
    difference = np.abs(steered.reshape(expected.shape) - expected)
    assert difference.max() < 1e-4, np.unravel_index(difference.argmax(), difference.shape)


@pytest.mark.parametrize("case", CASES)
def test_position_0_keeps_its_bits_where_two_sides_start_there(of_case, case):
    """Or where nothing is added there at all."""
    measured = of_case(case)
    first = measured.losses[measured.losses["position"] == 0]
    both = [first[first["condition"] == name]["loss"].to_numpy() for name in tables.CONDITIONS]
    assert (both[0] == both[1]).all() == ("alone" not in case)


def test_one_addition_in_a_list_is_that_addition(miniature):
    one = Experiment(title="test", prompt=PROMPT, steering=LOVE)
    assert Experiment(title="test", prompt=PROMPT, steering=[LOVE]) == one
    assert one.additions == (one.steering,)


def test_later_keys_at_their_defaults_are_in_no_record():
    """Records and pins of before stay as they are."""
    assert Addition(**LOVE, position="front", padding=" ", vector=None).model_dump() == {
        "layer": 3, "scaled_from": None, "coefficient": 1.5, "added": "Love", "subtracted": "Hate",
    }  # fmt: skip
    assert Addition(**LOVE, position=2).model_dump()["position"] == 2


def test_the_record_has_each_addition_and_the_lowest_layer(miniature):
    record = measure(miniature, experiment(CALM, {**LOVE, "position": "back"})).record
    assert [each["injection"] for each in record["additions"]] == [
        {"block": 5, "positions": [0, 1, 2, 3, 4]},
        {"block": 3, "positions": [7, 8, 9]},
    ]
    assert record["injection"] == {"block": 3, "positions": [0, 1, 2, 3, 4, 7, 8, 9]}
    assert "added" not in record
    assert len(record["norms"]["vector"]) == 8
    assert record["norms"]["vector"][:5] == record["additions"][0]["norms"]["vector"]
    assert additions(record)[1]["steering"]["position"] == "back"


def test_a_side_that_is_left_out_is_not_in_the_record(miniature):
    record = measure(miniature, experiment({"layer": 2, "coefficient": 3, "subtracted": "Hate"})).record
    assert "added" not in record
    assert record["padding"] == {"token": " ", "id": 220, "subtracted": 0}
    assert record["norms"]["vector"][0] > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"position": 8}, "steering.position: 8 is too large; prompt: .* takes this vector of 3 rows at 0 to 7"),
        ({"padding": "two words"}, "steering.padding: 'two words' is 7 tokens of this tokenizer; it must be one"),
        ({"added": " a" * 12}, "prompt: .* has 10 tokens with <.endoftext.>, the steering vector 13; the prompt must"),
    ],
)
def test_what_does_not_fit_is_one_sentence(miniature, change, sentence):
    with pytest.raises(UserError, match=sentence):
        check(miniature.tokenizer, miniature.gpt2.config, experiment({**LOVE, **change}))


def test_a_sentence_says_which_of_several_does_not_fit(miniature):
    with pytest.raises(UserError, match=r"^steering\.1\.position: 8"):
        check(miniature.tokenizer, miniature.gpt2.config, experiment(CALM, {**LOVE, "position": 8}))


@pytest.mark.parametrize(
    ("steering", "sentence"),
    [
        ({**LOVE, "position": "mid"}, "should be front, middle, back or a position counted from 0, found 'mid'"),
        ({**LOVE, "position": -1}, "should be front, middle, back or a position"),
        ({**LOVE, "position": True}, "should be front, middle, back or a position"),
        ({**LOVE, "vector": "v.safetensors"}, "vector: a file replaces"),
        ({**LOVE, "positions": [1]}, "positions: give them only with a 'vector'"),
        ({"layer": 1, "coefficient": 1, "vector": "v", "positions": [1, 1]}, "positions: a value occurs twice"),
        ({"layer": 1, "coefficient": 1}, "needs a text in 'added' or in 'subtracted'"),
        ({"layer": 1, "coefficient": 1, "added": ""}, "needs a text in 'added' or in 'subtracted'"),
        ([], "at least 1 item"),
    ],
)
def test_what_cannot_be_an_addition_is_refused(steering, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Experiment(title="test", prompt=PROMPT, steering=steering)


def saved(measured: Measurement, path) -> dict:
    """The first vector of a run in a file, and an addition that reads it."""
    save_file({"vector": measured.vectors[0].difference.numpy()}, path)
    return {"layer": measured.vectors[0].layer, "coefficient": LOVE["coefficient"], "vector": str(path)}


def test_a_vector_saved_and_read_again_gives_the_same_bits(miniature, tmp_path):
    measured = measure(miniature, experiment(LOVE))
    again = measure(miniature, experiment(saved(measured, tmp_path / "v.safetensors")))
    assert again.losses.equals(measured.losses)
    assert again.record["vector"]["shape"] == [3, 64]
    assert len(again.record["vector"]["sha256"]) == 64


def test_a_vector_of_one_row_is_added_everywhere_but_at_bos_or_where_it_is_said(miniature, reference, tmp_path):
    row = reference.w["wte.weight"][77].astype("float32")
    save_file({"vector": row}, tmp_path / "v.safetensors")
    addition = {"layer": 4, "coefficient": 3, "vector": str(tmp_path / "v.safetensors")}
    ids = miniature.tokenizer.with_bos(PROMPT)
    for where, positions in (({}, range(1, 10)), ({"positions": [6, 2]}, (2, 6))):

        def inject(x, positions=positions):
            x = x.copy()
            for position in positions:
                x[position] += 3 * row.astype("float64")
            return x

        measured = measure(miniature, experiment({**addition, **where}))
        assert measured.record["injection"]["positions"] == list(positions)
        log_p = reference.log_p(reference.stream(ids, {4: inject})[-1])
        expected = -log_p[np.arange(len(ids)), [*ids[1:], miniature.tokenizer.bos]]
        output = measured.losses.query("protocol == 'raw' and condition == 'steered' and layer == 'output'")
        assert np.abs(output["loss"].to_numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"vector": np.ones((2, 63), "float32")}, r"float32 of shape \(2, 63\); this model needs float32 of shape"),
        ({"vector": np.ones((2, 64), "float64")}, "holds a float64"),
        ({"vector": np.ones((1, 2, 64), "float32")}, "this model needs"),
        ({"vector": np.full((2, 64), np.nan, "float32")}, "holds NaN"),
        ({"other": np.ones((2, 64), "float32")}, "holds other, and no tensor 'vector'"),
        ({"vector": np.ones((11, 64), "float32")}, "the steering vector 11; the prompt must not be shorter"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_vector_for_this_model_is_one_sentence(miniature, tmp_path, tensors, sentence):
    path = tmp_path / "v.safetensors"
    save_file(tensors, path) if tensors else path.write_bytes(b"nothing of the kind")
    addition = {"layer": 4, "coefficient": 3, "vector": str(path)}
    with pytest.raises(UserError, match=sentence):
        check(miniature.tokenizer, miniature.gpt2.config, experiment(addition))


def test_the_second_opinion_adds_the_same(miniature, tmp_path):
    file = saved(measure(miniature, experiment(LOVE)), tmp_path / "v.safetensors")
    names = ("two at one layer", "three, the first and last layer", "subtracted alone", "padded with bos")
    cases = [*(CASES[name] for name in names), [{**file, "position": "middle"}, CALM]]
    results = {str(place): measure(miniature, experiment(*case)) for place, case in enumerate(cases)}
    files = miniature.files
    records = {name: result.record for name, result in results.items()}
    opinion = second_opinion(files.folder, files.lens_folder, records)
    for name, result in results.items():
        ours = result.losses[result.losses["protocol"] == "raw"]["loss"].to_numpy()
        theirs = opinion[opinion["experiment"] == name]["loss"].to_numpy()
        assert np.abs(ours - theirs).max() < 1e-4, cases[int(name)]


def test_random_vectors_have_a_direction_per_addition_and_position(miniature):
    plans = check(miniature.tokenizer, miniature.gpt2.config, experiment(LOVE, CALM))
    vectors = controls.steering_vectors(miniature.gpt2, plans, 10, "prompt")
    draws = list(controls.random_directions(vectors, 2, seed=0))
    for drawn in draws:
        for each, own in zip(drawn, vectors, strict=True):
            assert (each.layer, each.positions) == (own.layer, own.positions)
            np.testing.assert_allclose(each.values.norm(dim=-1), own.values.norm(dim=-1), rtol=1e-6)
    rows = np.concatenate([each.values[1:] for drawn in draws for each in drawn])
    directions = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    assert np.abs(np.triu(directions @ directions.T, 1)).max() < 0.9
    alone = next(controls.random_directions(vectors[:1], 1, seed=0))
    assert (alone[0].values == draws[0][0].values).all()


def output_losses(measured: Measurement) -> np.ndarray:
    rows = measured.losses.query("protocol == 'raw' and condition == 'steered' and layer == 'output'")
    return rows["loss"].to_numpy()


def test_the_sweep_multiplies_all_coefficients_and_moves_what_is_at_one_layer(miniature):
    together = experiment(LOVE, {**CALM, "layer": 3, "position": "back"})
    swept = controls.sweep(miniature, together, [0, 1, 2], range(7))
    assert set(swept["layer"]) == set(range(7))
    moved = [{**each, "layer": 5, "coefficient": 2 * each["coefficient"]} for each in (LOVE, CALM)]
    expected = output_losses(measure(miniature, experiment(moved[0], {**moved[1], "position": "back"})))
    cell = swept[(swept["layer"] == 5) & (swept["coefficient"] == 3.0)]
    np.testing.assert_allclose(cell["loss_steered"], expected, atol=1e-5)


def test_with_several_layers_the_sweep_is_over_coefficients_alone(miniature):
    apart = experiment(LOVE, CALM)
    swept = controls.sweep(miniature, apart, [0, 1, 2], range(7))
    assert set(swept["layer"]) == {3}
    assert sorted(set(swept["coefficient"])) == [0, 1.5, 3]
    doubled = [{**each, "coefficient": 2 * each["coefficient"]} for each in (LOVE, CALM)]
    expected = output_losses(measure(miniature, experiment(*doubled)))
    np.testing.assert_allclose(swept[swept["coefficient"] == 3]["loss_steered"], expected, atol=1e-5)
    # A part of the layers in which the lowest is not has nothing to sweep.
    assert controls.sweep(miniature, apart, [0, 1, 2], range(4, 7)).empty


def test_other_prompts_get_the_vectors_at_their_own_places(miniature):
    others = MorePrompts(target=" wonderful", contrast=" terrible", neutral=("My new neighbor is a",))
    steering = {**LOVE, "position": "back"}, {**CALM, "position": "middle"}
    table = controls.more_prompts(miniature, experiment(*steering, more_prompts=others))
    text = "My new neighbor is a"
    row = table[table["prompt"] == text].iloc[0]
    for target, sign in ((" wonderful", 1), (" terrible", -1)):
        measured = measure(miniature, Experiment(title="t", prompt=text + target, steering=list(steering)))
        assert measured.record["prompt"]["tokens"][-1] == target, sign
    reference = NumpyGPT2(miniature.files.folder, heads=miniature.gpt2.config.n_head)
    ids = miniature.tokenizer.with_bos(text)
    log_p = reference.log_p(reference.added(ids, as_the_authors_add(miniature, list(steering)))[-1, -1])
    pair = [miniature.tokenizer.encode(token)[0] for token in (" wonderful", " terrible")]
    assert row["log_odds_steered"] == pytest.approx(log_p[pair[0]] - log_p[pair[1]], abs=1e-4)


@pytest.mark.parametrize(
    ("steering", "words"),
    [
        ([LOVE], "1.5 × (Love − Hate) added before block 3"),
        ([{"layer": 2, "coefficient": 3, "added": "Love"}], "3 × Love added before block 2"),
        ([{"layer": 2, "coefficient": 3, "subtracted": "Hate"}], "−3 × Hate added before block 2"),
        (
            [{**LOVE, "position": 4}, CALM],
            "1.5 × (Love − Hate) added before block 3 at positions 4 to 6, then −2 × (Anger − I hate him because) "
            "added before block 5",
        ),
    ],
)
def test_what_was_added_in_words(miniature, steering, words):
    assert vectors_in_words(measure(miniature, experiment(*steering)).record, str) == words
