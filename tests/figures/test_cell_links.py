"""A link to a cell of the interactive page: the address after # is the state, in a real Chromium and from disk."""

from urllib.parse import parse_qsl

import pytest
from chromium import Page
from interactive_page import NAME, choose, details, drawn, expected, middle_of

CHOICES = ("protocol", "statistic", "layer", "position")
USUAL = ["raw", "loss", "5", "2"]
"""The lists' values as the page first shows: the output row at the key token."""


@pytest.fixture
def page(opened):
    """The page at its usual cell."""
    opened.send("Emulation.setFocusEmulationEnabled", enabled=True)
    go(opened, "experiment=love_hate&protocol=raw&statistic=loss&layer=output&position=2")
    return opened


def go(page: Page, fragment: str) -> None:
    """Types an address and waits until the page has obeyed it."""
    obeyed = "new Promise((done) => addEventListener('hashchange', () => requestAnimationFrame(done), {once: true}))"
    page.run(f"location.hash === {'#' + fragment!r} || (location.hash = {'#' + fragment!r}, {obeyed})")


def lists(page: Page) -> list[str]:
    values: list[str] = page.run(f"{list(CHOICES)}.map((id) => document.getElementById(id).value)")
    return values


def fragment(page: Page) -> list[tuple[str, str]]:
    return parse_qsl(page.run("location.hash").removeprefix("#"))


def press_button(page: Page) -> None:
    box = page.run("document.getElementById('copy').getBoundingClientRect().toJSON()")
    page.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait("!document.getElementById('link').hidden && document.getElementById('status').textContent !== ''")


def said(page: Page) -> str:
    text: str = page.run("document.querySelector('[role=status]').textContent")
    return text


def back(page: Page, steps: int) -> None:
    before = page.run("location.hash")
    page.run(f"history.go({steps})")
    page.wait(f"location.hash !== {before!r}")


@pytest.mark.parametrize("hostile", ["", "#<img src=x onerror=window.hacked=1>"])
def test_without_a_good_address_the_page_opens_at_the_key_token(page, file, hostile):
    page.open(file, fragment=hostile)
    assert lists(page) == USUAL
    assert bool(said(page)) == bool(hostile)


def test_a_link_opens_at_its_cell(page, file, made):
    page.open(file, fragment="#experiment=love_hate&protocol=centred&statistic=entropy&layer=3&position=1")
    assert lists(page) == ["centred", "entropy", "3", "1"]
    wanted = [expected(made, "centred", condition, "entropy") for condition in ("unsteered", "steered")]
    assert drawn(page)[:2] == wanted
    assert details(page)["entropy"] == [f"{table[3][1]:.3f}" for table in wanted]
    frame = page.run("document.getElementById('maps').layout.shapes.at(-1)")
    assert (frame["x0"], frame["x1"], frame["y0"], frame["y1"]) == (0.5, 1.5, 2.5, 3.5)


def test_every_choice_goes_into_the_address(page):
    choose(page, "statistic", "rank")
    choose(page, "protocol", "centred")
    page.click(*middle_of(page, layer=4, position=3))
    wanted = [("protocol", "centred"), ("statistic", "rank"), ("layer", "4"), ("position", "3")]
    assert fragment(page) == [("experiment", NAME), *wanted]
    choose(page, "layer", "5")
    assert ("layer", "output") in fragment(page)


def test_back_and_forward_go_through_the_choices(page, made):
    choose(page, "layer", "1")
    choose(page, "statistic", "kl")
    back(page, -1)
    page.wait("document.getElementById('statistic').value === 'loss'")
    assert lists(page) == ["raw", "loss", "1", "2"]
    assert drawn(page)[0] == expected(made, "raw", "unsteered", "loss")
    back(page, -1)
    page.wait("document.getElementById('layer').value === '5'")
    assert lists(page) == USUAL
    back(page, 2)
    page.wait("document.getElementById('statistic').value === 'kl'")
    assert lists(page) == ["raw", "kl", "1", "2"]
    assert drawn(page)[0] == expected(made, "raw", "unsteered", "kl_to_output")


GOOD = "experiment=love_hate&protocol=raw&statistic=rank&layer=1&position=1"


@pytest.mark.parametrize(
    "hostile",
    [
        "nonsense",
        GOOD.replace("love_hate", "anger"),
        GOOD.replace("layer=1", "layer=5"),
        GOOD.replace("position=1", "position=-1"),
        GOOD.replace("position=1", "position=1e9"),
        GOOD.replace("&layer=1", ""),
        GOOD.replace("raw", "__proto__"),
        GOOD + "&__proto__=1",
        GOOD + "&constructor=1",
        GOOD + "&more=1",
        GOOD.replace("raw", "%3Cimg src=x onerror=window.hacked=1%3E"),
        "<img src=x onerror=window.hacked=1>",
        "javascript:window.hacked=1",
        "%E0%A4%A",
    ],
)
def test_an_address_that_names_no_cell_is_ignored_and_said(page, hostile):
    choose(page, "layer", "1")
    go(page, hostile)
    assert lists(page) == USUAL
    assert said(page) == "The address after # names no cell of this page; the default cell is shown."
    choose(page, "layer", "3")
    assert ("layer", "3") in fragment(page)


def permit(page: Page, setting: str) -> None:
    for name in ("clipboard-write", "clipboard-read"):
        page.send("Browser.setPermission", permission={"name": name}, setting=setting)


def test_the_button_copies_the_link(page):
    permit(page, "granted")
    choose(page, "layer", "3")
    press_button(page)
    assert said(page).startswith("The link is copied.")
    link = page.run("navigator.clipboard.readText()")
    assert link == page.run("location.href") == page.run("document.getElementById('link').value")
    assert link.startswith("file:///")
    assert link.endswith("#experiment=love_hate&protocol=raw&statistic=loss&layer=3&position=2")
    choose(page, "layer", "4")
    assert page.run("document.getElementById('link').hidden")


def test_where_the_clipboard_is_refused_the_older_way_copies(page):
    permit(page, "denied")
    press_button(page)
    assert said(page).startswith("The link is copied.")
    permit(page, "granted")
    assert page.run("navigator.clipboard.readText()") == page.run("location.href")


def test_where_all_copying_is_refused_the_link_is_selected(page):
    permit(page, "denied")
    page.run("document.execCommand = () => false")
    press_button(page)
    assert said(page).startswith("Copying is refused here; the link is selected")
    field = "document.getElementById('link')"
    assert page.run(f"document.activeElement === {field}")
    assert page.run(f"{field}.value.slice({field}.selectionStart, {field}.selectionEnd)") == page.run("location.href")


def test_everything_works_by_keyboard(page, file):
    page.open(file)
    visited = []
    while "details" not in visited:
        page.press("Tab")
        visited.append(page.run("document.activeElement.id"))
        if visited[-1] == "scroll":
            for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowLeft"):
                page.press(key)
    assert visited == ["statistic", "protocol", "layer", "position", "copy", "scroll", "details"]
    assert lists(page) == ["raw", "loss", "3", "1"]
    assert fragment(page)[-2:] == [("layer", "3"), ("position", "1")]
    assert ", at layer 3: loss " in said(page)


def test_arrow_keys_stop_at_the_edge(page):
    page.run("document.getElementById('scroll').focus()")
    for key in ("ArrowUp", *["ArrowRight"] * 4):
        page.press(key)
    assert lists(page) == ["raw", "loss", "5", "4"]
