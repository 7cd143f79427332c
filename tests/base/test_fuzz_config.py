"""Any configuration is read as it stands there, or refused in one sentence."""

import copy
import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz import accepted, both_profiles, profile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from replication.base.config import checked, checked_experiment, checked_model
from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.workflow import snakefile as workflow
from replication.workflow.jobs import as_json

BASE: dict[str, Any] = {
    "model": "hub",
    "numerics": "fast",
    "device": "cpu",
    "only": ["love"],
    "run_name": "a-run",
    "pin_despite": "a-set,another",
    "pin_uncommitted": False,
    "controls": {
        "random_vectors": 3, "seed": 0, "more_prompts": True, "sweep": False, "sweep_multiples": [0, 1],
        "sweep_jobs": 2,
    },
    "models": {
        "hub": {
            "note": "a note",
            "weights": {
                "repo": "owner/model", "repo_type": "model", "revision": "a" * 40, "path": "",
                "sha256": {"model.safetensors": "0" * 64, "config.json": None}, "bytes": {"config.json": 7},
            },
            "lens": {"repo": "owner/lens", "repo_type": "space", "revision": "b" * 40, "path": "lens/x",
                     "sha256": {"params.pt": "1" * 64}},
        },
        "local": {"folder": "/data/model", "lens_folder": "lens"},
    },
    "experiments": {
        "love": {
            "number": 1, "title": "Love", "prompt": "I hate you because", "original_prompt": "I hate",
            "steering": {"layer": 6, "scaled_from": 48, "coefficient": 5.0, "added": "Love", "subtracted": "Hate",
                         "padding": ".", "position": 2},
            "key_tokens": [" hate"],
            "completions": {"prompt": "I hate", "number": 2, "tokens": 5, "temperature": 0.5, "top_p": 0.9,
                            "frequency_penalty": 1.0, "seed": 3},
            "more_prompts": {"target": " hate", "contrast": " love", "paraphrases": ["I"], "neutral": ["He"]},
        },
        "several": {
            "title": "Several", "prompt": "I hate you because",
            "steering": [
                {"layer": 7, "coefficient": 1.0, "vector": "v.safetensors", "positions": [1, 4]},
                {"layer": 3, "coefficient": 2.0, "subtracted": "Hate"},
            ],
        },
    },
}  # fmt: skip
"""A configuration with every key there is."""


