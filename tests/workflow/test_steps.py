"""The steps: that each hands its engine what it was given, and writes what came back where it belongs."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from replication.base import tables
from replication.base.addition import Addition
from replication.base.config import Experiment
from replication.base.errors import UserError
from replication.base.files import read_json, write_json
from replication.base.paths import (
    COMPLETIONS,
    COMPLETIONS_RECORD,
    LOSSES,
    RECORD,
    SECOND_OPINION,
    SWEEP,
    SWEEP_PART,
    VERIFIED,
    path,
)
from replication.base.sampling import Completions
from replication.engine import controls
from replication.engine.completed import complete
from replication.engine.loaded import Loaded
from replication.engine.measure import measure
from replication.engine.sides import check
from replication.weights.model_files import stamp
from replication.workflow.cli import app

EXPERIMENT = Experiment(
    title="test",
    prompt="I hate you because",
    steering=Addition(layer=3, coefficient=2, added="Love", subtracted="Hate"),
)
ARITHMETIC = ("--numerics", "portable", "--device", "cpu", "--threads", "1")
COLUMNS = dict.fromkeys(tables.SWEEP, 0) | {"target_token": "x", "key": False}


@pytest.fixture
def verified(random_loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """A working folder with the stamp of the random model `m`, of seven layers."""
    monkeypatch.chdir(tmp_path)
    write_json(path(VERIFIED, "m"), stamp(random_loaded.files, None, []))
    return random_loaded


def step(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["step", *arguments])
    assert result.exit_code == 0, result.exception


def test_the_second_opinion_reads_no_number_of_ours(verified: Loaded) -> None:
    """With a table of other numbers in place of ours it is tuned-lens' all the same."""
    found = measure(verified, EXPERIMENT)
    write_json(path(RECORD, "m", "e"), found.record)
    tables.write(found.losses.assign(loss=77.0, entropy=88.0), tables.LOSSES, path(LOSSES, "m", "e"))
    step("second_opinion", "m", "e", *ARITHMETIC)
    opinion = tables.read(path(SECOND_OPINION, "m"), tables.SECOND_OPINION)
    raw = found.losses[found.losses["protocol"] == "raw"].reset_index(drop=True)
    for name in ("loss", "entropy"):
        assert (opinion[name] - raw[name]).abs().max() < 1e-4
    assert set(opinion["experiment"]) == {"e"}


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_the_parts_of_a_sweep_are_all_layers_once(
    verified: Loaded, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    given: list[tuple[list[float], list[int]]] = []

    def sweep(_: Loaded, __: Experiment, multiples: list[float], layers: range) -> pd.DataFrame:
        given.append((list(multiples), list(layers)))
        return pd.DataFrame([COLUMNS | {"layer": layer} for layer in layers])

    monkeypatch.setattr(controls, "sweep", sweep)
    settings = ("--settings", EXPERIMENT.model_dump_json(), "--control-settings", '{"sweep_multiples": [0, 1, 9]}')
    for part in range(parts):
        step("sweep_part", "m", "e", *settings, "--part", str(part), "--parts", str(parts), *ARITHMETIC)
    step("join_sweep", "m", "e", "--parts", str(parts))
    assert [layer for _, layers in given for layer in layers] == list(range(7))
    assert all(multiples == [0, 1, 9] for multiples, _ in given)
    assert list(tables.read(path(SWEEP, "m", "e"), tables.SWEEP)["layer"]) == list(range(7))


def test_the_parts_of_a_sweep_are_joined_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of their names, in which 10 comes before 2."""
    monkeypatch.chdir(tmp_path)
    for part in range(12):
        file = Path(SWEEP_PART.format(model="m", experiment="e", part=part, parts=12))
        tables.write(pd.DataFrame([COLUMNS | {"layer": part}]), tables.SWEEP, file)
    step("join_sweep", "m", "e", "--parts", "12")
    assert list(tables.read(path(SWEEP, "m", "e"), tables.SWEEP)["layer"]) == list(range(12))


def test_controls_are_given_their_own_settings_and_every_layer(
    verified: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[object]] = {}
    for name, columns in (("random_vectors", tables.RANDOM_VECTORS), ("sweep", tables.SWEEP)):

        def made(*arguments: object, name: str = name, columns: dict[str, str] = columns) -> pd.DataFrame:
            given[name] = [list(each) if isinstance(each, range | tuple) else each for each in arguments[2:]]
            table = pd.DataFrame([{**COLUMNS, "draw": 0}])
            by_layer = table.assign(layer="0")[list(tables.RANDOM_BY_LAYER)]
            return (table[list(columns)], by_layer) if name == "random_vectors" else table[list(columns)]

        monkeypatch.setattr(controls, name, made)
    wanted = json.dumps({"random_vectors": 5, "seed": 6, "sweep_multiples": [0, 1, 4]})
    settings = ("--settings", EXPERIMENT.model_dump_json(), "--control-settings", wanted)
    step("controls", "m", "e", *settings, "--table=random_vectors", "--table=sweep", *ARITHMETIC)
    assert given == {"random_vectors": [5, 6], "sweep": [[0, 1, 4], list(range(7))]}


def test_completions_are_those_of_their_settings(verified: Loaded) -> None:
    asked = EXPERIMENT.model_copy(update={"completions": Completions(prompt="I hate you", number=2, tokens=5, seed=4)})
    step("completions", "m", "e", "--settings", asked.model_dump_json(), *ARITHMETIC)
    found, record = complete(verified, asked), read_json(path(COMPLETIONS_RECORD, "m", "e"))
    pd.testing.assert_frame_equal(tables.read(path(COMPLETIONS, "m", "e"), tables.COMPLETIONS), found.table)
    assert record == found.record
    assert record["prompt"] == {
        "text": "I hate you",
        "ids": [50256, 40, 5465, 345],
        "tokens": ["<|endoftext|>", "I", " hate", " you"],
    }
    assert record["injections"] == [{"block": 3, "positions": [0, 1, 2]}]
    for condition, texts in record["texts"].items():
        own = found.table[found.table["condition"] == condition]
        assert len(texts) == 2
        for number, text in enumerate(texts):
            ids = own.loc[own["number"] == number, "token_id"]
            assert text == verified.tokenizer.joined(ids)
            assert list(own.loc[own["number"] == number, "place"]) == list(range(len(ids)))


def test_a_prompt_that_leaves_no_room_or_is_too_short_is_said_before_the_weights_are_read(
    random_loaded: Loaded,
) -> None:
    def fault(prompt: str) -> str:
        asked = EXPERIMENT.model_copy(update={"completions": Completions(prompt=prompt)})
        with pytest.raises(UserError) as caught:
            check(random_loaded.tokenizer, random_loaded.gpt2.config, asked)
        return str(caught.value)

    assert fault("a" + " a" * 62).startswith("completions.prompt: 'a a")
    assert fault("a" + " a" * 62).endswith(
        "64 tokens with <|endoftext|> leave no room for a completion; this model's context is 64"
    )
    assert fault("I").startswith("completions.prompt: 'I' has 2 tokens with <|endoftext|>, the steering vector 3")


def test_a_character_that_is_split_over_tokens_is_whole_in_a_text(random_loaded: Loaded) -> None:
    tokenizer = random_loaded.tokenizer
    ids = tokenizer.encode("日本\0 it’s")
    assert "日" not in "".join(map(tokenizer.text, ids)), "it is split"
    assert tokenizer.joined(ids) == "日本\\x00 it’s"
    assert tokenizer.joined(ids[:1]) == tokenizer.text(ids[0])
