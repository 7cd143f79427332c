"""The configuration: what is accepted, and the sentence for what is not."""

import copy
import json
import math
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
from pydantic import TypeAdapter

from replication.base import config as config_module
from replication.base.config import Controls, checked, schema
from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.base.posts import NUMBERS, POSTS, place_in_post
from replication.base.strict_yaml import read_yaml
from replication.workflow import snakefile
from replication.workflow.options import options
from replication.workflow.snakefile import check, check_targets, complete

SHIPPED = read_yaml(REPOSITORY / "config.yaml")

# The post's four x-vectors, from the text of the post (facts of 2023-07-01): layer, coefficient, added, subtracted.
POST = {
    "love_hate": (1, 6, 5, "Love", "Hate"),
    "intent_to_praise": (2, 6, 15, "Intent to praise", "Intent to hurt"),
    "conspiracy": (3, 23, 1, "Bush did 9/11 because", "      "),
    "anger": (5, 20, 10, "Anger", "Calm"),
}


def changed(path: str, value: object) -> dict:
    """The shipped configuration with one value replaced; keys of `path` are separated by slashes."""
    config = copy.deepcopy(SHIPPED)
    *parents, last = path.split("/")
    part = config
    for key in parents:
        part = part[key]
    part[last] = value
    return config


def test_the_shipped_experiments_are_the_posts():
    config = checked(SHIPPED)
    assert config.model == "gpt2-xl"
    for name, (number, layer, coefficient, added, subtracted) in POST.items():
        experiment = config.experiments[name]
        assert experiment.number == number
        steering = experiment.steering
        assert (steering.layer, steering.coefficient) == (layer, coefficient)
        assert (steering.added, steering.subtracted) == (added, subtracted)
    assert list(config.experiments) == list(POST)


FAULTS = [
    ("device", "cuda:1", "device: should be 'cpu' or 'cuda', found 'cuda:1'"),
    ("model", "gpt3", "model: 'gpt3' is unknown; the models are gpt2-xl"),
    ("modle", "gpt2-xl", "modle: unknown key; check its spelling or remove it"),
    ("experiments/anger/layer", 3, "experiments.anger.layer: unknown key"),
    ("experiments/anger/steering/layer", -1, "anger.steering.layer: should be greater than or equal to 0"),
    ("experiments/anger/steering/layer", "20", "anger.steering.layer: should be a valid integer, found '20'"),
    ("experiments/anger/steering/layer", 2.5, "anger.steering.layer: should be a valid integer, found 2.5"),
    ("experiments/anger/steering/layer", True, "anger.steering.layer: should be a valid integer, found True"),
    ("experiments/anger/steering/coefficient", math.nan, "steering.coefficient: should be a finite number, found nan"),
    ("experiments/anger/steering/coefficient", -math.inf, "coefficient: should be a finite number, found -inf"),
    ("experiments/anger/steering/coefficient", "1e3", "YAML reads 1e3 as text, 1.0e+3 as a number"),
    ("experiments/anger/steering/coefficient", "-4.5", "found '-4.5'; remove its quotes"),
    ("experiments/anger/steering/added", False, "should be a valid string, found False; put it in quotes"),
    ("experiments/anger/title", "a\u202eb", "anger.title: '\\u202e' cannot be shown; leave it out"),
    ("models/miniature/note", "\x1b[31m", "models.miniature.note: '\\x1b' cannot be shown; leave it out"),
    ("experiments/anger/prompt", "", "should have at least 1 character, found ''"),
    ("experiments/anger/key_tokens", [" rude"], "anger: key_tokens: ' rude' does not occur in the prompt"),
    ("experiments/anger/steering", {"layer": 1, "coefficient": 1}, "anger.steering: needs a text in 'added'"),
    ("experiments/anger/steering", None, "experiments.anger.steering: should be a valid dictionary"),
    (
        "experiments/anger/completions",
        {"number": 0},
        "completions.number: should be greater than or equal to 1",
    ),
    ("experiments/anger/completions", {"top_p": 0}, "anger.completions.top_p: should be greater than 0, found 0"),
    (
        "experiments/anger/completions",
        {"top_p": 1.1},
        "completions.top_p: should be less than or equal to 1",
    ),
    ("experiments/anger/completions", {"temperature": -1}, "temperature: should be greater than or equal to 0"),
    ("experiments/anger/completions", {"greedy": True}, "experiments.anger.completions.greedy: unknown key"),
    ("experiments/anger/completions", {"prompt": ""}, "completions.prompt: String should have at least 1 character"),
    ("experiments/a b", {}, "experiments.a b: String should match pattern"),
    ("experiments/anger/steering/added", "\ud800", "holds a lone surrogate, which is not valid unicode text"),
    ("experiments", {}, "experiments: Dictionary should have at least 1 item"),
    ("models/miniature/folder", None, "models.miniature: needs exactly one of the keys 'weights' (hub) and 'folder'"),
    ("models/gpt2-xl/weights/revision", "main", "models.gpt2-xl.weights.revision: String should match pattern"),
    ("models/gpt2-xl/weights/sha256", {"../../x": "0" * 64}, "sha256.../../x: String should match pattern"),
]


