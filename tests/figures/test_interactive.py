"""The interactive page: its data against the tables, its markup as text, and its behaviour in a real Chromium."""

import json
import math
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import axe
import pytest
from chromium import Page, chromium_page
from drawn_tables import Tables, made_up, written

from replication.base import paths, tables
from replication.figures import interactive

HOSTILE = "<img src=x onerror='window.hacked=1'></script><script>window.hacked=2</script>"
NAME = "love_hate"
TOKENS = (" hate", HOSTILE, " wonderful", "\u202e\"'&amp;")


@pytest.fixture(scope="module")
def made() -> Tables:
    return made_up(TOKENS, title=f"Title {HOSTILE}")


@pytest.fixture(scope="module")
def data(made: Tables) -> dict[str, Any]:
    return interactive.page_data(made.losses, made.effect, made.top10, made.record)


@pytest.fixture(scope="module")
def text(made: Tables) -> str:
    return interactive.page(NAME, made.losses, made.effect, made.top10, made.record)


class Elements(HTMLParser):
    """Every element with its attributes, and the contents of the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, text: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += text


def test_data_holds_every_number_of_the_tables(made: Tables, data: dict[str, Any]) -> None:
    names = {"loss": "loss", "rank": "rank", "entropy": "entropy", "kl": "kl_to_output"}
    for row in made.losses.itertuples():
        cell = data["cells"][row.protocol][row.condition]
        for name, column in names.items():
            value = cell[name][data["layers"].index(row.layer)][row.position]
            assert value == pytest.approx(getattr(row, column), rel=1e-5), (row, name)
    for row in made.effect.itertuples():
        value = data["kl_to_unsteered"][row.protocol][data["layers"].index(row.layer)][row.position]
        assert value == pytest.approx(row.kl_to_unsteered, rel=1e-5)
    assert data["layers"] == ["0", "1", "2", "3", "4", "output"]
    assert data["injection"] == {"layer": 2, "positions": [1, 2]}


def test_data_holds_the_top_ten_of_every_cell_best_first(made: Tables, data: dict[str, Any]) -> None:
    shuffled = made.top10.sample(frac=1, random_state=0)
    again = interactive.page_data(made.losses, made.effect, shuffled, made.record)
    assert again == data
    steered = made.top10[(made.top10["protocol"] == "centred") & (made.top10["condition"] == "steered")]
    cell = steered[(steered["layer"] == "3") & (steered["position"] == 2)].sort_values("place")
    drawn = data["cells"]["centred"]["steered"]["top"][3][2]
    assert [data["tokens"][place] for place, _ in drawn] == [visible(token) for token in cell["token"]]
    assert [p for _, p in drawn] == pytest.approx(cell["probability"].tolist(), rel=1e-5)


def visible(token: str) -> str:
    """What the vocabulary of the made-up tables should look like."""
    return token.replace(" ", "_").replace("\n", "\\n").replace("\u202e", "\\u202e")


def test_token_text_cannot_leave_its_place(text: str, data: dict[str, Any]) -> None:
    elements = Elements(text)
    assert [tag for tag, _ in elements.found if tag in ("img", "script", "link", "iframe")] == ["script"] * 3
    assert json.loads(elements.scripts[0]) == {"experiment": NAME, **json.loads(json.dumps(data))}
    assert "\u202e" not in text
    escaped = interactive.script_json({"token": "<!--<script>&"})
    assert not {"<", ">", "&"} & set(escaped)
    assert json.loads(escaped) == {"token": "<!--<script>&"}


def test_page_names_nothing_to_fetch_and_refuses_to(text: str) -> None:
    elements = Elements(text)
    assert [found for found in elements.found if {"src", "href", "action"} & set(found[1])] == []
    policy = next(values for tag, values in elements.found if values.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none';")


def test_every_control_has_a_label(text: str) -> None:
    elements = Elements(text)
    labelled = {values.get("for") for tag, values in elements.found if tag == "label"}
    lists = {values.get("id") for tag, values in elements.found if tag == "select"}
    assert lists == labelled == {"statistic", "protocol", "layer", "position"}
    assert [values["aria-label"] for tag, values in elements.found if tag == "input"] == ["Link to this cell"]


def test_page_is_the_same_for_the_same_tables(
    made: Tables, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(made, "m", NAME)
    interactive.draw("m", NAME)
    drawn = Path(paths.INTERACTIVE.format(model="m", experiment=NAME))
    assert drawn.read_bytes() == text.encode()


@pytest.fixture(scope="module")
def opened(text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, opened from disk."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(text, encoding="utf-8")
    with chromium_page(tmp_path_factory.mktemp("profile")) as page:
        page.open(file)
        yield page


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """The opened page as it first shows; whatever a test does, it must not complain or ask for anything."""
    choose(opened, "statistic", "loss")
    choose(opened, "protocol", "raw")
    yield opened
    assert opened.run("window.hacked") is None
    assert opened.messages == []
    assert {url.split(":")[0] for url in opened.requests} == {"file", "data"}
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1


def drawn(page: Page) -> list[list[list[float]]]:
    """Values of the three maps."""
    values: list[list[list[float]]] = page.run("document.getElementById('maps').data.map((trace) => trace.z)")
    return values


def expected(made: Tables, protocol: str, condition: str, column: str) -> list[list[float]]:
    rows = made.losses[(made.losses["protocol"] == protocol) & (made.losses["condition"] == condition)]
    return [
        [rows.loc[(rows["layer"] == name) & (rows["position"] == i), column].item() for i in range(5)]
        for name in tables.layer_names(5)
    ]


def choose(page: Page, control: str, value: str) -> None:
    """Chooses in a list as a user does, by the event that a browser sends."""
    script = f"(() => {{ const s = document.getElementById('{control}'); s.value = '{value}'; "
    assert page.run(script + "s.dispatchEvent(new Event('change', {bubbles: true})); return s.value; })()") == value


def middle_of(page: Page, layer: int, position: int) -> tuple[float, float]:
    """Where on the screen a cell of the second map is."""
    x, y = page.run(
        f"""(() => {{
            const layout = document.getElementById('maps')._fullLayout;
            const box = document.getElementById('maps').getBoundingClientRect();
            const {{xaxis2: x, yaxis2: y}} = layout;
            return [box.x + x._offset + x.c2p({position}), box.y + y._offset + y.c2p({layer})];
        }})()"""
    )
    return x, y


def details(page: Page) -> dict[str, list[str]]:
    """Rows of the table of numbers, by their names."""
    script = "[...document.querySelectorAll('#numbers tbody tr')].map((r) => [...r.children].map((c) => c.textContent))"
    return {name: cells for name, *cells in page.run(script)}


def test_maps_show_the_losses_and_their_change(page: Page, made: Tables, data: dict[str, Any]) -> None:
    before, after = (expected(made, "raw", condition, "loss") for condition in tables.CONDITIONS)
    change = [[b - a for a, b in zip(x, y, strict=True)] for x, y in zip(before, after, strict=True)]
    assert drawn(page) == [before, after, change]
    scales = page.run("['coloraxis', 'coloraxis2'].map((n) => [maps.layout[n].cmin, maps.layout[n].cmax])")
    flat = [value for row in before + after for value in row]
    most = max(abs(value) for row in change for value in row)
    assert scales == [[min(flat), max(flat)], [-most, most]]
    assert page.run("document.querySelectorAll('#maps .heatmaplayer image').length") == 3
    labels = page.run("[...document.querySelectorAll('#maps .xtick')].map((tick) => tick.textContent)")
    assert labels == data["targets"]


@pytest.mark.parametrize("protocol", ["raw", "centred"])
def test_lists_switch_statistic_and_protocol(page: Page, made: Tables, protocol: str) -> None:
    choose(page, "protocol", protocol)
    # Ranks are coloured by their logarithm.
    for statistic, column, coloured in (
        ("rank", "rank", math.log10),
        ("entropy", "entropy", float),
        ("kl", "kl_to_output", float),
        ("loss", "loss", float),
    ):
        choose(page, "statistic", statistic)
        for values, condition in zip(drawn(page), tables.CONDITIONS, strict=False):
            for row, wanted in zip(values, expected(made, protocol, condition, column), strict=True):
                assert row == pytest.approx([coloured(value) for value in wanted], rel=1e-5)


def test_hovering_shows_the_cell_in_both_conditions(page: Page, made: Tables) -> None:
    page.point(*middle_of(page, layer=3, position=2))
    page.wait("document.querySelector('#maps .hoverlayer .hovertext') !== null")
    before, after = (
        made.losses[
            (made.losses["protocol"] == "raw")
            & (made.losses["condition"] == condition)
            & (made.losses["layer"] == "3")
            & (made.losses["position"] == 2)
        ].iloc[0]
        for condition in tables.CONDITIONS
    )
    shown = details(page)
    assert page.run("document.getElementById('cell').textContent").startswith("_wonderful after <img_src=x")
    assert shown["loss"] == [f"{before['loss']:.3f}", f"{after['loss']:.3f}"]
    assert shown["rank"] == [str(before["rank"]), str(after["rank"])]
    assert shown["entropy"] == [f"{before['entropy']:.3f}", f"{after['entropy']:.3f}"]
    for cell, row in zip(shown["probability"], (before, after), strict=True):
        number = float(cell.removesuffix(" %")) / (100 if cell.endswith("%") else 1)
        assert number == pytest.approx(math.exp(-row["loss"]), rel=0.05)
    top = page.run("[...document.querySelectorAll('#top tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    assert len(top) == 10
    assert top[0][1:] == [visible(before["top_token"]), "50.00 %", visible(after["top_token"]), "50.00 %"]
    label = page.run("document.querySelector('#maps .hoverlayer').textContent")
    assert f"loss: {before['loss']:.3f} → {after['loss']:.3f}" in label
    page.point(1, 1)
    page.wait("document.getElementById('cell').textContent.endsWith(', at the output')")


def test_what_rounds_to_zero_has_no_sign(page: Page) -> None:
    shown = page.run("[-0.0004, -0.0, 1e-9, -0.0006, 2.5].map(fixed)")
    assert shown == ["0.000", "0.000", "0.000", "-0.001", "2.500"]


def test_lists_choose_a_cell_without_a_mouse(page: Page, made: Tables) -> None:
    choose(page, "layer", "5")
    choose(page, "position", "1")
    assert page.run("document.getElementById('cell').textContent").endswith(", at the output")
    wanted = [expected(made, "raw", condition, "loss")[5][1] for condition in tables.CONDITIONS]
    assert details(page)["loss"] == [f"{value:.3f}" for value in wanted]
    # What a screen reader says: the region is a status, so only what is chosen is read aloud, not what is hovered.
    said = page.run("document.querySelector('[role=status]').textContent")
    assert said.endswith(" after _hate, at the output: loss {} → {} nats".format(*details(page)["loss"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1500, 390])
def test_axe_finds_no_serious_violation(page: Page, scheme: str, width: int) -> None:
    page.prefer(scheme)
    page.resize(width, 900)
    assert axe.serious_violations(page) == []
