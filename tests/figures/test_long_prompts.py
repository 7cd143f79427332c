"""Figures of long prompts: how wide they get, which positions they show, and where they say so."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from drawn_tables import BOS, Tables, made_up
from matplotlib.figure import Figure
from random_model import write_lens
from transformers import GPT2Config, GPT2LMHeadModel

import replication
from replication.base import paths
from replication.base.paths import REPOSITORY
from replication.base.tables import layer_names
from replication.base.window import BY_POSITION, MOST_KEYS, WIDEST, keys_note, window, window_note
from replication.figures.captions import caption, caption_file
from replication.figures.draw import drawing
from replication.figures.grid import grid, of_condition
from replication.figures.positions import in_view

WIDEST_PICTURE = 7200  # pixels


def prompt_of(positions: int, keys: tuple[int, ...] = (), layers: int = 3) -> Tables:
    """Tables of a prompt in which no two tokens are equal."""
    return made_up(tuple(f"t{i}" for i in range(1, positions)), layers=layers, key_positions=keys)


def figure_of(made: Tables, kind: str) -> Figure:
    return drawing(kind, made.losses, made.effect, made.logit_lens, made.record)


def pixels(figure: Figure) -> float:
    return 200 * figure.get_size_inches()[0]


@pytest.mark.parametrize(
    ("positions", "keys", "first", "last", "note"),
    [
        (4, (2,), 0, 3, ""),
        (60, (2, 58), 0, 59, ""),
        (61, (), 0, 59, "positions 0 to 59 of 0 to 60"),
        (1000, (59,), 0, 59, "positions 0 to 59 of 0 to 999"),
        (1000, (60,), 5, 64, "positions 5 to 64 of 0 to 999; the vector was added at 0 to 2"),
        (1000, (700, 702, 740), 685, 744, "positions 685 to 744 of 0 to 999; the vector was added at 0 to 2"),
        (1000, (998,), 940, 999, "positions 940 to 999 of 0 to 999; the vector was added at 0 to 2"),
        (1000, (5, 990), 0, 59, "positions 0 to 59 of 0 to 999, 1 of 2 key tokens"),
        # 125 is the last that fits beside 70: 126 would push it out.
        (1000, (70, 125, 126), 70, 129, "positions 70 to 129 of 0 to 999; the vector was added at 0 to 2"),
        (1000, (70, 80, 900), 25, 84,
         "positions 25 to 84 of 0 to 999, 2 of 3 key tokens; the vector was added at 0 to 2"),
    ],
)  # fmt: skip
def test_the_window_holds_the_key_tokens_that_fit_with_the_first(positions, keys, first, last, note):
    record = prompt_of(4).record | {"prompt": {"ids": list(range(positions))}, "key_positions": list(keys)}
    shown = window(record)
    assert (shown[0], shown[-1]) == (first, last)
    assert window_note(record) == note


@pytest.fixture(scope="module")
def long() -> Tables:
    return prompt_of(1000, (700, 702, 740))


@pytest.mark.parametrize("kind", paths.KINDS)
def test_a_prompt_of_1000_tokens_gives_a_picture_that_opens_and_says_what_it_shows(long, kind):
    figure = figure_of(long, kind)
    assert pixels(figure) <= WIDEST_PICTURE
    part = "positions 685 to 744 of 0 to 999; the vector was added at 0 to 2"
    title = figure.texts[1].get_text()
    assert title.endswith(f" · {part}") == (kind in BY_POSITION)
    assert figure.alt_text.endswith(f" Shown are {part}.") == (kind in BY_POSITION)


@pytest.mark.parametrize("kind", ["post_raw", "post_centred", "lens", "kl"])
def test_the_columns_are_those_of_the_window(long, kind):
    axes = figure_of(long, kind).axes[0]
    if kind == "kl":
        raw = long.effect[long.effect["protocol"] == "raw"]
        expected = grid(raw, "kl_to_unsteered", layer_names(3))[:, 685:745]
    else:
        protocol = "centred" if kind == "post_centred" else "raw"
        expected = grid(of_condition(long.losses, protocol, "unsteered"), "loss", layer_names(3))[:, 685:745]
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(drawn, expected[[0, 2, 3]] if kind.startswith("post") else expected)


def test_the_tokens_are_those_of_the_window_and_the_last_target_is_what_follows(long):
    axes = figure_of(long, "lens").axes[0]
    (above,) = axes.child_axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"t{i}" for i in range(685, 745)]
    assert [label.get_text() for label in above.get_xticklabels()] == [f"t{i}" for i in range(686, 746)]
    bold = [label.get_text() for label in above.get_xticklabels() if label.get_fontweight() == "bold"]
    assert bold == ["t701", "t703", "t741"]
    assert not axes.patches, "the vector was added left of it"
    _, _, last = in_view("lens", long.losses, long.effect, prompt_of(1000, (998,)).record)
    assert last["prompt"]["targets"][-1] == BOS


def test_the_injection_is_framed_where_the_window_has_it():
    axes = figure_of(prompt_of(100), "lens").axes[0]
    assert {patch.get_bbox().bounds for patch in axes.patches} == {(0.5, 1.5, 2.0, 1.0)}


@pytest.mark.parametrize("kind", paths.KINDS)
def test_a_prompt_of_60_tokens_is_drawn_whole(kind):
    made = prompt_of(60, (58,))
    whole = made.losses, made.effect, made.record
    assert all(one is other for one, other in zip(in_view(kind, *whole), whole, strict=True))
    figure = figure_of(made, kind)
    assert "positions" not in figure.texts[1].get_text().replace("mean over positions", "")
    assert "Shown" not in figure.alt_text
    assert pixels(figure) <= WIDEST_PICTURE


def test_of_many_key_tokens_the_first_have_panels_and_sentences():
    made = prompt_of(300, tuple(range(20, 200, 2)))
    figure = figure_of(made, "layers")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"t{i + 1} (position {i})" for i in range(20, 44, 2)]
    assert keys_note(made.record) == f"the first {MOST_KEYS} of 90 key tokens"
    assert figure.texts[1].get_text().endswith(" · the first 12 of 90 key tokens")
    assert "for the first 12 of 90 key tokens" in figure.alt_text
    assert "; the first 12 key tokens: " in figure_of(made, "lens").alt_text


def test_the_changes_of_neighbouring_key_tokens_do_not_overlap():
    figure = figure_of(prompt_of(100, tuple(range(3, 50))), "output")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 47
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert max(box.y1 for box in boxes) <= figure.axes[0].get_window_extent().y1


@pytest.mark.parametrize("kind", [*BY_POSITION, "layers"])
def test_the_caption_in_snakemakes_report_says_how_much_is_shown(kind):
    text = " ".join(Path(caption_file(kind)).read_text(encoding="utf-8").split())
    said = f"more than {WIDEST} tokens" if kind in BY_POSITION else f"more than {MOST_KEYS} key tokens"
    assert said in text
    assert ("effect.csv" if kind == "kl" else "losses.csv") + " and on the interactive page." in text
    assert said not in caption(kind), "our report says which, and only where it is so"


@pytest.mark.slow
def test_a_prompt_of_1000_tokens_through_a_model(tmp_path):
    """A random model with the miniature's few tokens, so that this takes seconds."""
    source, folder = REPOSITORY / "replication/miniature/model", tmp_path / "model"
    config = json.loads((source / "config.json").read_text()) | {"n_layer": 3, "n_positions": 1024}
    GPT2LMHeadModel(GPT2Config(**config)).save_pretrained(folder)
    shutil.copy(source / "tokenizer.json", folder)
    lens = write_lens(tmp_path / "lens", layers=3, d_model=config["n_embd"], name=config["_name_or_path"])
    model = replication.load(folder, lens, name="random")
    words = " hate because" * 499 + " wonderful"
    result = replication.steer(
        model, words, added=" hate", subtracted="", layer=1, coefficient=2, key_tokens=[" wonderful"]
    )
    assert len(result.record["prompt"]["ids"]) == 1000
    assert len(result.losses) == 2 * 2 * 4 * 1000
    for kind in paths.KINDS:
        assert pixels(result.figure(kind)) <= WIDEST_PICTURE
    assert "Shown are positions 940 to 999 of 0 to 999" in result.figure("lens").alt_text