@pytest.mark.parametrize(("path", "value", "sentence"), FAULTS, ids=[f"{path}={value}" for path, value, _ in FAULTS])
def test_a_fault_is_one_sentence_with_key_and_value(path, value, sentence):
    with pytest.raises(UserError) as caught:
        checked(changed(path, value))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["prompt", "title", "steering"])
def test_a_missing_key_is_named(key):
    config = copy.deepcopy(SHIPPED)
    del config["experiments"]["anger"][key]
    with pytest.raises(UserError, match=rf"experiments\.anger\.{key}: this key is missing"):
        checked(config)


@pytest.mark.parametrize(
    ("part", "value"),
    [("coefficient", 0), ("coefficient", -3), ("coefficient", 2.5), ("subtracted", ""), ("added", "")],
)
def test_any_finite_coefficient_and_one_empty_side_are_fine(part, value):
    steering = checked(changed(f"experiments/anger/steering/{part}", value)).experiments["anger"].steering
    assert getattr(steering, part) == value


def test_an_experiment_without_completions_is_dumped_as_before_there_were_any():
    without = checked(SHIPPED).experiments["anger"]
    assert "completions" not in without.model_dump() | json.loads(without.model_dump_json())
    config = changed("experiments/anger/completions", {})
    defaults = {"prompt": None, "number": 3, "tokens": 50, "temperature": 1.0, "top_p": 0.3}
    dumped = checked(config).experiments["anger"].model_dump()
    assert dumped.pop("completions") == defaults | {"frequency_penalty": 1.0, "seed": 0}
    assert dumped == without.model_dump()
    assert place_in_post(config["experiments"]["anger"]) == 3, "it is the post's all the same"


def test_one_greedy_text_is_enough():
    texts = checked(changed("experiments/anger/completions", {"temperature": 0, "number": 5})).experiments["anger"]
    assert list(texts.completions.numbers) == [0]
    assert list(texts.completions.model_copy(update={"temperature": 0.5}).numbers) == [0, 1, 2, 3, 4]


def test_there_may_be_no_key_tokens():
    assert checked(changed("experiments/anger/key_tokens", [])).experiments["anger"].key_tokens == ()


@pytest.mark.parametrize(
    ("file", "made"), [("replication/base/config.schema.json", schema), ("docs/configuration.md", options)]
)
def test_what_is_committed_of_the_configuration_is_current(file, made):
    committed = (REPOSITORY / file).read_text(encoding="utf-8")
    assert committed == made(), "write it anew with: python -m replication schema"


def keys_of_the_schema():
    whole = json.loads(schema())
    for name, part in {"Configuration": whole, **whole["$defs"]}.items():
        for key, value in part["properties"].items():
            yield pytest.param(name, key, value, key in part.get("required", []), id=f"{name}.{key}")


@pytest.mark.parametrize(("part", "key", "value", "required"), list(keys_of_the_schema()))
def test_every_key_is_described_with_default_and_a_valid_example(part, key, value, required):
    assert value["description"].endswith(".")
    assert required or "default" in value
    # Every example is what the class itself takes; where the choices are listed they are the examples.
    assert value.get("examples") or "enum" in value
    field = getattr(config_module, part).model_fields[key]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    for example in value.get("examples", []):
        TypeAdapter(kind).validate_python(example)


