"""The interactive page of a long prompt: what finds room is drawn, the rest comes by links, keys and scrolling."""

from pathlib import Path

import axe
import pytest
from chromium import Page
from drawn_tables import Tables, made_up
from interactive_page import choose

from replication.base import tables
from replication.figures import interactive

pytestmark = pytest.mark.slow

POSITIONS = 1000


@pytest.fixture(scope="module")
def made() -> Tables:
    return made_up(tuple(f"t{i}" for i in range(1, POSITIONS)), key_positions=(900,))


@pytest.fixture(scope="module")
def file(made: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("long") / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        # As of a model of more layers.
        patch.setattr(interactive, "TOPS", 2 * len(made.losses) + 1)
        file.write_text(interactive.page("long", made.losses, made.effect, made.top10, made.record), encoding="utf-8")
    return file


@pytest.fixture(params=[1500, 420])
def page(browser: Page, file: Path, request: pytest.FixtureRequest):
    """The page at position 700, on a desktop and on a phone; whatever a test does, it must not complain."""
    link = "#experiment=long&protocol=raw&statistic=loss&layer=3&position=700"
    browser.open(file, width=request.param, fragment=link)
    yield browser
    assert browser.messages == []


def drawn(page: Page) -> list[int]:
    """Positions that the maps have columns of."""
    columns: list[list[int]] = page.run("maps.data.slice(0, 3).map((trace) => trace.x)")
    assert columns[0] == columns[1] == columns[2]
    return columns[0]


def in_sight(page: Page, position: int) -> bool:
    """Whether the column is within the box that scrolls, and its name below it."""
    inside: bool = page.run(
        f"""(() => {{
            const box = scroll.getBoundingClientRect(), axis = maps._fullLayout.xaxis;
            const x = maps.getBoundingClientRect().x + axis._offset + axis.c2p({position});
            const names = [...maps.querySelectorAll(".xtick")].map((tick) => tick.textContent);
            const name = names.some((text) => text.startsWith("{position} "));
            return name && x > box.x && x < box.right;
        }})()"""
    )
    return inside


def test_a_link_opens_at_its_cell(page):
    assert in_sight(page, 700)
    assert page.run("document.getElementById('cell').textContent") == "t701 after t700, at layer 3"
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_columns_keep_the_width_that_their_text_needs(page):
    width = page.run("maps._fullLayout.xaxis._length") / len(drawn(page))
    assert width >= page.run("columnWidth") > 20


def test_the_numbers_are_those_of_the_columns(page, made):
    columns = drawn(page)
    rows = made.losses[(made.losses["protocol"] == "raw") & (made.losses["condition"] == "steered")]
    rows = rows[rows["layer"] == tables.OUTPUT].set_index("position")["loss"]
    assert page.run("maps.data[1].z.at(-1)") == pytest.approx(rows[columns].tolist(), rel=1e-4)
    every = made.losses[made.losses["protocol"] == "raw"]["loss"]
    limits = page.run("[maps.layout.coloraxis.cmin, maps.layout.coloraxis.cmax]")
    assert limits == [every.min(), every.max()], "colours are those of all positions"


def test_arrow_keys_walk_out_of_what_is_drawn(page):
    last = drawn(page)[-1]
    choose(page, "position", str(last))
    page.run("scroll.focus()")
    page.press("ArrowRight")
    page.wait(f"maps.data[0].x.includes({last + 1})")
    assert page.run("choice.position.value") == str(last + 1)
    assert in_sight(page, last + 1)


def test_the_list_of_tokens_reaches_both_ends(page):
    for position in (0, POSITIONS - 1):
        choose(page, "position", str(position))
        page.wait(f"maps.data[0].x.includes({position})")
        assert in_sight(page, position)


def test_scrolling_draws_what_it_comes_to(page):
    assert page.run("maps.data[0].x[0] === Math.round(scroll.scrollLeft / columnWidth)")
    page.run("scroll.scrollLeft = 100 * columnWidth")
    page.wait("maps.data[0].x[0] === 100")
    assert in_sight(page, 100)
    page.run("scroll.scrollLeft = scroll.scrollWidth")
    page.wait(f"maps.data[0].x.at(-1) === {POSITIONS - 1}")
    assert page.run("choice.position.value") == "700", "the chosen cell stays"


def test_a_resized_window_draws_what_finds_room(page):
    before = len(drawn(page))
    page.resize(800, 1000)
    page.wait(f"maps.data[0].x.length !== {before}")
    assert page.run("maps.getBoundingClientRect().right <= scroll.getBoundingClientRect().right + 1")


def test_what_is_left_out_is_said(page):
    said = page.run("document.getElementById('above').textContent")
    assert "of the ten most probable tokens of a cell this page has 2, and numbers have five digits" in said
    assert page.run("document.querySelectorAll('#top tbody tr').length") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(page, scheme):
    page.prefer(scheme)
    assert axe.serious_violations(page) == []
