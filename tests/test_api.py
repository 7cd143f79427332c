"""The package from Python: the workflow's tables without the workflow, and errors in one sentence."""

import base64
import io
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from notebook import NOTEBOOKS, executed
from PIL import Image
from typer.testing import CliRunner

import replication
from replication.base import paths, tables
from replication.base.addition import Addition
from replication.base.config import Experiment
from replication.base.files import read_json, write_json
from replication.base.paths import KINDS, REPOSITORY
from replication.base.sampling import Completions
from replication.base.strict_yaml import read_yaml
from replication.engine.completed import complete
from replication.engine.numerics import FAST, PORTABLE, SETTINGS, build, mode
from replication.engine.vector_file import stored_settings
from replication.verification.pins import same_bits_expected
from replication.weights.model_files import stamp
from replication.workflow.cli import app
from replication.workflow.jobs import as_json, model_arguments

FOLDERS = REPOSITORY / "replication/miniature/model", REPOSITORY / "replication/miniature/lens"
PROMPT = "I hate you because you're a wonderful person"
LOVE_HATE = {"added": "Love", "subtracted": "Hate", "layer": 6, "coefficient": 5}


@pytest.fixture(scope="module")
def model() -> replication.Model:
    return replication.load(*FOLDERS, name="miniature")


@pytest.fixture(scope="module")
def result(model: replication.Model) -> replication.Result:
    return replication.steer(model, PROMPT, key_tokens=[" wonderful"], **LOVE_HATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the workflow's own steps have measured the same experiment."""
    folder = tmp_path_factory.mktemp("workflow")
    config = read_yaml(REPOSITORY / "config.yaml")
    measured = ["--settings", as_json(config["experiments"]["love_hate"]), "--threads", "1", "--device", "cpu"]
    steps = [
        ["weights", "miniature", *model_arguments(config, "miniature")],
        ["measure", "miniature", "love_hate", *measured, "--numerics", PORTABLE],
        ["summary", "miniature", "love_hate"],
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for step in steps:
            assert CliRunner().invoke(app, ["step", *step], catch_exceptions=False).exit_code == 0
    return folder


@pytest.mark.parametrize(
    ("name", "pattern", "columns"),
    [
        ("losses", paths.LOSSES, tables.LOSSES),
        ("top10", paths.TOP10, tables.TOP10),
        ("effect", paths.EFFECT, tables.EFFECT),
        ("logit_lens", paths.LOGIT_LENS, tables.LOGIT_LENS),
        ("summary", paths.SUMMARY, tables.SUMMARY),
    ],
)
def test_a_table_is_the_workflows_bit_for_bit(result, folder, name, pattern, columns):
    written = tables.read(folder / paths.path(pattern, "miniature", "love_hate"), columns)
    mine = getattr(result, name)
    pd.testing.assert_frame_equal(mine.assign(layer=mine["layer"].astype(str)), written, check_exact=True)


def test_layers_are_numbers_in_their_order_and_the_output_last(result):
    losses = result.losses
    (twelfth,) = losses[losses.layer == 12]["layer"].unique()
    assert twelfth == 12
    assert losses[losses.layer < 2]["layer"].unique().tolist() == [0, 1]
    steered = losses[(losses.condition == "steered") & (losses.protocol == "raw")]
    assert steered.pivot(index="layer", columns="position", values="loss").index.tolist() == [*range(48), "output"]


def test_one_loss_is_asked_for_by_token_or_place(result):
    table = result.losses[(result.losses.protocol == "raw") & (result.losses.layer == 12)]
    unsteered, steered = (
        float(table[(table.condition == name) & (table.target_token == " wonderful")]["loss"].item())
        for name in ("unsteered", "steered")
    )
    for token in (" wonderful", 8, np.int64(8)):
        assert result.loss(token, layer=12).to_dict() == {
            "unsteered": unsteered, "steered": steered, "change": steered - unsteered,
        }  # fmt: skip
    at_output = result.losses[(result.losses.protocol == "centred") & (result.losses.layer == "output")]
    expected = at_output[(at_output.condition == "steered") & (at_output.position == 7)]["loss"].item()
    assert result.loss(8, protocol="centred")["steered"] == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"token": " zebra"}, "token: ' zebra' does not occur; the prompt splits into 1 'I', 2 ' hate', 3 ' you', "),
        ({"token": " you"}, "token: ' you' stands at places [3, 5]; name one by its place; the prompt splits into "),
        ({"token": 10}, "token: 10 does not occur; "),
        ({"token": 8, "layer": 48}, "layer: 48 does not exist; layers are 0 to 47, and output"),
    ],
)
def test_a_loss_that_is_not_there_is_a_sentence(result, arguments, sentence):
    with pytest.raises(replication.UserError) as error:
        result.loss(**arguments)
    assert str(error.value).startswith(sentence)