def test_the_editor_finds_the_schema():
    line = (REPOSITORY / "config.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert line == "# yaml-language-server: $schema=replication/base/config.schema.json"
    assert list(jsonschema.Draft202012Validator(json.loads(schema())).iter_errors(SHIPPED)) == []


def test_keys_on_top_that_were_left_out_have_their_defaults():
    config = {key: SHIPPED[key] for key in ("model", "models", "experiments")}
    complete(config)
    added = {"numerics", "device", "controls", "only", "run_name", "pin_despite", "pin_uncommitted"}
    assert set(config) == {"model", "models", "experiments"} | added
    assert checked(config) == checked({key: SHIPPED[key] for key in ("model", "models", "experiments")})
    partial = {**config, "controls": {"sweep": False}}
    complete(partial)
    assert partial["controls"] == Controls(sweep=False).model_dump(mode="json")


def test_where_snakemake_stands_alone_the_schema_checks(monkeypatch):
    monkeypatch.setattr("replication.workflow.snakefile.find_spec", lambda name: None)
    check(json.loads(json.dumps(SHIPPED)), [])
    for path, value in (("modle", "x"), ("experiments/anger/steering/layer", -1), ("experiments/anger/prompt", "")):
        with pytest.raises(UserError):
            check(changed(path, value), [])


def test_json_may_be_indented_with_tabs_and_is_as_strict(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"model": "m", "text": "a\tb", "list": [1, {"x": 0.5}]}, indent="\t"))
    assert read_yaml(file) == {"model": "m", "text": "a\tb", "list": [1, {"x": 0.5}]}
    file.write_text('{\n\t"model": "m",\n\t"model": "n"\n}')
    with pytest.raises(UserError, match=r"mine\.json, line 3: the key 'model' is defined twice"):
        read_yaml(file)
    file.write_text("model:\n\t- m\n")
    with pytest.raises(UserError, match=r"mine\.json: not valid YAML"):
        read_yaml(file)


def test_key_tokens_are_named_by_text_or_by_place():
    """A place is the only name for a part of a character: its text is an escape that no prompt has."""
    tokens = ["<|endoftext|>", "I", " like", " like", "\\xf0\\x9f", "\\x98\\x80"]
    experiment = checked(SHIPPED).experiments["anger"].model_copy(update={"key_tokens": (" like", 5)})
    assert experiment.key_positions(tokens) == [1, 2, 4]
    assert experiment.model_copy(update={"key_tokens": (3,)}).key_positions(tokens) == [2]
    assert checked(changed("experiments/anger/key_tokens", [2])).experiments["anger"].key_tokens == (2,)
    for wrong in (0, -1, True, 1.0):
        with pytest.raises(UserError, match=r"experiments\.anger\.key_tokens"):
            checked(changed("experiments/anger/key_tokens", [wrong]))


MINE = {"title": "Mine", "prompt": "a b c", "steering": {"layer": 3, "coefficient": 4, "added": "a"}}


