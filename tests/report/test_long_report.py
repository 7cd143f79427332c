"""The report and the token tables of a long prompt: a window, a note of it, and nothing that fills pages."""

import re
from pathlib import Path

import pytest
from drawn_tables import made_up

from replication.report.compile import contents, markdown
from replication.report.html_page import page
from replication.report.latex_table import latex_table
from replication.report.token_tables import markdown_table, token_table
from replication.verification.summary import summary

KEYS = tuple(range(100, 1000, 7))
MADE = {"long": made_up(tuple(f" t{i}" for i in range(1, 1000)), key_positions=KEYS, title="Long")}
MADE["long"].record["original_prompt"] = MADE["long"].record["prompt"]
NOTE = "positions 94 to 153 of 0 to 999, 8 of 129 key tokens; the vector was added at 0 to 2"


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return markdown(contents("m", list(MADE)))


def rows(text: str, anchor: str) -> list[str]:
    """Rows of the table after the caption with this anchor, the two of its head left out."""
    return text.split(f'<a id="{anchor}"></a>')[1].split("\n\n")[1].splitlines()[2:]


def caption(text: str, anchor: str) -> str:
    return text.split(f'<a id="{anchor}"></a>')[1].split("\n\n")[0]


@pytest.mark.parametrize("anchor", ["long-losses", "long-layers"])
def test_token_tables_print_the_window_and_say_so(text, anchor):
    positions = [int(re.sub("<.*>", "", row.split("|")[1])) for row in rows(text, anchor)]
    assert positions == list(range(94, 154))
    assert f"Shown are {NOTE}; summary.csv has all." in caption(text, anchor)


def test_of_many_key_tokens_the_first_are_printed(text):
    assert len(rows(text, "key-tokens")) == 12
    assert "- Long: the first 12 of 129 key tokens; summary.csv has all." in text
    assert len(rows(text, "long-predictions")) == 12 * 2 * 2
    assert "the first 12 of 129 key tokens; top10.csv has all." in caption(text, "long-predictions")
    (claim,) = [row for row in rows(text, "claims") if "→" in row]
    assert claim.count("→") == 12


def test_captions_of_figures_say_what_they_show(text):
    said = f"Shown are {NOTE}; the tables and the interactive page have all."
    figures = dict(re.findall(r'<a id="long-figure-(\w+)"></a>!.*\n\n(.*)\n', text))
    assert {kind for kind, words in figures.items() if said in words} == {"post_raw", "lens", "output", "kl"}
    assert "Shown are the first 12 of 129 key tokens; the tables" in figures["layers"]


def test_no_line_fills_a_screen_and_the_page_scrolls_nowhere_but_in_its_boxes(text):
    assert max(len(line) for line in text.splitlines()) < 1500
    assert "␣t1 t2 t3" in text
    assert " t998 t999` (1000 tokens" in text


def test_a_wide_picture_keeps_its_size(text, run):
    from PIL import Image

    file = run / "figures/m/long/post_raw.png"
    small = file.read_bytes()
    Image.new("RGB", (7100, 30), "white").save(file)
    html = page(text, run / "report/m")
    file.write_bytes(small)
    assert re.findall(r'<img [^>]*width="(\d+)" class="long"', html) == ["4615"]


@pytest.mark.parametrize("written", [latex_table, markdown_table])
def test_the_tables_of_a_paper_print_the_window(written):
    made = MADE["long"]
    text = written(token_table(summary(made.losses, made.record), made.record, "long", "raw", None))
    assert text.count("unsteered &" if written is latex_table else "| unsteered |") == 60
    assert f"Shown are {NOTE}; summary.csv has all." in text
    assert len(text) < 40_000
