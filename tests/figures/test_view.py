"""Chosen layers and tokens: what is drawn is that part of the tables, and what cannot be chosen is said."""

import numpy as np
import pytest
from drawn_tables import BOS, Tables, control_tables, made_up
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.base import paths
from replication.base.errors import UserError
from replication.base.visible import visible
from replication.figures.draw import control_drawing, drawing
from replication.figures.positions import BY_LAYER
from replication.figures.view import View, chosen

LAYERS = [*map(str, range(12)), "output"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0", ["0"]),
        ("0,6,9-11,output", ["0", "6", "9", "10", "11", "output"]),
        ("output, 3-4, 4", ["3", "4", "output"]),
        ("0-11,output", LAYERS),
    ],
)
def test_a_list_of_layers_is_read_in_the_order_of_the_network(text, names):
    assert chosen(text, LAYERS, "layers") == names


@pytest.mark.parametrize("part", ["12", "", "7-3", "3-12", "0-output", "-1", "input", "1.5", "٣"])
def test_what_is_no_layer_is_named_with_those_there_are(part):
    with pytest.raises(UserError) as error:
        chosen(f"0,{part}", LAYERS, "layers")
    assert str(error.value) == f"layers: {part!r} is not among 0 to 11 and output, as in 0,2-4"


@pytest.fixture(scope="module")
def made() -> Tables:
    return made_up((" hate", " you", " wonderful", " person", "!"), layers=9, layer=3, key_positions=(2, 4))


def drawn(made: Tables, kind: str, **view: object) -> Figure:
    if kind in paths.CONTROL_KINDS:
        return control_drawing(kind, control_tables(made)[kind], made.record, View(**view))
    return drawing(kind, made.losses, made.effect, made.logit_lens, made.record, View(**view))


def maps(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def labels(axes: Axes, axis: str) -> list[str]:
    return [label.get_text() for label in getattr(axes, f"get_{axis}ticklabels")()]


def value(table, column: str, layer: str, position: int, **wanted: str) -> float:
    rows = table[(table["layer"] == layer) & (table["position"] == position)]
    for key, text in wanted.items():
        rows = rows[rows[key] == text]
    return rows[column].item()


@pytest.mark.parametrize("kind", ["lens", "kl", "post_raw", "post_centred"])
def test_a_map_shows_the_chosen_rows_and_columns_and_its_marks_stay_with_them(made, kind):
    figure = drawn(made, kind, layers="1,3-4,output", tokens="1-2,4")
    first = maps(figure)[0]
    layers, positions = ["1", "3", "4", "output"], [1, 2, 4]
    protocol = "centred" if kind == "post_centred" else "raw"
    column, table, wanted = "loss", made.losses, {"protocol": protocol, "condition": "unsteered"}
    if kind == "kl":
        column, table, wanted = "kl_to_unsteered", made.effect, {"protocol": "raw"}
    expected = [[value(table, column, layer, position, **wanted) for position in positions] for layer in layers]
    np.testing.assert_array_equal(np.asarray(first.images[0].get_array()), expected)
    assert labels(first, "y") == layers
    targets = [" you", " wonderful", "!"]
    above = first if kind.startswith("post") else first.child_axes[0]
    names = above.get_xticklabels()
    assert [name.get_text() for name in names] == [visible(text) for text in targets]
    # Key tokens are at positions 2 and 4; the vector was added at 1 and 2, before block 3.
    assert [name.get_fontweight() for name in names] == ["normal", "bold", "bold"]
    frames = {patch.get_bbox().bounds for patch in first.patches}
    assert frames == ({(0.5, -0.5, 2.0, 4.0)} if kind.startswith("post") else {(-0.5, 0.5, 2.0, 1.0)})
    assert "positions 1 to 2, 4 of 0 to 5" in " ".join(text.get_text() for text in figure.texts)
    assert "positions 1 to 2, 4 of 0 to 5" in figure.alt_text


def test_a_row_that_is_not_shown_is_not_marked(made):
    assert not maps(drawn(made, "lens", layers="0-2"))[0].patches
    for axes in maps(drawn(made, "sweep", layers="0-2")):
        assert not axes.patches
        assert axes.images[0].get_array().shape == (3, 4)


def test_output_shows_the_chosen_tokens(made):
    (axes,) = drawn(made, "output", tokens="0,2-4").axes
    (unsteered,) = (line for line in axes.lines if line.get_label() == "unsteered")
    wanted = {"protocol": "raw", "condition": "unsteered"}
    assert list(unsteered.get_ydata()) == [value(made.losses, "loss", "output", i, **wanted) for i in (0, 2, 3, 4)]
    assert labels(axes, "x") == [visible(text) for text in (" hate", " wonderful", " person", "!")]


def test_layers_has_a_panel_for_each_chosen_token_and_lines_over_the_chosen_layers(made):
    figure = drawn(made, "layers", tokens="3,5", layers="2-6")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"{visible(' person')} (position 3)",
        f"{BOS} (position 5)",
    ]
    for axes in figure.axes:
        steered = next(line for line in axes.lines if line.get_label() == "steered, tuned lens")
        assert list(steered.get_xdata()) == [2, 3, 4, 5, 6]
        assert labels(axes, "x")[-1] == "6", "no output"