def prepared(changes: dict, *files: str, targets: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """What a run is called whose configuration Snakemake merged from files and config.yaml, and its experiments."""
    config = copy.deepcopy(SHIPPED) | changes
    # Snakemake puts what it is given over config.yaml first.
    config["experiments"] = changes.get("experiments", {}) | SHIPPED["experiments"] | changes.get("experiments", {})
    read = [*map(Path, files), REPOSITORY / "config.yaml"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snakefile, "check", lambda config, files: checked(config))
        return snakefile.prepare(config, read, targets), list(config["experiments"])


def test_config_yaml_holds_the_posts_four_in_their_order():
    assert [place_in_post(each) for each in SHIPPED["experiments"].values()] == list(range(len(POSTS)))
    assert tuple(each["number"] for each in SHIPPED["experiments"].values()) == NUMBERS
    more = read_yaml(REPOSITORY / "more.yaml")["experiments"]
    assert {place_in_post(each) for each in more.values()} == {None}


@pytest.mark.parametrize(
    "same", [{}, {"model": "miniature"}, {"controls": {"sweep_jobs": 4}}, {"models": SHIPPED["models"]}]
)
def test_the_run_that_config_yaml_describes_has_no_folder_of_its_own(same):
    assert prepared(same, "anything.yaml") == ("", list(SHIPPED["experiments"]))


@pytest.mark.parametrize(
    "other",
    [
        {"experiments": {"mine": MINE}},
        {"experiments": {"anger": SHIPPED["experiments"]["anger"] | {"key_tokens": []}}},
        {"only": ["anger"]},
        {"controls": {"random_vectors": 99}},
        {"controls": {"sweep": False}},
        {"numerics": "fast"},
        {"device": "cuda"},
        {"run_name": "mine"},
    ],
    ids=str,
)
def test_any_other_has_one_by_the_name_of_its_file(other):
    assert prepared(other, "elsewhere/theirs.yaml", "a b/mine.yaml")[0] == "/mine"
    assert prepared(other | {"run_name": "named"}, "a b/mine.yaml")[0] == "/named"


def test_a_run_named_by_no_file_or_by_an_odd_one_has_a_name_all_the_same():
    assert prepared({"numerics": "fast"})[0] == "/config"
    assert prepared({"numerics": "fast"}, "../my vectors, (2).yaml")[0] == "/my-vectors-2"
    assert prepared({"numerics": "fast"}, "….yaml")[0] == "/own"


def test_experiments_of_ones_own_stand_behind_the_posts_or_alone():
    four = list(SHIPPED["experiments"])
    added = {"experiments": {"mine": MINE, "aaa": MINE}}
    assert prepared(added)[1] == [*four, "mine", "aaa"]
    assert prepared(added | {"only": ["mine"]})[1] == ["mine"]
    with pytest.raises(UserError, match="only: 'joy' is unknown; the experiments are "):
        prepared(added | {"only": ["joy"]})
    # The run's folder lies beside those of experiments, and what is left out cannot be asked for.
    prepared(added | {"only": ["mine"], "run_name": "r"}, targets=("results/miniature/r/claims.json",))
    with pytest.raises(UserError, match="no experiment is called 'anger'; the experiments are mine"):
        prepared(added | {"only": ["mine"]}, targets=("results/miniature/anger/losses.csv",))


def test_a_number_of_the_posts_is_left_to_its_experiments():
    """Else figures and report would call another one, or one that has been changed, by it."""
    changed_one = copy.deepcopy(SHIPPED["experiments"]["anger"])
    changed_one["steering"]["coefficient"] = 4
    own = {"anger": changed_one, "mine": MINE | {"number": 7}}
    config = SHIPPED | {"only": [], "experiments": SHIPPED["experiments"] | own}
    numbers = {name: each.get("number") for name, each in snakefile.chosen(config).items()}
    assert numbers == {"love_hate": 1, "intent_to_praise": 2, "conspiracy": 3, "anger": None, "mine": 7}


def test_pins_are_of_the_posts_experiments_alone():
    added = {"experiments": {"mine": MINE}}
    assert snakefile.of_the_post(SHIPPED | {"experiments": SHIPPED["experiments"] | {"mine": MINE}}) == list(
        SHIPPED["experiments"]
    )
    prepared(added, targets=("pin",))
    with pytest.raises(UserError, match="pin: none of these experiments is the post's"):
        prepared(added | {"only": ["mine"]}, targets=("pin",))


def test_files_of_unknown_models_and_experiments_are_refused():
    check_targets(SHIPPED, ["results/miniature/anger/losses.csv", "verify", "report/gpt2-xl/report.md"])
    check_targets(SHIPPED, ["--directory", ".", "/", ""])  # what stands on a command line beside targets
    check_targets(SHIPPED, ["--configfile", "/elsewhere/results/miniature/mine.yaml"])
    with pytest.raises(UserError, match=r"it runs in: type results/miniature/verdict\.txt$"):
        check_targets(SHIPPED, [str(Path.cwd() / "results/miniature/verdict.txt")])
    with pytest.raises(UserError, match="no model is called 'gpt9'; the models are gpt2-xl"):
        check_targets(SHIPPED, ["results/gpt9/anger/losses.csv"])
    with pytest.raises(UserError, match="no experiment is called 'joy'; the experiments are love_hate"):
        check_targets(SHIPPED, ["results/miniature/joy/losses.csv"])