def test_several_prompts_give_a_result_each(model, result):
    other = "I hate him because he's a wonderful person"
    both = replication.steer(model, [PROMPT, other], key_tokens=" wonderful", **LOVE_HATE)
    assert [each.record["experiment"]["prompt"] for each in both] == [PROMPT, other]
    assert both[0].record == result.record


def test_numbers_may_be_numpys(model, result):
    numbers = {"layer": np.int64(6), "coefficient": np.float32(5)}
    again = replication.steer(model, PROMPT, key_tokens=[" wonderful"], **(LOVE_HATE | numbers))
    assert again.record == result.record


def test_a_sweep_has_the_losses_of_its_cells(model, result):
    sides = {"added": "Love", "subtracted": "Hate"}
    layers, coefficients = np.array([6, 2]), [0, 5.0]
    swept = replication.sweep(model, PROMPT, layers=layers, coefficients=coefficients, key_tokens=" wonderful", **sides)
    assert list(swept.columns) == list(tables.SWEEP)
    assert swept[["layer", "coefficient"]].drop_duplicates().to_numpy().tolist() == [[6, 0], [6, 5], [2, 0], [2, 5]]
    for layer, steered in ((6, result), (2, replication.steer(model, PROMPT, layer=2, coefficient=5, **sides))):
        rows = swept[(swept["layer"] == layer) & (swept["coefficient"] == 5)]
        at_output = steered.losses[(steered.losses.layer == "output") & (steered.losses.protocol == "raw")]
        for condition in ("unsteered", "steered"):
            losses = at_output[at_output.condition == condition]["loss"].tolist()
            assert rows[f"loss_{condition}"].tolist() == losses
    assert swept[swept["key"]]["target_token"].unique().tolist() == [" wonderful"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"layers": [3, 48]}, "layer: 48 is too large; this model has layers 0 to 47"),
        ({"layers": []}, "layers, coefficients: at least one of each is needed"),
        ({"layers": [6, -1]}, "layer: should be greater than or equal to 0, found -1"),
        ({"coefficients": ["5"]}, "coefficient: should be a valid number, found '5'"),
    ],
)
def test_a_mistake_in_a_sweep_is_a_sentence(model, change, sentence):
    arguments = {"added": "Love", "subtracted": "Hate", "layers": [6], "coefficients": [5]} | change
    with pytest.raises(replication.UserError, match=re.escape(sentence)):
        replication.sweep(model, PROMPT, **arguments)


