"""What the figures show: checked against the tables, and against a description of every artist kept beside this file.

The descriptions (test_figures/*.txt, by pytest-regressions) hold numbers, texts, colours and places instead of pixels:
they don't depend on fonts or the renderer, and a change of content shows as a readable difference.
Renew them with `pytest tests/test_figures.py --force-regen` after looking at the figures.
"""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn_tables import BOS, VOCABULARY, Tables, control_tables, controls_of, figures_of, made_up, written
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from PIL import Image

from replication.base import paths, tables
from replication.base.files import write_text
from replication.figures import beyond_chance, by_layer, curves, overview, post
from replication.figures import canvas as page
from replication.figures import sweep as sweeps
from replication.figures.alt_text import alt_text, control_alt_text, over_all_alt_text
from replication.figures.cell_texts import CellTexts, text_width
from replication.figures.draw import draw
from replication.figures.grid import draw_cells
from replication.figures.held_out import held_out
from replication.figures.positions import layer_ticks
from replication.verification import chance as control_verdicts
from replication.workflow.steps_on_tables import control_figures

CONTROL_FILES = tuple(paths.control_figures({"{experiment}": list(paths.CONTROL_KINDS)}))

ODD = ("\n", "\t", "\x07", "日本", "🎉", "\u202e$x_1$", "</script>", '"', " null", "é", " $$", "\\xe6", "אב", "\u0301")


@pytest.fixture(scope="module")
def made() -> Tables:
    return made_up()


def panels(figure: Figure) -> list[Axes]:
    """The heat maps of a figure, without colour bars."""
    return [axes for axes in figure.axes if cells(axes)]


def cells(axes: Axes) -> list[CellTexts]:
    return [artist for artist in axes.get_children() if isinstance(artist, CellTexts)]