def test_lenses_shows_the_chosen_layers(made):
    figure = drawn(made, "lenses", layers="5-8")
    assert {tuple(line.get_xdata()) for line in figure.axes[0].lines} == {(5, 6, 7, 8)}, "the vector was added before"


@pytest.mark.parametrize("kind", [*paths.KINDS, *paths.CONTROL_KINDS])
def test_a_kind_without_layers_or_tokens_to_choose_says_so(made, kind):
    if kind not in BY_LAYER:
        with pytest.raises(UserError, match=rf"^layers: the figure {kind} has none to choose$"):
            drawn(made, kind, layers="3-5")
    if kind in ("lenses", *paths.CONTROL_KINDS):
        with pytest.raises(UserError, match=rf"^tokens: the figure {kind} has none to choose$"):
            drawn(made, kind, tokens="3-5")


def test_a_control_of_an_experiment_that_lacks_what_it_is_about_says_so():
    made = made_up(key_positions=())
    for kind, table in control_tables(made).items():
        needs = "other prompts" if kind == "prompts" else "key tokens"
        with pytest.raises(UserError, match=f"^the figure {kind} needs {needs}, and this experiment has none$"):
            control_drawing(kind, table.iloc[:0] if kind == "prompts" else table, made.record)


def test_the_output_alone_is_no_line(made):
    with pytest.raises(UserError, match=r"^layers: lines need a layer beside the output$"):
        drawn(made, "layers", layers="output")
    with pytest.raises(UserError, match=r"^layers: 'output' is not among 0 to 8, as in 0,2-4$"):
        drawn(made, "lenses", layers="output")


def test_all_positions_chosen_are_the_figure_itself(made):
    assert "positions" not in drawn(made, "lens", tokens="0-5").texts[1].get_text()


def test_of_a_long_prompt_any_positions_can_be_shown():
    long = made_up(tuple(f"t{i}" for i in range(1, 200)), layers=3, key_positions=(150,))
    figure = drawn(long, "lens", tokens="100-180")
    assert labels(maps(figure)[0], "x") == [f"t{i}" for i in range(100, 181)]
    assert "Shown are positions 100 to 180 of 0 to 199" in figure.alt_text


@pytest.mark.parametrize("width", [0.5, 41, float("nan"), float("inf")])
def test_a_width_that_no_paper_has_is_refused(made, width):
    with pytest.raises(UserError, match=rf"^a figure is 1 to 40 inches wide, not {width:g}$"):
        drawn(made, "output", width=width)


def test_what_is_taller_than_a_page_at_every_width_says_what_to_do():
    made = made_up(layers=110)
    with pytest.raises(UserError, match=r"^this figure is taller than a page .*: choose fewer layers or tokens$"):
        drawn(made, "kl", width=6)