def test_what_is_public_is_listed_before_anything_is_imported():
    names = subprocess.run(
        [sys.executable, "-c", "import replication, sys; print(*dir(replication)); assert 'torch' not in sys.modules"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {"load", "steer", "sweep", "Model", "Result", "UserError"} <= set(names)


def test_a_model_of_the_configuration_is_loaded_by_its_name(model):
    named = replication.load("miniature")
    assert named.loaded.files == model.loaded.files
    with pytest.raises(replication.UserError, match=r"^'gpt3' is no model of config.yaml \(gpt2-xl, "):
        replication.load("gpt3")


def test_a_model_that_was_fetched_is_loaded_by_its_name(monkeypatch, tmp_path, random_loaded):
    """As the workflow leaves it; one that it has not fetched is said to be lacking."""
    monkeypatch.setattr("replication.api.REPOSITORY", tmp_path)
    with pytest.raises(
        replication.UserError, match="gpt2 has not been fetched: snakemake --cores 1 resources/gpt2/verif"
    ):
        replication.load("gpt2")
    write_json(tmp_path / paths.path(paths.VERIFIED, "gpt2"), stamp(random_loaded.files, None, []))
    assert replication.load("gpt2").loaded.files.sha256 == random_loaded.files.sha256


def test_the_record_is_the_workflows_but_for_the_experiments_names(result, folder):
    written = read_json(folder / paths.path(paths.RECORD, "miniature", "love_hate"))
    mine = json.loads(json.dumps(result.record))
    for name in ("experiment", "original_prompt"):
        del written[name], mine[name]
    assert mine == written
    assert result.numerics == mode()


def test_where_torch_was_imported_before_the_result_says_fast(monkeypatch):
    """As here, if the tests had not settled it themselves; a fresh process that says portable is the notebook's."""
    for name in SETTINGS:
        monkeypatch.delenv(name)
    assert "torch" in sys.modules
    late = replication.load(*FOLDERS)
    assert replication.steer(late, PROMPT, **LOVE_HATE).numerics == FAST


@pytest.mark.parametrize("kind", ["lens", "layers"])
def test_a_notebook_shows_a_figure_with_its_words(result, kind):
    figure = result.figure(kind)
    assert isinstance(figure, Figure)
    data, metadata = figure._repr_mimebundle_()
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
        assert picture.width == int(figure.get_figwidth() * 100)
    assert metadata["image/png"]["alt"] == data["text/plain"]
    assert data["text/plain"].startswith("Love - Hate, miniature. ")


def test_a_figure_takes_width_title_layers_and_tokens(result):
    figure = result.figure("kl", width=3.3, title=False, layers="6-9", tokens="3-8")
    axes = figure.axes[0]
    assert figure.get_figwidth() == 3.3
    assert [label.get_text() for label in axes.get_yticklabels()] == ["6", "7", "8", "9"]
    assert len(axes.get_xticks()) == 6
    assert not [text for text in figure.texts if "Love - Hate" in text.get_text()]
    with pytest.raises(replication.UserError, match=r"^tokens: '12' is not among 0 to 9"):
        result.figure("kl", tokens="12")


def test_every_kind_of_figure_of_the_workflow_is_there(result):
    with pytest.raises(replication.UserError) as error:
        result.figure("len")
    assert str(error.value) == f"no figure is called 'len'; the figures are {', '.join(KINDS)}"


def test_the_interactive_page_is_whole(result):
    page = result.page()
    assert page.lstrip().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    packed = re.search('id="data">([^<]+)<', page)
    assert json.loads(zlib.decompress(base64.b64decode(packed[1])))["experiment"] == "python"


def test_what_is_printed_names_model_vector_and_arithmetic(model, result):
    assert repr(model) == "<miniature: 48 layers of width 64, 727 tokens, on cpu>"
    vector = "5 × ('Love' − 'Hate') added before block 6 of miniature"
    assert repr(result) == f"<{vector}: {len(result.losses)} losses, {mode()} arithmetic>"


def test_an_empty_side_stands_for_spaces_and_names_itself_so(model):
    one_sided = replication.steer(model, PROMPT, added="Love", subtracted="", layer=6, coefficient=5)
    assert one_sided.record["subtracted"]["tokens"] == ["<|endoftext|>", " "]
    assert one_sided.record["experiment"]["title"] == "Love - nothing"


def test_a_side_that_is_left_out_is_not_there(model):
    alone = replication.steer(model, PROMPT, added="Love", layer=6, coefficient=5)
    assert "subtracted" not in alone.record
    assert (alone.vector[0] != 0).any()
    assert alone.record["experiment"]["title"] == "Love"


def test_several_additions_have_a_vector_each(model, result, tmp_path):
    love = {"added": "Love", "subtracted": "Hate", "layer": 6, "coefficient": np.float64(5)}
    both = replication.steer(model, PROMPT, additions=[love, {**love, "layer": np.int64(10), "position": "back"}])
    assert [each.shape for each in both.vectors] == [(3, 64)] * 2
    assert (both.vectors[0] == result.vector).all()
    with pytest.raises(replication.UserError, match="addition: must be 0 to 1, found None"):
        _ = both.vector
    both.save_vector(tmp_path / "v.safetensors", addition=1)
    assert stored_settings(tmp_path / "v.safetensors") == {"layer": 10, "coefficient": 5.0}


def test_a_saved_vector_steers_by_the_same_bits_with_its_own_layer_and_coefficient(model, result, tmp_path):
    result.save_vector(tmp_path / "v.safetensors")
    again = replication.steer(model, PROMPT, vector=tmp_path / "v.safetensors", key_tokens=[" wonderful"])
    assert again.measurement.losses.equals(result.measurement.losses)
    other = replication.steer(model, PROMPT, vector=tmp_path / "v.safetensors", layer=10, coefficient=1)
    assert other.record["injection"]["block"] == 10
    assert not other.measurement.losses.equals(result.measurement.losses)


MISTAKES = [
    (
        {"layer": 6, "additions": [{"layer": 6, "coefficient": 1, "added": "a"}]},
        "added: put it into each of the additions instead",
    ),
    ({"position": "mid"}, "position: should be front, middle, back or a position counted from 0, found 'mid'"),
    ({"vector": "none.safetensors", "added": None, "subtracted": None}, "vector: "),
    ({"layer": 48}, "layer: 48 is too large; this model has layers 0 to 47"),
    ({"coefficient": "5"}, "coefficient: should be a valid number, found '5'"),
    ({"added": "", "subtracted": ""}, "needs a text in 'added' or in 'subtracted'; both are empty"),
    ({"model": "miniature"}, "model: should be what replication.load returns, found 'miniature'"),
    ({"key_tokens": [" zebra"]}, f"key_tokens: ' zebra' does not occur in the prompt {PROMPT!r}"),
    ({"prompt": "I"}, "prompt: 'I' has 2 tokens with <|endoftext|>, the steering vector 3;"),
]


@pytest.mark.parametrize(("change", "sentence"), MISTAKES, ids=[sentence[:30] for _, sentence in MISTAKES])
def test_a_mistake_is_one_sentence_that_names_the_argument(model, change, sentence):
    with pytest.raises(replication.UserError) as error:
        replication.steer(**({"model": model, "prompt": PROMPT} | LOVE_HATE | change))
    assert str(error.value).startswith(sentence)
    assert not re.search("\n|YAML|quotes", str(error.value))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(replication.UserError, match=r"there is no folder .*nowhere$"):
        replication.load(tmp_path / "nowhere", FOLDERS[1])


def test_a_lens_that_does_not_fit_is_refused(random_folders):
    with pytest.raises(replication.UserError, match=r"the lens has 7 translators, the model 48 layers$"):
        replication.load(FOLDERS[0], random_folders[1])


@pytest.mark.parametrize("file", NOTEBOOKS, ids=[file.stem for file in NOTEBOOKS])
def test_a_notebook_runs_and_shows_what_is_committed(file):
    """Its words everywhere; its numbers where arithmetic and build are those of the pins."""
    import nbformat

    fresh, committed = executed(file), nbformat.read(file, as_version=4)
    for name in ("cell_type", "source"):
        assert [cell[name] for cell in fresh.cells] == [cell[name] for cell in committed.cells]
    pinned = read_json(REPOSITORY / paths.path(paths.PIN_RECORD, "miniature", "love_hate"))
    if not same_bits_expected(pinned, {"numerics": {"mode": mode(), "build": build()}}):
        pytest.skip("ran, but its numbers are those of portable arithmetic and the pins' build of torch")
    assert [shown(cell) for cell in fresh.cells] == [shown(cell) for cell in committed.cells]
    assert pinned["fingerprint"] in shown(fresh.cells[-1])[-1]


def shown(cell: dict) -> list[str]:
    """A code cell's outputs as text; addresses in memory are no output of ours."""
    outputs = cell.get("outputs", [])
    assert not [output for output in outputs if output["output_type"] not in ("execute_result", "display_data")]
    texts = [output["data"]["text/plain"] for output in outputs]
    assert not [text for text in texts if re.search("0x[0-9a-f]{6}", text)], "an output that varies by run"
    return texts


def test_completions_are_those_of_the_engine_by_the_same_arguments(model: replication.Model) -> None:
    asked = {"number": np.int64(2), "tokens": 6, "top_p": 0.9, "seed": 3, "temperature": 1.5, "frequency_penalty": 0.2}
    found = replication.complete(model, "I hate you because", **LOVE_HATE, **asked)
    steering = {key: LOVE_HATE[key] for key in ("layer", "coefficient", "added", "subtracted")}
    experiment = Experiment(
        title="t",
        prompt="I hate you because",
        steering=Addition(**steering),
        completions=Completions(**asked | {"number": 2}),
    )
    again = complete(model.loaded, experiment)
    pd.testing.assert_frame_equal(found.tokens, again.table)
    assert found.record == again.record
    assert found.texts.to_dict("list") == again.record["texts"]
    text = again.table[(again.table["condition"] == "steered") & (again.table["number"] == 1)]
    row = found.losses.set_index(["number", "condition"]).loc[(1, "steered")]
    assert row["tokens"] == len(text)
    assert row["unsteered"] == pytest.approx(text["loss_unsteered"].mean(), rel=1e-6)
    assert row["steered"] == pytest.approx(text["loss_steered"].mean(), rel=1e-6)
    assert repr(found).splitlines()[0] == "'I hate you because' goes on:"
    assert len(repr(found).splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"temperature": -1}, "temperature: should be greater than or equal to 0, found -1"),
        ({"top_p": 0}, "top_p: should be greater than 0, found 0"),
        ({"layer": 48}, "layer: 48 is too large; this model has layers 0 to 47"),
        ({"prompt": "I"}, "prompt: 'I' has 2 tokens with <|endoftext|>, the steering vector 3"),
    ],
)
def test_what_is_wrong_with_a_completion_names_the_argument(model: replication.Model, arguments, sentence) -> None:
    with pytest.raises(replication.UserError) as caught:
        replication.complete(model, **{"prompt": "I hate you because", **LOVE_HATE} | arguments)
    assert str(caught.value).startswith(sentence)