def values(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def tick_texts(axes: Axes, axis: str) -> list[str]:
    return [label.get_text() for label in getattr(axes, f"get_{axis}ticklabels")()]


def losses_at(made: Tables, layers: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Losses of the raw protocol before and after steering."""
    return tuple(lens_table(made.losses, "loss", layers, protocol="raw", condition=c) for c in tables.CONDITIONS)


def bold(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels() if label.get_fontweight() == "bold"]


def column(table, name: str, layer: str, **wanted: str) -> list:
    """One row of a lens table, by position, read off with nothing but comparisons."""
    rows = table[table["layer"] == layer]
    for key, value in wanted.items():
        rows = rows[rows[key] == value]
    return [rows.loc[rows["position"] == i, name].item() for i in range(len(rows))]


def lens_table(table, name: str, layers: list[str], **wanted: str) -> np.ndarray:
    return np.array([column(table, name, layer, **wanted) for layer in layers])


ALL = ["0", "1", "2", "3", "4", "output"]
DRAWN = ["0", "2", "4", "output"]
"""Of these the post's figures draw."""


@pytest.mark.parametrize("protocol", ["raw", "centred"])
def test_post_draws_every_second_layer_and_the_output(made, protocol):
    figure = post.post(made.losses, made.record, protocol)
    above, below = panels(figure)
    assert above.get_position().y0 > below.get_position().y1
    for axes, condition in zip((above, below), tables.CONDITIONS, strict=True):
        drawn = {"protocol": protocol, "condition": condition}
        assert axes.get_title(loc="left") == condition
        assert tick_texts(axes, "y") == ["input", "2", "4", "output"]
        assert tick_texts(axes, "x") == ["␣hate", "␣you", "␣wonderful", "<|endoftext|>"]
        np.testing.assert_array_equal(values(axes), lens_table(made.losses, "loss", DRAWN, **drawn))
        tops = lens_table(made.losses, "top_token", DRAWN, **drawn)
        expected = {top: top.replace(" ", "␣") for top in VOCABULARY} | {"\n": "\\n", "\u202etxt": "\\u202etxt"}
        assert cells(axes)[0].texts.tolist() == [[expected[top] for top in row] for row in tops]


def test_post_frames_the_columns_of_the_key_tokens_neighbours_together():
    made = made_up((" hate", " you", " wonderful", " person", "!"), key_positions=(1, 2, 4))
    for axes in panels(post.post(made.losses, made.record, "raw")):
        # Four rows: three layers and the output.
        frames = {patch.get_bbox().bounds for patch in axes.patches}
        assert frames == {(0.5, -0.5, 2.0, 4.0), (3.5, -0.5, 1.0, 4.0)}
        assert bold(axes) == ["␣you", "␣wonderful", "!"]


def test_post_has_one_scale_whose_limits_are_those_of_all_layers_of_both_runs(made):
    losses = made.losses.copy()
    # The extremes lie in layers that are not drawn, one in each run.
    for layer, condition, loss in (("1", "unsteered", 0.0625), ("3", "steered", 99.5)):
        at = (losses["layer"] == layer) & (losses["condition"] == condition) & (losses["position"] == 1)
        losses.loc[at & (losses["protocol"] == "raw"), "loss"] = loss
    for axes in panels(post.post(losses, made.record, "raw")):
        assert axes.images[0].get_clim() == (0.0625, 99.5)


def test_post_has_the_colours_of_plotlys_rdbu_r():
    from plotly.colors import get_colorscale

    for place, colour in get_colorscale("rdbu_r"):
        expected = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        np.testing.assert_allclose(matplotlib.colormaps["RdBu_r"](float(place))[:3], expected, atol=0.01)


def test_lens_draws_all_layers_and_the_change_on_a_symmetric_scale(made):
    unsteered, steered, change = panels(overview.lens(made.losses, made.record))
    before, after = losses_at(made, ALL)
    np.testing.assert_array_equal(values(unsteered), before)
    np.testing.assert_array_equal(values(steered), after)
    np.testing.assert_array_equal(values(change), after - before)
    low, high = change.images[0].get_clim()
    assert -low == high == np.abs(after - before).max()
    limits = min(before.min(), after.min()), max(before.max(), after.max())
    assert unsteered.images[0].get_clim() == steered.images[0].get_clim() == limits
    assert (cells(change)[0].texts == "").tolist() == (before == after).tolist()
    assert tick_texts(unsteered, "y") == ALL
    for axes in (unsteered, steered, change):
        assert tick_texts(axes, "x") == [BOS, "␣hate", "␣you", "␣wonderful"]
        (above,) = axes.child_axes
        assert tick_texts(above, "x") == ["␣hate", "␣you", "␣wonderful", BOS]
        assert bold(above) == ["␣wonderful"]


def test_the_injection_is_framed_where_the_vector_is_not_zero(made):
    for axes in panels(overview.lens(made.losses, made.record)) + panels(overview.kl(made.effect, made.record)):
        frames = {patch.get_bbox().bounds for patch in axes.patches if isinstance(patch, Rectangle)}
        # positions 1 and 2, row 2: position 0 is bos - bos
        assert frames == {(0.5, 1.5, 2.0, 1.0)}


def test_nothing_is_framed_and_nothing_changes_with_coefficient_0():
    nothing = made_up(coefficient=0)
    axes = panels(overview.lens(nothing.losses, nothing.record))[2]
    assert not axes.patches
    assert not values(axes).any()
    assert set(cells(axes)[0].texts.flat) == {""}
    # white, not one end of the scale
    assert to_hex(axes.images[0].to_rgba(0.0)) == to_hex(matplotlib.colormaps["RdBu_r"](0.5))
    assert values(panels(overview.kl(nothing.effect, nothing.record))[0]).max() == 0


def test_kl_draws_the_effect_and_leaves_zeros_empty(made):
    (axes,) = panels(overview.kl(made.effect, made.record))
    expected = lens_table(made.effect, "kl_to_unsteered", ALL, protocol="raw")
    np.testing.assert_array_equal(values(axes), expected)
    assert axes.images[0].get_clim() == (0, expected.max())
    assert cells(axes)[0].texts.tolist() == [[f"{value:.2f}" if value else "" for value in row] for row in expected]


def test_output_draws_the_losses_of_the_last_row_and_the_change_of_key_tokens(made):
    (axes,) = curves.output(made.losses, made.record).axes
    (before,), (after,) = losses_at(made, ["output"])
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == {"unsteered": before.tolist(), "steered": after.tolist()}
    change = f"{after[2] - before[2]:+.2f}".replace("-", "−")
    assert [text.get_text() for text in axes.texts] == [change]
    assert bold(axes) == ["␣wonderful"]
    assert [patch.get_bbox().intervalx.tolist() for patch in axes.patches] == [[0.5, 2.5]]


UNSTEERED, STEERED, NEUTRAL = "#0072b2", "#d55e00", "#737373"


def layer_lines(axes: Axes) -> dict[tuple[str, str], dict[int, float]]:
    """The lines of a panel by lens and colour, each a loss by layer; the points of the output apart."""
    curves = [line for line in axes.lines if line.get_marker() == "None" and len(set(line.get_xdata())) > 1]
    lens = {"-": "tuned", "--": "logit"}
    kinds = [(lens[line.get_linestyle()], to_hex(line.get_color())) for line in curves]
    assert len(set(kinds)) == len(kinds), "none is drawn twice"
    return {kind: dict(line.get_xydata().tolist()) for kind, line in zip(kinds, curves, strict=True)}


def test_layers_draws_each_key_token_in_both_conditions_and_lenses_and_what_is_before_the_vector_once():
    made = made_up(key_positions=(0, 2))
    figure = by_layer.layers(made.losses, made.logit_lens, made.record)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["␣hate (position 0)", "␣wonderful (position 2)"]
    for axes, position in zip(figure.axes, (0, 2), strict=True):
        drawn = layer_lines(axes)
        for condition, colour in zip(tables.CONDITIONS, (UNSTEERED, STEERED), strict=True):
            tuned = lens_table(made.losses, "loss", ALL[:-1], protocol="raw", condition=condition)[:, position]
            logit = lens_table(made.logit_lens, "loss", ALL[:-1], condition=condition)[:, position]
            for lens, loss in (("tuned", tuned), ("logit", logit)):
                # The vector is added before block 2.
                assert drawn[lens, NEUTRAL] == dict(enumerate(loss[:2]))
                assert drawn[lens, colour] == {layer: loss[layer] for layer in (1, 2, 3, 4)}
        outputs = [line.get_ydata()[0] for line in axes.lines if line.get_marker() in ("o", "D")]
        assert outputs == [row[0, position] for row in losses_at(made, ["output"])]


@pytest.mark.parametrize("room", [4, 6])
def test_an_axis_of_layers_names_what_there_is_room_for_evenly_and_none_beside_the_output(room):
    for depth in range(1, 97):
        ticks, output_at = layer_ticks({"shape": {"layers": depth}}, room)
        step = np.diff([*ticks]) if len(ticks) > 1 else np.array([1])
        assert min(room, depth) / 2 <= len(ticks) <= 1.5 * room
        assert set(step) == {step[0]}
        assert depth <= 12 or step[0] % 4 == 0
        assert (ticks[0], output_at > depth, output_at - max(ticks) > step[0] / 2) == ("0", True, True)
    chosen = {"shape": {"layers": 48}, "rows": ["12", "13", "15", "output"]}
    assert layer_ticks(chosen, room) == ({12: "12", 13: "13", 14: "14", 15: "15"}, 17)


def test_layers_where_the_vector_is_added_before_block_0_has_no_stretch_before_it():
    made = made_up(layer=0)
    (axes,) = by_layer.layers(made.losses, made.logit_lens, made.record).axes
    assert {colour for _, colour in layer_lines(axes)} == {UNSTEERED, STEERED}
    assert list(layer_lines(axes)["logit", STEERED]) == [0, 1, 2, 3, 4]


def test_layers_has_the_scale_of_the_tuned_lens_from_the_injection_on_and_says_what_lies_outside():
    made = made_up(key_positions=(0, 2))

    def with_losses(table, values):
        """The same losses at a layer in both conditions, which are 3 to 5 elsewhere."""
        loss = 3 + table["loss"] % 2
        for layer, position, value in values:
            loss = loss.mask((table["layer"] == layer) & (table["position"] == position), value)
        return table.assign(loss=loss.astype("float32"))

    losses = with_losses(made.losses, [("0", 2, 9.25), ("2", 2, 6), ("4", 0, 2)])
    logit_lens = with_losses(made.logit_lens, [("0", 0, 16), ("1", 2, 0.5), ("3", 2, 12.5)])
    first, second = by_layer.layers(losses, logit_lens, made.record).axes
    assert first.get_ylim() == second.get_ylim() == pytest.approx((2 - 0.07 * 4, 6 + 0.07 * 4))
    assert [text.get_text() for text in first.texts] == ["off the scale: logit lens, to 16.0 at layer 0"]
    words = " ".join(second.texts[0].get_text().split())
    logit = "logit lens, to 12.5 at layer 3; logit lens, down to 0.5 at layer 1"
    assert words == f"off the scale: tuned lens, to 9.2 at layer 0; {logit}"


def test_layers_scale_holds_the_tuned_lens_before_the_injection_where_that_costs_at_most_half_as_much_again():
    made = made_up()
    for before, top in ((5.0, 5.0), (5.01, 4.0)):
        losses = made.losses.assign(loss=made.losses["position"].map({2: 2.0}).fillna(9))
        for layer, loss in (("0", before), ("4", 4.0)):
            at = (losses["layer"] == layer) & (losses["position"] == 2)
            losses.loc[at, "loss"] = loss
        (axes,) = by_layer.layers(losses, made.logit_lens, made.record).axes
        assert axes.get_ylim()[1] == pytest.approx(top + 0.07 * (top - 2))


def test_layers_without_key_tokens_draws_the_mean_away_from_the_injection():
    made = made_up(key_positions=())
    (axes,) = by_layer.layers(made.losses, made.logit_lens, made.record).axes
    _, steered = losses_at(made, ALL[:-1])
    expected = steered[:, [0, 3]].mean(axis=1)[1:]
    np.testing.assert_allclose(list(layer_lines(axes)["tuned", STEERED].values()), expected, rtol=1e-6)


def contrast(one: str, other: tuple[float, ...]) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: tuple[float, ...]) -> float:
        parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(to_rgb(one)), luminance(other[:3])))
    return (high + 0.05) / (low + 0.05)


