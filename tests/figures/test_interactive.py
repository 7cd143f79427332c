"""The interactive page: its data against the tables, its markup as text, and its behaviour in a real Chromium."""

import base64
import json
import math
import os
import zlib

import axe
import pytest
from drawn_tables import WRITTEN, write_completions, written
from elements import Elements
from interactive_page import NAME, choose, details, drawn, expected, middle_of, visible

from replication.base import paths, tables
from replication.base.numbers import fixed
from replication.base.posts import POSTS
from replication.figures import interactive


@pytest.fixture(scope="module")
def data(made):
    return interactive.page_data(made.losses, made.effect, made.top10, made.record)


def test_data_holds_every_number_of_the_tables(made, data):
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
    assert data["injections"] == [{"layer": 2, "positions": [1, 2]}]


def test_data_holds_the_top_ten_of_every_cell_best_first(made, data):
    shuffled = made.top10.sample(frac=1, random_state=0)
    again = interactive.page_data(made.losses, made.effect, shuffled, made.record)
    assert again == data
    steered = made.top10[(made.top10["protocol"] == "centred") & (made.top10["condition"] == "steered")]
    cell = steered[(steered["layer"] == "3") & (steered["position"] == 2)].sort_values("place")
    drawn = data["cells"]["centred"]["steered"]["top"][3][2]
    assert [data["tokens"][place] for place, _ in drawn] == [visible(token) for token in cell["token"]]
    assert [p for _, p in drawn] == pytest.approx(cell["probability"].tolist(), rel=1e-5)


def test_token_text_cannot_leave_its_place(text, data):
    elements = Elements(text)
    assert [tag for tag, *_ in elements.found if tag in ("img", "script", "link", "iframe")] == ["script"] * 3
    unpacked = zlib.decompress(base64.b64decode(elements.scripts[0], validate=True))
    assert json.loads(unpacked) == {"experiment": NAME, **json.loads(json.dumps(data))}
    assert "\u202e" not in text


def test_page_names_nothing_to_fetch_and_refuses_to(text):
    elements = Elements(text)
    assert not {"src", "href", "action"} & {name for name, _ in elements.attributes()}
    assert elements.policy().startswith("default-src 'none';")


def test_centred_residuals_are_called_posted_only_of_the_posts_own_experiments(made, text):
    assert "centred (as in the post)" not in text
    posted = made.record | {"experiment": made.record["experiment"] | POSTS[0]}
    assert "centred (as in the post)" in interactive.page("e", made.losses, made.effect, made.top10, posted)


def test_every_control_has_a_label(text):
    elements = Elements(text)
    labelled = {label.get("for") for label in elements.of("label")}
    lists = {select.get("id") for select in elements.of("select")}
    assert lists == labelled == {"statistic", "protocol", "layer", "position"}
    assert [field["aria-label"] for field in elements.of("input")] == ["Link to this cell"]


