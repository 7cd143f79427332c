"""Figures as wide as a paper's column: no text is cut, meets another, or is smaller than 6 points."""

import re

import numpy as np
import pytest
from drawn_tables import Tables, control_tables, made_up
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from replication.base import paths
from replication.base.errors import UserError
from replication.figures.beyond_chance import beyond_chance
from replication.figures.canvas import style
from replication.figures.cell_texts import CellTexts, text_width
from replication.figures.draw import control_drawing, drawing
from replication.figures.view import PAGE, View

COLUMN = 3.3
"""Inches of a column of a two-column paper."""

POST = {
    "love_hate": ("I", " hate", " you", " because", " you", "'re", " a", " wonderful", " person"),
    "conspiracy": ("Bar", "ack", " Obama", " was", " born", " in", " a", " secret", " CIA", " prison"),
}


def of_the_posts_size(name: str) -> Tables:
    """Made-up tables with the tokens, layers and key tokens of one of the post's examples."""
    if name == "love_hate":
        return made_up(POST[name], layers=48, layer=6, injected=2, key_positions=(7,))
    return made_up(POST[name], layers=48, layer=23, injected=6, key_positions=(6, 7, 8), title=f"{name} " * 6)


def drawn(made: Tables, kind: str, view: View, experiments: int = 4) -> Figure:
    if kind == paths.BEYOND_CHANCE:
        return beyond_chance([(made.record, control_tables(made)["random_by_layer"])] * experiments, view)
    if kind in paths.CONTROL_KINDS:
        return control_drawing(kind, control_tables(made)[kind], made.record, view)
    return drawing(kind, made.losses, made.effect, made.logit_lens, made.record, view)


def texts(figure: Figure, patch: pytest.MonkeyPatch) -> list[tuple[str, float, Bbox]]:
    """Every text that is really drawn: itself, its size in points, and its box in pixels."""
    found: list[tuple[str, float, Bbox]] = []
    draw_text, draw_cells = Text.draw, CellTexts.draw

    def text(self: Text, renderer: object) -> None:
        draw_text(self, renderer)
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_fontsize(), self.get_window_extent(renderer)))

    def cells(self: CellTexts, renderer: object) -> None:
        draw_cells(self, renderer)
        for (row, column), words in np.ndenumerate(self.texts):
            if not words:
                continue
            x, y = self.axes.transData.transform((column, row))
            wide, tall = (part * self.size * figure.dpi / 72 for part in (text_width(words, self.weight), 0.73))
            found.append((words, self.size, Bbox.from_bounds(x - wide / 2, y - tall / 2, wide, tall)))

    patch.setattr(Text, "draw", text)
    patch.setattr(CellTexts, "draw", cells)
    with style():
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()  # everything but its pixels
    patch.undo()
    return found


def assert_readable(figure: Figure, patch: pytest.MonkeyPatch) -> None:
    """No text is smaller than 6 points or leaves the figure, and no two meet."""
    found = texts(figure, patch)
    assert found
    assert not {words for words, size, _ in found if size < 6}
    width, height = figure.get_size_inches() * figure.dpi
    outside = [words for words, _, box in found if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    assert not outside
    left, bottom, right, top = np.array([box.extents for _, _, box in found]).T
    across = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    up = np.minimum.outer(top, top) - np.maximum.outer(bottom, bottom)
    meeting = np.argwhere(np.triu((across > 0) & (up > 0), 1))
    assert not [(found[one][0], found[other][0]) for one, other in meeting]


@pytest.fixture(scope="module", params=POST)
def made(request: pytest.FixtureRequest) -> Tables:
    return of_the_posts_size(request.param)


# The one with more tokens, more key tokens and the longer title alone in make test: where it fits, the other does.
both_posts = pytest.mark.parametrize(
    "made", ["conspiracy", pytest.param("love_hate", marks=pytest.mark.slow)], indirect=True
)

WIDER = ("lens", "sweep")
"""Kinds whose 48 layers need more than a column: three maps of them, or two."""


@both_posts
@pytest.mark.parametrize("kind", paths.ALL_KINDS)
def test_every_text_can_be_read_at_a_columns_width_and_at_the_smallest_that_is_named(made, kind, monkeypatch):
    title = len(made.record["key_positions"]) > 1
    with pytest.raises(UserError) as error:
        drawn(made, kind, View(1, title))
    assert "\n" not in str(error.value)
    least = float(re.search(r": ([\d.]+) is the smallest width that works", str(error.value))[1])
    assert (least > COLUMN) == (kind in WIDER)
    with pytest.raises(UserError, match=f": {least:g} is the smallest width that works"):
        drawn(made, kind, View(least - 0.1, title))
    for width in {least, max(least, COLUMN)}:
        figure = drawn(made, kind, View(width, title))
        assert figure.get_size_inches()[0] == width
        assert figure.get_size_inches()[1] <= PAGE
        assert_readable(figure, monkeypatch)


@pytest.mark.parametrize("kind", WIDER)
def test_of_fewer_layers_it_can_be_read_at_a_columns_width(made, kind, monkeypatch):
    tokens = "5-9" if kind == "lens" else None
    figure = drawn(made, kind, View(COLUMN, layers="0,6,12-18", tokens=tokens))
    assert figure.get_size_inches()[1] <= PAGE
    assert_readable(figure, monkeypatch)


@both_posts
@pytest.mark.parametrize("kind", paths.ALL_KINDS)
def test_every_text_can_be_read_as_a_screen_shows_it(made, kind, monkeypatch):
    assert_readable(drawn(made, kind, View()), monkeypatch)


@pytest.mark.parametrize(("experiments", "least"), [(1, 2.4), (3, 2.4), (8, 4.6)])
def test_of_fewer_or_more_experiments_the_figure_over_all_can_be_read_too(made, experiments, least, monkeypatch):
    with pytest.raises(UserError, match=f": {least} is the smallest width that works"):
        drawn(made, paths.BEYOND_CHANCE, View(least - 0.1), experiments)
    for view in (View(least), View()):
        assert_readable(drawn(made, paths.BEYOND_CHANCE, view, experiments), monkeypatch)


def test_of_too_many_experiments_for_a_page_the_figure_over_all_asks_for_fewer(made):
    with pytest.raises(UserError, match=r"taller than a page .* at every width: choose fewer experiments"):
        drawn(made, paths.BEYOND_CHANCE, View(COLUMN), 17)


def test_a_legend_stays_inside_the_figure_at_every_width(monkeypatch):
    made = of_the_posts_size("love_hate")
    for tenths in range(24, 50):
        assert_readable(drawn(made, paths.BEYOND_CHANCE, View(tenths / 10), 1), monkeypatch)