def test_cell_text_is_legible_on_every_colour(made):
    for figure in figures_of(made).values():
        for axes in panels(figure):
            image, texts = axes.images[0], cells(axes)[0]
            for cell, text in np.ndenumerate(texts.texts):
                if text:
                    background = tuple(image.cmap(image.norm(values(axes)[cell])))
                    assert contrast(texts.colours[cell], background) >= 4.5


@pytest.mark.parametrize(("layers", "positions"), [(12, 41), (48, 10), (48, 41)])
def test_cell_texts_fit_their_cells_at_any_size(layers, positions):
    made = made_up(tuple(f" mmmmmmmm{i}" for i in range(positions - 1)), layers=layers, key_positions=())
    losses = made.losses.assign(top_token=" wonderful thing")
    for figure in (post.post(losses, made.record, "raw"), overview.lens(losses, made.record)):
        width, height = figure.get_size_inches()
        for axes in panels(figure):
            box, texts = axes.get_position(), cells(axes)[0]
            for text in set(texts.texts.flat):
                assert text_width(text, texts.weight) * texts.size / 72 <= box.width * width / positions
            assert texts.size / 72 <= box.height * height / texts.texts.shape[0]


@pytest.mark.parametrize("letter", ["i", "w"])
def test_text_in_a_cell_is_cut_by_its_width_there(letter):
    made = made_up(tuple("abcdefghi"), key_positions=())
    losses = made.losses.assign(top_token=letter * 40)
    for figure in (post.post(losses, made.record, "raw"), overview.lens(losses, made.record)):
        axes = panels(figure)[0]
        (shown,), texts = set(cells(axes)[0].texts.flat), cells(axes)[0]
        room = axes.get_position().width * figure.get_size_inches()[0] / 10 * 72

        def wide(letters: int, texts: CellTexts = texts) -> float:
            """Points, by matplotlib's own layout."""
            font = FontProperties(family="DejaVu Sans", weight=texts.weight)
            return TextPath((0, 0), letter * letters + "…", size=texts.size, prop=font).get_extents().width

        assert shown == letter * (len(shown) - 1) + "…"
        assert wide(len(shown) - 1) < room < wide(len(shown) + 1)