def test_page_is_the_same_for_the_same_tables(made, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(made, "m", NAME)
    interactive.draw("m", NAME, [NAME, "other", "third"])
    drawn = paths.path(paths.INTERACTIVE, "m", NAME)
    found = drawn.read_text(encoding="utf-8")
    assert found.replace(found[found.index("<nav") : found.index("</nav>") + len("</nav>\n\n")], "") == text
    links = [str(link["href"]) for link in Elements(found).of("a")]
    lead = [os.path.normpath(drawn.parent / link.partition("#")[0]) for link in links]
    names = ("losses.csv", "top10.csv", "effect.csv", "summary.csv", "record.json")
    tables_of_it = [f"results/m/{NAME}/{name}" for name in names]
    others = [str(paths.path(paths.INTERACTIVE, "m", name)) for name in ("other", "third")]
    assert lead == [str(paths.path(paths.REPORT_PAGE, "m")), *tables_of_it, *others]
    assert links[0].endswith(f"#{NAME}")


@pytest.fixture
def page(opened):
    """The opened page as it first shows; whatever a test does, it must not ask for anything."""
    choose(opened, "statistic", "loss")
    choose(opened, "protocol", "raw")
    yield opened
    assert {url.split(":")[0] for url in opened.requests} == {"file", "data"}
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1


def test_maps_show_the_losses_and_their_change(page, made, data):
    before, after = (expected(made, "raw", condition, "loss") for condition in tables.CONDITIONS)
    change = [[b - a for a, b in zip(x, y, strict=True)] for x, y in zip(before, after, strict=True)]
    assert drawn(page) == [before, after, change]
    scales = page.run("['coloraxis', 'coloraxis2'].map((n) => [maps.layout[n].cmin, maps.layout[n].cmax])")
    flat = [value for row in before + after for value in row]
    most = max(abs(value) for row in change for value in row)
    assert scales == [[min(flat), max(flat)], [-most, most]]
    assert page.run("document.querySelectorAll('#maps .heatmaplayer image').length") == 3
    labels = page.run("[...document.querySelectorAll('#maps .xtick')].map((tick) => tick.textContent)")
    for label, target in zip(labels, data["targets"], strict=True):
        assert label == target or (len(label) > 8 and label.endswith("…") and target.startswith(label[:-1]))


@pytest.mark.parametrize("protocol", ["raw", "centred"])
def test_lists_switch_statistic_and_protocol(page, made, protocol):
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


def test_hovering_shows_the_cell_in_both_conditions(page, made):
    page.point(*middle_of(page, layer=3, position=2))
    page.wait("document.getElementById('cell').textContent.endsWith(', at layer 3')")
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
    assert page.run("document.getElementById('cell').textContent").startswith("␣wonderful after <img␣src=x")
    assert shown["loss"] == [f"{before['loss']:.3f}", f"{after['loss']:.3f}"]
    assert shown["rank"] == [str(before["rank"]), str(after["rank"])]
    assert shown["entropy"] == [f"{before['entropy']:.3f}", f"{after['entropy']:.3f}"]
    for cell, row in zip(shown["probability"], (before, after), strict=True):
        assert cell == fixed(math.exp(-row["loss"]), 4)
    top = page.run("[...document.querySelectorAll('#top tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    assert len(top) == 10
    assert top[0][1:] == [visible(before["top_token"]), "0.5000", visible(after["top_token"]), "0.5000"]
    assert page.run("document.querySelector('#maps .hoverlayer').textContent") == "", "nothing covers the maps"
    page.point(1, 1)
    page.wait("document.getElementById('cell').textContent.endsWith(', at the output')")


def test_numbers_are_written_as_in_the_report(page):
    numbers = [-0.0004, -0.0, 0, 1e-9, -0.0006, 2.5, -12.3456]
    for digits in (3, 4):
        assert page.run(f"{numbers}.map((number) => fixed(number, {digits}))") == [fixed(x, digits) for x in numbers]


def test_lists_choose_a_cell_without_a_mouse(page, made):
    choose(page, "layer", "5")
    choose(page, "position", "1")
    assert page.run("document.getElementById('cell').textContent").endswith(", at the output")
    wanted = [expected(made, "raw", condition, "loss")[5][1] for condition in tables.CONDITIONS]
    assert details(page)["loss"] == [f"{value:.3f}" for value in wanted]
    # What a screen reader says: the region is a status, so only what is chosen is read aloud, not what is hovered.
    said = page.run("document.querySelector('[role=status]').textContent")
    assert said.endswith(" after ␣hate, at the output: loss {} → {} nats".format(*details(page)["loss"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1500, 390])
def test_axe_finds_no_serious_violation(page, scheme, width):
    page.prefer(scheme)
    page.resize(width, 900)
    assert axe.serious_violations(page) == []


def test_texts_of_both_models_stand_below_the_maps(made, tmp_path, monkeypatch, browser):
    monkeypatch.chdir(tmp_path)
    written(made, "m", "e")
    write_completions("m", "e")
    interactive.draw("m", "e", ["e"], completed=True)
    browser.open(paths.path(paths.INTERACTIVE, "m", "e"), 1500, 1200)
    read = "[...document.querySelectorAll('#texts .written')].map((each) => each.textContent)"
    pairs = [text for pair in zip(*WRITTEN.values(), strict=True) for text in pair]
    assert browser.run(read) == [text.replace("\n", "↵\n").replace("\u202e", "\\u202e") for text in pairs]
    assert browser.run("document.querySelector('#texts small').textContent").startswith("loss ")
    with_texts = paths.path(paths.INTERACTIVE, "m", "e").read_text()
    interactive.draw("m", "e", ["e"])
    assert 'id="texts"' in with_texts
    assert 'id="texts"' not in paths.path(paths.INTERACTIVE, "m", "e").read_text()
    assert axe.serious_violations(browser) == []