def places(part: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and list place in a configuration, as a path from the top."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


PLACES = list(places(BASE))

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(min_value=10**15, max_value=10**400), st.floats(),
    st.text(max_size=20), st.binary(max_size=5), st.dates(),
    st.sampled_from(["", " ", "\0", "\ud800", "\u202e", "../x"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=5
)


def inside(config: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        config = config[key]
    return config


def kept(config: Any, place: tuple[Any, ...]) -> Any:
    """What stands at a place of the checked configuration; a dump leaves later keys out at their defaults."""
    for key in place:
        config = getattr(config, str(key)) if isinstance(config, BaseModel) else config[key]
    return TypeAdapter(Any).dump_python(config)


def test_the_base_is_accepted_and_has_every_key():
    schema = json.loads((REPOSITORY / "replication" / "base" / "config.schema.json").read_text(encoding="utf-8"))
    keys = {key for part in (schema, *schema["$defs"].values()) for key in part["properties"]}
    assert keys <= {place[-1] for place in PLACES}
    assert accepted(lambda: checked(BASE))


@both_profiles
@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_any_value_at_any_key_is_kept_or_refused(place, factor):
    @profile(6 * factor)
    @given(VALUES)
    def attempt(value: Any) -> None:
        config = copy.deepcopy(BASE)
        inside(config, place[:-1])[place[-1]] = value
        check_both_ways(config)
        if result := accepted(lambda: checked(config)):
            same(kept(result, place), value)
            jobs_read_the_same(config)

    attempt()


def same(kept: Any, value: Any) -> None:
    """Nothing is converted: what was accepted is what stood there, with defaults for what did not."""
    if isinstance(value, dict):
        assert all(kept[key] == (tuple(part) if isinstance(part, list) else part) for key, part in value.items())
    else:
        assert kept == (tuple(value) if isinstance(value, list) else value)
        assert isinstance(kept, bool) == isinstance(value, bool)


def jobs_read_the_same(config: dict[str, Any]) -> None:
    """What a job is handed on its command line is what was checked."""
    for kind, read in (("experiments", checked_experiment), ("models", checked_model)):
        for name, part in config[kind].items():
            text = shlex.split(shlex.quote(as_json(part)))[0]
            assert read(name, json.loads(text)) == read(name, part)


def check_both_ways(config: dict[str, Any]) -> None:
    """The schema, which checks where Snakemake stands alone, ends in a sentence too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "find_spec", lambda _: None)
        accepted(lambda: workflow.check(config, []))


@both_profiles
def test_a_missing_extra_or_renamed_key_is_refused_or_optional(factor):
    # What maps names of one's own.
    free = [("models",), ("experiments",), ("sha256",), ("bytes",)]
    required = {"model", "models", "experiments", "title", "prompt", "steering", "layer", "coefficient", "repo",
                "revision", "sha256", "weights", "lens", "folder", "lens_folder", "target",
                "contrast"}  # fmt: skip

    @profile(30 * factor)
    @given(st.sampled_from(PLACES), st.text(max_size=12), st.sampled_from(["missing", "extra", "renamed"]))
    def attempt(place: tuple[Any, ...], name: str, change: str) -> None:
        config = copy.deepcopy(BASE)
        part = inside(config, place[:-1])
        if not isinstance(part, dict) or name in part or place[-2:-1] in free:
            return
        value = part[place[-1]]
        if change != "extra":
            del part[place[-1]]
        if change != "missing":
            part[name] = value
        check_both_ways(config)
        result = accepted(lambda: checked(config))
        # An experiment's prompt is required; completions are of that one where they name none.
        optional = place[-1] not in required or place[-2:] == ("completions", "prompt")
        assert result is None or (change == "missing" and optional)

    attempt()


SURPRISES = {
    # What stands there: what would be right, or the sentence.
    "prompt: no": "should be a valid string, found False; put it in quotes",
    "prompt: 2023-07-01": "should be a valid string, found datetime.date(2023, 7, 1); put it in quotes",
    "prompt: ~": "should be a valid string, found None; put it in quotes",
    "prompt: 9/11": "9/11",
    "prompt: 'no'": "no",
    "prompt: *unknown": "not valid YAML",
    "prompt: &a [*a]": "should be a valid string",
    "prompt: !!binary aGVsbG8=": "should be a valid string",
    "prompt: !!python/object/apply:os.system ['true']": "not valid YAML",
    "prompt: !unknown x": "not valid YAML",
    "prompt: {a: b}": "should be a valid string",
    "prompt: 'a'\n  prompt: 'b'": "line 3: the key 'prompt' is defined twice; remove one",
    "steering: {layer: 1e3}": "YAML reads 1e3 as text",
    "steering: {layer: 010}": "line 2: YAML reads 010 as 8; write a plain decimal number",
    "steering: {layer: 1:30}": "line 2: YAML reads 1:30 as 90; write a plain decimal number",
    "steering: {layer: 1_0}": "line 2: YAML reads 1_0 as 10; write a plain decimal number",
    "steering: {layer: 0b11}": "line 2: YAML reads 0b11 as 3; write a plain decimal number",
    "steering: {coefficient: 1:30.5}": "line 2: YAML reads 1:30.5 as 90.5; write a plain decimal number",
    "steering: {coefficient: 1e3}": "YAML reads 1e3 as text",
    "steering: {coefficient: 1.0e+3}": "1000.0",
    "steering: {coefficient: .inf}": "should be a finite number, found inf",
    "steering: {coefficient: 1e400}": "YAML reads 1e3 as text",
    "steering: {coefficient: -5}": "-5.0",
    "steering: {layer: " + "9" * 5000 + "}": "Exceeds the limit",
    "title: !!timestamp 2023-99-99": "not valid YAML",
    "title: 2023-99-99": "not valid YAML",
    "steering: &s {layer: 1, coefficient: 2, added: a}": ", 1, 2.0",
    "steering: {<<: {layer: 3}, layer: 4}": ", 4, 5.0",
    "steering: {<<: 3}": "not valid YAML",
    "? [a, b]\n  : c": "not valid YAML",
    "[a]: c": "not valid YAML",
    "1: c": "experiments.love: the key 1 is not text; put it in quotes",
    "no: c": "experiments.love: the key False is not text; put it in quotes",
    "title: " + "[" * 2000: "not valid YAML",
    "title: \x07": "not valid YAML",
    "\ttitle: x": "not valid YAML",
}


@pytest.mark.parametrize(("text", "said"), SURPRISES.items(), ids=[text[:40] for text in SURPRISES])
def test_a_surprise_of_yaml_is_taken_as_it_looks_or_refused(tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(f"love:\n  {text}\n", encoding="utf-8")
    assert said in result_of(file), result_of(file)


def result_of(file: Path) -> str:
    """What came of an experiment's keys in a file: the sentence, or its prompt, layer and coefficient."""
    config = copy.deepcopy(BASE)
    try:
        for key, value in workflow.read_yaml(file)["love"].items():
            old = config["experiments"]["love"].get(key)
            config["experiments"]["love"][key] = old | value if isinstance(old, dict) else value
        experiment = checked(config).experiments["love"]
    except UserError as error:
        return str(error)
    return f"{experiment.prompt}, {experiment.steering.layer}, {experiment.steering.coefficient}"


@both_profiles
def test_any_text_is_yaml_or_refused(tmp_path, factor):
    pieces = st.sampled_from(
        ["a", ": ", "- ", "\n", "  ", "&a ", "*a", "<<: ", "{", "}", "[", "]", "'", '"', "!!", "|", "?", "~", "1e3",
         "no", "010", "#", "%", "@", "\t", "2023-13-01", "!!int ", "!!float x", "\ufeff"]
    )  # fmt: skip

    @profile(100 * factor)
    @given(st.lists(pieces | st.characters(codec="utf-8"), max_size=25).map("".join) | st.binary(max_size=30))
    def attempt(text: str | bytes) -> None:
        file = tmp_path / "any.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        value = accepted(lambda: workflow.read_yaml(file))
        if value is not None:
            accepted(lambda: checked(value))

    attempt()


@both_profiles
def test_what_is_written_as_yaml_reads_back_as_it_was(tmp_path, factor):
    numbers = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)

    @profile(50 * factor)
    @given(st.dictionaries(st.text(max_size=8), numbers | st.text(max_size=20) | st.none() | st.booleans(), max_size=4))
    def attempt(values: dict[str, Any]) -> None:
        file = tmp_path / "written.yaml"
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        assert workflow.read_yaml(file) == values
        assert all(not isinstance(v, float) or math.copysign(1, v) == math.copysign(1, values[k])
                   for k, v in workflow.read_yaml(file).items())  # fmt: skip

    attempt()