def test_panels_of_long_prompts_stand_above_each_other():
    made = made_up(tuple("abcdefghijklmnopqrst"), key_positions=())
    boxes = [axes.get_position() for axes in panels(overview.lens(made.losses, made.record))]
    assert [box.x0 for box in boxes] == [boxes[0].x0] * 3
    assert boxes[0].y0 > boxes[1].y1 > boxes[1].y0 > boxes[2].y1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", paths.FORMATS)
def test_odd_tokens_are_drawn_without_missing_glyphs_or_formulas(suffix, tmp_path):
    made = made_up(ODD, key_positions=(5,), title="Odd $\\frac{a}$ 日本 \u202etitle")
    for kind, figure in figures_of(made).items():
        if suffix == "pdf" and kind not in ("lens", "output"):
            continue  # the slowest format; these two hold every text
        target = tmp_path / f"{kind}.{suffix}"
        page.save(figure, target)
        if suffix == "svg":
            svg = target.read_text(encoding="utf-8")
            assert "Odd $\\frac{a}$ \\u65e5\\u672c \\u202etitle" in svg
            assert "\u202e" not in svg
            # These show key tokens only, or none.
            assert ("\\n" in svg) == (kind not in ("layers", "lenses"))


def test_drawing_writes_exactly_the_files_it_names(tmp_path, monkeypatch):
    """With stand-ins for the files: what is in them, and that each format can be written, other tests hold."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "save", lambda _, file: write_text(file, "a figure"))
    written(made_up(layers=3), "m", "e")
    draw("m", "e")
    control_figures("m", [f"e/{kind}" for kind in paths.CONTROL_KINDS])
    files = sorted(str(file) for file in Path("figures").rglob("*") if file.is_file())
    named = (*paths.FIGURE_FILES, *CONTROL_FILES, "figures/m/beyond_chance.pdf")
    assert files == sorted(str(paths.path(pattern, "m", "e")) for pattern in named)


@pytest.mark.parametrize("suffix", paths.FORMATS)
def test_drawing_again_gives_the_same_bytes(made, suffix, tmp_path, monkeypatch):
    first, again = tmp_path / f"first.{suffix}", tmp_path / f"again.{suffix}"
    page.save(overview.lens(made.losses, made.record), first)
    # At another time, and with a user's own settings.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "savefig.dpi": 50, "axes.edgecolor": "red"}):
        page.save(overview.lens(made.losses, made.record), again)
    assert first.read_bytes() == again.read_bytes()


def test_png_has_200_dpi_and_the_colours_of_the_table(made, tmp_path):
    figure = post.post(made.losses, made.record, "raw")
    page.save(figure, tmp_path / "post.png")
    image = Image.open(tmp_path / "post.png")
    assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    losses = made.losses[made.losses["protocol"] == "raw"]["loss"]
    scale = Normalize(losses.min(), losses.max())
    width, height = image.size
    for axes, drawn in zip(panels(figure), losses_at(made, DRAWN), strict=True):
        box = axes.get_position()
        for (row, position), loss in np.ndenumerate(drawn):
            # near the corner of the cell, where neither text nor frame is
            x = (box.x0 + box.width * (position + 0.08) / 4) * width
            y = (1 - box.y0 - box.height * (row + 0.2) / 4) * height
            expected = np.array(matplotlib.colormaps["RdBu_r"](scale(loss))[:3]) * 255
            assert np.abs(np.array(image.getpixel((int(x), int(y)))) - expected).max() <= 2


@pytest.mark.parametrize("backend", ["png", "svg"])
def test_text_stands_in_the_middle_of_its_cell(backend, tmp_path):
    texts = np.full((3, 4), "", dtype=object)
    texts[2, 1] = "HHHH"
    with page.style():
        figure = Figure((4, 3))
        axes = figure.add_axes((0, 0, 1, 1))
        draw_cells(axes, np.zeros((3, 4)), texts, Normalize(0, 1), "Blues", 10)
    target = tmp_path / f"cell.{backend}"
    page.save(figure, target)
    if backend == "png":
        rows, columns = np.nonzero(np.asarray(Image.open(target).convert("L")) < 100)
        width, height = Image.open(target).size
        middle = (columns.min() + columns.max()) / 2 / width, (rows.min() + rows.max()) / 2 / height
    else:
        place = r'text-anchor: middle[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>HHHH</text>'
        (text,) = re.findall(place, target.read_text())
        # In points; the base line is half a capital's height below the middle.
        middle = float(text[0]) / (4 * 72), (float(text[1]) - 10 * 0.73 / 2) / (3 * 72)
    # column 1 of 4, row 2 of 3 from below
    assert middle == pytest.approx((1.5 / 4, 0.5 / 3), abs=0.003)


@pytest.mark.parametrize("kind", paths.KINDS)
def test_alt_text_says_the_numbers_that_matter(made, kind):
    losses = made.losses.copy()
    # The largest change is a fall.
    steered = (losses["condition"] == "steered") & (losses["layer"] == "output") & (losses["position"] == 1)
    losses.loc[losses["position"] == 1, "loss"] = 40.0
    losses.loc[steered, "loss"] = 2.5
    text = alt_text(kind, losses, made.effect, made.record)
    assert text.startswith("Love - Hate, made-up. ")
    assert "\n" not in text
    protocol = losses[losses["protocol"] == ("centred" if kind == "post_centred" else "raw")]
    if kind in ("post_raw", "post_centred", "lens"):
        assert f"{protocol['loss'].min():.2f}" in text
        assert "40.00 nats" in text
    before, after = (column(losses, "loss", "output", protocol="raw", condition=c) for c in ("unsteered", "steered"))
    if kind in ("post_raw", "post_centred", "lens", "output"):
        assert "changes most at “␣you” from 40.00 to 2.50 nats" in text
        assert f"“␣wonderful” from {before[2]:.2f} to {after[2]:.2f} nats" in text
    if kind == "lens":
        assert "−37.50 nats, at the output, at “␣you”" in text
    if kind == "layers":
        # The key token's largest change is a fall at layer 3.
        key = (losses["position"] == 2) & (losses["layer"] == "3")
        losses.loc[key, "loss"] = [60.0 if name == "unsteered" else 1.0 for name in losses.loc[key, "condition"]]
        text = alt_text(kind, losses, made.effect, made.record)
        assert "“␣wonderful” steering changes the tuned lens' loss most at layer 3: from 60.00 to 1.00 nats" in text
    if kind == "lenses":
        row = column(losses, "kl_to_output", "0", protocol="raw", condition="steered")
        last = column(losses, "kl_to_output", "4", protocol="raw", condition="steered")
        assert f"steered from {sum(row) / 4:.3g} to {sum(last) / 4:.3g} nats" in text
    if kind == "kl":
        effect = made.effect[made.effect["protocol"] == "raw"]["kl_to_unsteered"]
        assert f"{effect.max():.2f} nats" in text
        assert f"{(effect == 0).sum()} of 24 cells" in text
        # A larger one of the other protocol is not what the figure shows.
        centred = made.effect["protocol"] == "centred"
        raised = made.effect.assign(kl_to_unsteered=made.effect["kl_to_unsteered"].mask(centred, 99.0))
        assert alt_text(kind, losses, raised, made.record) == text


def test_alt_text_of_controls_says_the_numbers_that_matter(made):
    found = {
        kind: control_alt_text(kind, getattr(control_verdicts, kind)(table, made.record), made.record)
        for kind, table in control_tables(made).items()
        if kind in paths.CONTROL_KINDS
    }
    assert "by −2.00 nats, by random vectors 0 to +3.00" in found["random_vectors"]
    assert "by 1.00 nats in size, by random vectors 0 to 1.50" in found["random_vectors"]
    others = "after 2 others by −0.50 to +3.00; 1 of them in the other direction"
    assert f"own prompt they change by +2.00 nats, {others}" in found["prompts"]
    assert "layer 2 and coefficient 5, is framed: −3.75 and 1.25 nats" in found["sweep"]
    assert "The key tokens' loss is lowest at layer 4 with 5: −6.25 and 1.25 nats" in found["sweep"]


def over_all(*experiments: Tables) -> Figure:
    return beyond_chance.beyond_chance([(part.record, control_tables(part)["random_by_layer"]) for part in experiments])


def test_the_figure_over_all_shows_each_vector_beside_the_band_of_its_draws(made):
    """Two key tokens each change by -1 from the injection before block 2 on, at the output by -2; draw i by i / 10."""
    key, other = over_all(made, made_up(layers=5)).axes
    keys, depth, block = len(made.record["key_positions"]), made.record["shape"]["layers"], 2
    (line,) = (line for line in key.lines if line.get_label() == "the steering vector")
    assert list(line.get_ydata()) == [0] * block + [-keys] * (depth - block)
    (band,) = key.collections
    drawn = band.get_paths()[0].vertices
    at_last = sorted({round(float(y), 6) for x, y in drawn if x == depth - 1})
    # The 5th and the 95th percentile of 0, 0.1 ... 2 are 0.1 and 1.9.
    assert at_last == pytest.approx([0.1 * keys, 1.9 * keys])
    assert [text.get_text() for text in key.texts] == [f"−{2 * keys:.2f}"]
    assert key.get_xlabel() == "layer\noutside the band from layer 2\nhalf of the effect from layer 2"
    assert key.get_ylim() == other.get_ylim()


def test_alt_text_of_the_figure_over_all_says_each_change_and_band(made):
    judged = {kind: getattr(control_verdicts, kind)(table, made.record) for kind, table in control_tables(made).items()}
    text = over_all_alt_text({"e": made.record}, {"e": judged})
    assert text.startswith(f"{made.record['model']}. Lines of the change")
    assert "−2.00 nats, random vectors +0.15 to +2.85, outside their band from layer 2 on." in text


@pytest.fixture(scope="module")
def each(made: Tables) -> dict[str, Figure]:
    """Every figure, by its kind, drawn once."""
    return figures_of(made) | controls_of(made) | {"beyond_chance": over_all(made, made)}


def test_random_vectors_marks_the_steering_vector_among_the_draws(each):
    key, other = each["random_vectors"].axes
    for axes, steering, draws in ((key, -2, [0, 1, 2, 3]), (other, 1, [0, 0.5, 1, 1.5])):
        (line,) = (line for line in axes.lines if line.get_label() == "the steering vector")
        assert list(line.get_xdata()) == [steering, steering]
        bars = [patch for patch in axes.patches if patch.get_height()]
        assert [bars[0].get_x(), bars[-1].get_x() + bars[-1].get_width()] == [min(draws), max(draws)]
        assert sum(bar.get_height() for bar in bars) == 4


def test_prompts_are_sorted_and_those_against_named(each):
    (axes,) = each["prompts"].axes
    assert [(label.get_text(), label.get_fontweight()) for label in axes.get_yticklabels()] == [
        ("It (neutral)", "normal"), ("I (the experiment's own)", "bold"), ("You, $x$ | <b> (paraphrase)", "normal"),
    ]  # fmt: skip
    assert [text.get_text() for text in axes.texts] == ["−0.50 against", "+2.00", "+3.00"]
    drawn = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert (drawn["unsteered"], drawn["steered"]) == ([1, 0, -1], [0.5, 2, 2])


def test_sweep_is_centred_on_0_cut_at_the_largest_fall_and_frames_the_own_choice(each):
    figure = each["sweep"]
    key, other = panels(figure)
    assert key.images[0].get_clim() == (-6.25, 6.25)
    assert values(key).max() == 90
    assert cells(key)[0].texts[2].tolist() == ["+3.8", "", "−3.8", "+90.0"]
    assert values(other)[0].tolist() == [1.25, 0, 1.25, 5]
    for axes in (key, other):
        assert {patch.get_bbox().bounds for patch in axes.patches} == {(1.5, 1.5, 1.0, 1.0)}
        assert tick_texts(axes, "x") == ["−5", "0", "5", "20"]


def test_small_changes_of_a_sweep_keep_their_digits(made):
    table = control_tables(made)["sweep"]
    small = table.assign(change=np.where(table["coefficient"] > 5, 0, table["change"] / 10))
    figure = sweeps.sweep(small, made.record)
    key, other = panels(figure)
    assert cells(key)[0].texts[2].tolist() == ["+0.38", "", "−0.38", ""]
    assert cells(other)[0].texts[2].tolist() == ["0.12", "", "0.12", ""]
    assert "arrow" not in figure.texts[-1].get_text(), "nothing is cut"


KINDS = ["post_raw", "lens", "output", "layers", "kl", "lenses", *paths.CONTROL_KINDS, "beyond_chance"]


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_what_they_were(each, kind, file_regression):
    file_regression.check(described(each[kind]), encoding="utf-8")


def described(figure: Figure) -> str:
    """Everything a figure shows, but fonts and pixels: size, texts, ticks, numbers, colours and places."""
    lines = [f"size {figure.get_size_inches().round(2).tolist()}"]
    lines += [f"text {text.get_text()!r}" for text in figure.texts]
    lines += [f"legend {[text.get_text() for text in legend.get_texts()]}" for legend in figure.legends]
    for axes in figure.axes:
        lines += [f"axes {axes.get_label()!r} at {np.round(axes.get_position().bounds, 3).tolist()}"]
        lines += [f"  title {axes.get_title(loc='left')!r}, x {axes.get_xlabel()!r}, y {axes.get_ylabel()!r}"]
        lines += [f"  limits {np.round([*axes.get_xlim(), *axes.get_ylim()], 3).tolist()}"]
        lines += [f"  {axis} ticks {tick_texts(axes, axis)}" for axis in "xy"]
        lines += [f"  text {text.get_text()!r} at {np.round(text.get_position(), 3).tolist()}" for text in axes.texts]
        lines += [f"  above {tick_texts(above, 'x')}, bold {bold(above)}" for above in axes.child_axes]
        for image in axes.images:
            lines += [f"  image {image.cmap.name}, {type(image.norm).__name__} {image.get_clim()}"]
            lines += [f"    {np.round(row.astype(float), 3).tolist()}" for row in values(axes)]
        for texts in cells(axes):
            lines += [f"  texts of {texts.size} points, {texts.weight}"]
            rows = zip(texts.texts.tolist(), texts.colours.tolist(), strict=True)
            lines += [f"    {list(zip(*row, strict=True))}" for row in rows]
        for line in axes.lines:
            look = f"{to_hex(line.get_color())} {line.get_linestyle()!r} {line.get_marker()}"
            lines += [f"  line {line.get_label()!r} {look} {np.round(line.get_xydata(), 3).tolist()}"]
        for patch in axes.patches:
            # A colour bar's arrow is no rectangle.
            box = patch.get_bbox() if isinstance(patch, Rectangle) else patch.get_path().get_extents()
            lines += [f"  patch {np.round(box.bounds, 3).tolist()} {to_hex(patch.get_edgecolor())}"]
    return "\n".join(lines) + "\n"


def test_the_held_out_figure_draws_the_table_and_names_model_and_tokens():
    table = pd.DataFrame({"layer": range(5), "tuned_lens": [1.0, 0.5, 0.2, 0.1, 0.01], "logit_lens": [9, 5, 2, 1, 0.5]})
    figure = held_out(table, "my $gpt2$", 12345)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for column, name in (("tuned_lens", "tuned lens"), ("logit_lens", "logit lens")):
        assert lines[name].get_xdata().tolist() == table.layer.tolist()
        assert lines[name].get_ydata().tolist() == table[column].tolist()
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(lines)
    assert figure.axes[0].get_yscale() == "log"
    assert "my $gpt2$ · KL(output ‖ lens), mean over 12,345 tokens" in [text.get_text() for text in figure.texts]
