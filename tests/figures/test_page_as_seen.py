"""The interactive page as it is seen: where things stand at each width, what is told from what, what can be read."""

from itertools import combinations
from pathlib import Path

import pytest
from chromium import Page
from drawn_tables import Tables, made_up
from interactive_page import choose

from replication.figures import interactive

TOKENS = (*(f" word{i}" for i in range(8)), " extraordinarily", "<|endoftext|>", " \u202elast")


def slowly(*values: object) -> list:
    """Parameters that `make test-all` alone tries."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


WIDTHS = (420, 1440, *slowly(1000, 1280, 1900))


@pytest.fixture(scope="module")
def made() -> Tables:
    # Ranks of five orders of magnitude, as of GPT-2.
    made = made_up(TOKENS, layers=24, layer=9, injected=4, key_positions=(6, 9))
    return made._replace(losses=made.losses.assign(rank=(10 ** (made.losses["loss"] / 2.2)).astype("int64")))


@pytest.fixture(scope="module")
def file(made: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("seen") / "page.html"
    file.write_text(interactive.page("seen", made.losses, made.effect, made.top10, made.record), encoding="utf-8")
    return file


@pytest.fixture
def fresh(browser: Page, file: Path) -> Page:
    """The page as it opens."""
    browser.prefer("light")
    browser.open(file, 1440, 1400)
    return browser


@pytest.fixture(scope="module")
def once(browser: Page, file: Path) -> Page:
    browser.open(file, 1440, 1400)
    return browser


@pytest.fixture
def page(once: Page) -> Page:
    """The page as it opens but for its width, which every test sets: opening it takes two seconds."""
    once.prefer("light")
    if once.run("choice.statistic.value") != "loss":
        choose(once, "statistic", "loss")
    return once


def resized(page: Page, width: int, height: int = 1400) -> None:
    """Gives the page another width, and waits until the maps have theirs."""
    page.resize(width, height)
    page.wait("Math.abs(maps._fullLayout.width - scroll.clientWidth) < 1")


def axes(page: Page) -> list[tuple[float, float]]:
    """Left and top of each map."""
    found: list[list[float]] = page.run(
        "['', 2, 3].map((i) => [maps._fullLayout['xaxis' + i]._offset, maps._fullLayout['yaxis' + i]._offset])"
    )
    return [(x, y) for x, y in found]


@pytest.mark.parametrize(("width", "beside"), [(420, False), (1279, False), (1280, True), (1900, True)])
def test_maps_stand_side_by_side_from_1280_pixels_on(page, width, beside):
    resized(page, width)
    lefts, tops = zip(*axes(page), strict=True)
    assert (len(set(lefts)), len(set(tops))) == ((3, 1) if beside else (1, 3))
    assert page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    if width >= 1280:
        assert len(page.run("maps.data[0].x")) >= 11, "all columns of the longest of the post's prompts"


@pytest.mark.parametrize(("width", "first"), [(420, "maps"), (1000, "controls")])
def test_on_a_phone_the_maps_come_first(page, width, first):
    resized(page, width, 900)
    top = "document.getElementById('{}').getBoundingClientRect().top"
    tops = {name: page.run(top.format(name)) for name in ("maps", "controls")}
    assert min(tops, key=lambda name: tops[name]) == first
    # For the keyboard and for those who hear the page, too.
    order = page.run("document.getElementById('controls').compareDocumentPosition(maps)")
    assert (order == 4) == (first == "controls")
    assert tops[first] < 150, "within the first screen"
    page.run("choice.statistic.focus()")
    choose(page, "statistic", "kl")
    assert page.run("document.activeElement.id") == "statistic", "a redrawn page keeps the focus"


@pytest.mark.parametrize("statistic", ["rank", *slowly("loss")])  # the longer name first
@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_of_the_maps_touches_another(page, width, statistic):
    choose(page, "statistic", statistic)
    resized(page, width)
    texts = page.run(
        """[...maps.querySelectorAll("text")].filter((text) => text.textContent.trim()).map((text) => {
            const box = text.getBoundingClientRect();
            return [text.textContent, box.left, box.top, box.right, box.bottom];
        })"""
    )
    assert len(texts) > 2 * 25 * 12
    # The boxes of lines are higher than their letters.
    touching = [
        (a[0], b[0])
        for a, b in combinations(texts, 2)
        if min(a[3], b[3]) - max(a[1], b[1]) > 0 and min(a[4], b[4]) - max(a[2], b[2]) > 2
    ]
    assert touching == []


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def pixel(picture, x: float, y: float) -> tuple[int, ...]:
    colour: tuple[int, ...] = picture.getpixel((round(x), round(y)))
    return colour


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("statistic", ["loss", *slowly("entropy", "rank")])
def test_text_in_cells_is_told_from_its_cell(page, statistic, scheme):
    page.prefer(scheme)
    choose(page, "statistic", statistic)
    resized(page, 1900)
    cells = page.run(
        """[0, 1].flatMap((map) => {
            const layout = maps._fullLayout, box = maps.getBoundingClientRect(), name = map ? "2" : "";
            const x = layout["xaxis" + name], y = layout["yaxis" + name], trace = maps.data[3 + map];
            const texts = maps.querySelectorAll(`.subplot.x${name}y${name} .scatterlayer text`);
            return [...texts].map((text, i) => [getComputedStyle(text).fill, text.textContent,
                ...[-0.5, 0.5].map((edge) => box.x + x._offset + x.c2p(trace.x[i] + edge)),
                ...[0.5, -0.5].map((edge) => box.y + y._offset + y.c2p(trace.y[i] + edge))]);
        })"""
    )
    assert len(cells) == 2 * 25 * 12
    picture = page.picture()
    grounds = set()
    for fill, text, left, right, top, bottom in cells:
        ink = tuple(int(part) for part in fill[4:-1].split(","))
        # Of a cell without its edges, where frames are, most is its ground.
        inside = picture.crop((round(left) + 4, round(top) + 4, round(right) - 4, round(bottom) - 4))
        _, ground = max(inside.getcolors(), key=lambda counted: counted[0])
        grounds.add(ground)
        assert contrast(ink, ground) >= 4.5, (text, ink, ground)
    assert len(grounds) > 20, "colours of the whole scale"
    page.prefer("light")


def test_the_frame_of_the_injection_is_told_from_every_colour(page):
    resized(page, 1900)
    found = page.run(
        """["", 2, 3].map((i) => {
            const layout = maps._fullLayout, box = maps.getBoundingClientRect();
            const x = layout["xaxis" + i], y = layout["yaxis" + i];
            return [box.x + x._offset + x.c2p(0.5), box.x + x._offset + x.c2p(4.5), box.y + y._offset + y.c2p(9.5)];
        })"""
    )
    picture = page.picture()
    for left, right, top in found:
        line = [pixel(picture, x, top) for x in range(round(left), round(right))]
        dark, light = (sum(contrast(colour, other) > 15 for colour in line) for other in ((255,) * 3, (0,) * 3))
        assert dark > len(line) / 4
        assert light > len(line) / 4
        inside = {pixel(picture, x, top + 3) for x in range(round(left) + 4, round(right) - 4)}
        assert len(inside) > 1, "it runs over several colours"


def test_the_heading_names_the_statistic(fresh):
    assert fresh.run("document.querySelector('h1').textContent") == "1. Love - Hate: loss by layer and token"
    for statistic, name in (("rank", "rank of the target"), ("kl", "KL to the output"), ("entropy", "entropy")):
        choose(fresh, "statistic", statistic)
        assert fresh.run("document.querySelector('h1').textContent") == f"1. Love - Hate: {name} by layer and token"


def test_further_keys_go_by_ten_layers_and_to_the_ends(fresh):
    fresh.run("scroll.focus()")
    visited = []
    for key in ("PageDown", "PageDown", "End", "PageDown", "Home", "PageUp"):
        fresh.press(key)
        visited.append(fresh.run("chosen()"))
    assert visited == [[14, 6], [4, 6], [4, 11], [0, 11], [0, 0], [10, 0]]
    assert "layer=10&position=0" in fresh.run("location.hash")
