"""A model without a tuned lens (`lens: none`): the logit lens reads every layer, and everything says so."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from drawn_tables import Tables, control_tables, made_up
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy_gpt2 import NumpyGPT2, lens_log_p
from report_setup import written_run
from typer.testing import CliRunner

import replication
from replication.base import paths, tables
from replication.base.config import Model, checked_model
from replication.base.errors import UserError
from replication.base.files import read_json
from replication.base.paths import RECORD, SECOND_OPINION, VERIFIED, path
from replication.engine.loaded import Loaded
from replication.figures import interactive
from replication.figures.alt_text import alt_text
from replication.figures.beyond_chance import beyond_chance
from replication.figures.draw import drawing
from replication.report.compile import contents, markdown
from replication.report.token_tables import caption_of, token_table
from replication.verification import published_table
from replication.verification.findings import findings
from replication.verification.published_sets import LENS, WEIGHTS, published_sets
from replication.weights.obtain import to_fetch
from replication.workflow import announced
from replication.workflow.cli import app

PROMPT = "I hate you because you're a wonderful person"
VECTOR = {"layer": 3, "coefficient": 2, "added": "Love", "subtracted": "Hate"}
EXPERIMENT = {"title": "e", "prompt": PROMPT, "steering": VECTOR}
ARITHMETIC = ("--numerics", "portable", "--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def bare() -> Tables:
    """Made-up tables of a model without a lens."""
    made = made_up()
    return made._replace(record=made.record | {"sha256": {"model/model.safetensors": "0" * 64}})


@pytest.fixture(scope="module")
def result(random_folders: tuple[Path, Path]) -> replication.Result:
    return replication.steer(replication.load(random_folders[0], "none"), PROMPT, **VECTOR)


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("protocol", tables.PROTOCOLS)
def test_every_layer_is_the_logit_lens_of_numpys_gpt2(result, random_folders, protocol):
    folder, _ = random_folders
    model, ids = NumpyGPT2(folder, heads=3), result.record["prompt"]["ids"]
    log_p = lens_log_p(model, model.stream(ids), None, protocol == "centred")
    targets = np.array([*ids[1:], result.record["bos"]["id"]])
    loss = -np.take_along_axis(log_p, targets[None, :, None], -1)[..., 0]
    ours = result.losses.query("protocol == @protocol and condition == 'unsteered'")["loss"].to_numpy()
    assert np.abs(ours.reshape(loss.shape) - loss).max() < 1e-4


def test_the_logit_lens_is_that_of_the_same_model_with_a_lens_bit_for_bit(result, random_folders):
    beside = replication.steer(replication.load(*random_folders), PROMPT, **VECTOR)
    assert result.logit_lens.equals(beside.logit_lens)
    assert not np.array_equal(result.losses["loss"], beside.losses["loss"])
    assert not [key for key in result.record["sha256"] if key.startswith("lens/")]


def test_steps_from_the_files_to_the_second_opinion(random_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def step(*arguments: str) -> None:
        outcome = CliRunner().invoke(app, ["step", *arguments])
        assert outcome.exit_code == 0, outcome.exception

    entry = {"folder": str(random_folders[0]), "lens": "none"}
    step("weights", "m", "--settings", json.dumps(entry), "--mark", "0")
    stamp = read_json(path(VERIFIED, "m"))
    assert stamp["lens_folder"] is None
    assert any("NO tuned lens" in sentence for sentence in stamp["checks"])
    step("measure", "m", "e", "--settings", json.dumps(EXPERIMENT), *ARITHMETIC)
    step("second_opinion", "m", "e", *ARITHMETIC)
    opinion = tables.read(path(SECOND_OPINION, "m"), tables.SECOND_OPINION)
    raw = tables.read(path(paths.LOSSES, "m", "e"), tables.LOSSES).query("protocol == 'raw'").reset_index(drop=True)
    for name in ("loss", "entropy"):
        difference = (opinion[name] - raw[name]).abs().max()
        assert 0 < difference < 1e-4
    assert read_json(path(RECORD, "m", "e"))["sha256"] == stamp["sha256"]


@pytest.mark.parametrize("kind", paths.KINDS)
def test_every_figure_and_its_words_name_the_logit_lens_alone(bare, kind):
    for made, other in ((bare, "tuned lens"), (made_up(), None)):
        figure = drawing(kind, made.losses, made.effect, made.logit_lens, made.record)
        words = texts(figure).lower() + alt_text(kind, made.losses, made.effect, made.record).lower()
        if other:
            assert other not in words
            assert ("logit lens" in words) == (kind != "output")
        else:
            assert ("tuned lens" in words) == (kind != "output")


def test_the_lines_by_layer_are_drawn_once(bare):
    """The logit lens alone: no second, dashed line of the same lens."""
    figure = drawing("layers", bare.losses, bare.effect, bare.logit_lens, bare.record)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["unsteered, logit lens", "steered, logit lens", "both, before the vector", "vector added"]
    assert not [line for line in figure.axes[0].lines if line.is_dashed() and len(line.get_xdata()) > 2]


def test_the_figure_over_all_and_the_first_sentences_name_the_logit_lens(bare):
    drawn = texts(beyond_chance([(bare.record, control_tables(bare)["random_by_layer"])]))
    assert "logit lens, raw residuals" in drawn
    by_layer = {"random_by_layer": {"outside_from": "3", "half_from": "4"}}
    assert findings({"e": "E"}, {"e": by_layer}, "logit lens") == [
        "Through the logit lens it does more than chance from layer 3 (E) on, up to the output."
    ]


def test_the_page_says_what_reads_a_row(bare):
    page = interactive.page("e", bare.losses, bare.effect, bare.top10, bare.record)
    assert "A row is what the logit lens reads" in page
    assert "tuned lens" not in page


@pytest.fixture
def report(bare: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    written_run("m", {"mine": bare})
    return markdown(contents("m", ["mine"]))


def test_the_report_says_first_that_there_is_no_tuned_lens(report):
    opening = report[: report.index("## At a glance")]
    assert opening.startswith("# GPT-2 steering through the logit lens: `m`")
    assert "**This model has no tuned lens: the logit lens alone reads every layer.**" in opening
    assert "through the logit lens\n(nostalgebraist 2020)" in opening
    assert "no better than the logit lens" not in opening


def test_the_report_speaks_of_the_tuned_lens_only_where_it_explains_that_there_is_none(report):
    numbers = report[: report.index("## Method")]
    allowed = (
        "has no tuned lens",
        "than a tuned lens' would",
        "a tuned lens is trained on",
        "tuned-lens' own",
        "The Tuned Lens",
    )
    for words in allowed:
        numbers = numbers.replace(words, "")
    assert not re.findall(r"[^\n]*tuned.lens[^\n]*", numbers, re.IGNORECASE)
    assert "## How well the logit lens fits" in numbers
    limitations = report[report.index("## Limitations") :]
    assert "The tuned lens was trained" not in limitations[: limitations.index("\n## ")]


def test_the_caption_of_a_table_of_tokens_names_the_lens(bare):
    from replication.verification.summary import summary

    table = token_table(summary(bare.losses, bare.record), bare.record, "e", "raw", None)
    assert "through the logit lens at the residual stream" in caption_of(table, str)


def test_published_numbers_of_a_lens_are_not_run_and_say_why():
    known = published_sets("gpt2")
    with_lens = [each for each in known if each.lens]
    sha256 = {WEIGHTS: with_lens[0].sha256[WEIGHTS]}
    assert not [each for each in published_table.sets_to_run(known, sha256) if each.lens]
    table = published_table.comparison(with_lens, sha256, {})
    assert set(table["verdict"]) == {"not run"}
    assert all(f"whose {LENS} has SHA-256" in note and note.endswith("here there is none") for note in table["note"])


def test_nothing_of_a_lens_is_fetched(tmp_path, monkeypatch):
    hub = {
        "repo": "a/b",
        "revision": "0" * 40,
        "sha256": {"model.safetensors": None},
        "bytes": {"model.safetensors": 5},
    }
    entry = {"weights": hub, "lens": "none"}
    assert list(to_fetch(checked_model("m", entry), tmp_path, tmp_path / "hashes.json")) == ["model.safetensors"]
    monkeypatch.setattr(announced, "find_spec", lambda _: None)
    assert announced._to_fetch("m", entry) == {"model.safetensors": 5}


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"lens": "no"}, r"models.m.lens: .*'none'.*'no'"),
        (
            {"lens": "none", "lens_folder": "/lens"},
            "needs exactly one of the keys 'lens' .hub, or none. and 'lens_folder'",
        ),
        ({}, "needs exactly one of the keys 'lens' .hub, or none. and 'lens_folder'"),
    ],
)
def test_no_lens_is_asked_for_by_name(entry, sentence):
    with pytest.raises(UserError, match=sentence):
        checked_model("m", {"folder": "/model", **entry})
    assert Model(folder="/model", lens="none").lens == "none"


def test_a_model_of_the_configuration_without_a_lens_is_loaded_by_its_name(random_folders, monkeypatch):
    from replication import api

    entry = {"models": {"bare": {"folder": str(random_folders[0]), "lens": "none"}}}
    monkeypatch.setattr(api, "read_yaml", lambda _: entry)
    loaded: Loaded = replication.load("bare").loaded
    assert loaded.translators is None
