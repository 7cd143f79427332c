"""The report as Markdown: its numbers against the tables, its links, and text of others that stays text."""

import os
import re
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawn_tables import WRITTEN, Tables, made_up, write_completions
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_setup import written_run
from typer.testing import CliRunner

from replication.base import paths, tables
from replication.base.files import read_json, write_json, write_text
from replication.base.numbers import signed
from replication.base.paths import path
from replication.base.recorded import steered_layer
from replication.report import citation
from replication.report.added import x_vector_table
from replication.report.compile import contents, markdown, procedure
from replication.report.index import index
from replication.report.markdown import cell, code, plain
from replication.report.numbering import Numbering
from replication.verification import published_table
from replication.workflow.cli import app

HOSTILE = "<img src=x onerror=alert(1)>"
TOKENS = (" hate", HOSTILE, " a|b", " `tick`", "\u202e_*x*_", " wonderful", "\n")
MADE = {
    "love_hate": made_up(TOKENS, key_positions=(2, 5), title=f"Love | {HOSTILE} *x* $y$"),
    "mine": made_up((" a", " b", " c"), layers=5, key_positions=(), title="Mine"),
}
MADE["mine"].record["experiment"]["number"] = None
PARSER = MarkdownIt("commonmark").enable("table")


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return markdown(contents("m", list(MADE)))


def rows(text: str, anchor: str) -> list[list[str]]:
    """Cells of the rows of the table after the caption with this anchor; code spans and bars as they are read."""
    tokens = PARSER.parse(text[text.index(f'<a id="{anchor}"></a>*Table') :])
    end = next(i for i, token in enumerate(tokens) if token.type == "table_close")
    found: list[list[str]] = []
    for token, inline in pairwise(tokens[: end + 1]):
        if token.type == "tr_open":
            found.append([])
        if token.type in ("td_open", "th_open"):
            found[-1].append("".join(c.content for c in inline.children or [] if c.type in ("text", "code_inline")))
    return found[1:]


def seen(token: str) -> str:
    """What a reader sees of a token of these tables."""
    return re.sub("^ | $", "␣", token.replace("\n", "\\n").replace("\u202e", "\\u202e"))


def loss(made: Tables, layer: str, position: int, condition: str) -> float:
    table = made.losses
    here = (table["protocol"] == "raw") & (table["layer"] == layer) & (table["position"] == position)
    return float(table.loc[here & (table["condition"] == condition), "loss"].item())


def test_losses_at_the_output_are_those_of_the_table(text):
    for name, made in MADE.items():
        found = rows(text, f"{name}-losses")
        assert [row[0] for row in found] == [str(i) for i in range(len(made.record["prompt"]["ids"]))]
        for position, row in enumerate(found):
            before, after = (loss(made, tables.OUTPUT, position, c) for c in tables.CONDITIONS)
            assert row[2:] == [f"{before:.4f}", f"{after:.4f}", signed(after - before, 4)]


def test_changes_by_layer_are_those_of_the_table(text):
    made = MADE["love_hate"]
    for position, row in enumerate(rows(text, "love_hate-layers")):
        for layer, shown in zip(["0", "1", "2", "3", tables.OUTPUT], row[2:], strict=True):
            change = loss(made, layer, position, "steered") - loss(made, layer, position, "unsteered")
            assert shown == signed(change, 4)


def test_controls_stand_in_the_report_with_their_numbers(text):
    vector, others = rows(text, "random-vectors")
    # Two key tokens: -4 against 0, 2, 4 and 6, whose median and mean are 3 and deviation the root of 20 / 3.
    assert vector[1:] == ["holds", "key tokens", "−4.0000", "+3.0000",
                          "+0.3000 to +5.7000", "−7.0000", "0%", "100%", "−2.7"]  # fmt: skip
    assert others[2:4] == ["other tokens", "1.0000"]
    (prompts,) = [row for row in rows(text, "more-prompts") if row[0].startswith("Love")]
    assert prompts[1:] == ["does not hold", "␣a, ␣b", "+2.0000", "2 of 3", "+1.2500",
                           "−0.5000 to +3.0000", "−0.5000 to +3.0000", "1 of 2"]  # fmt: skip
    (own,) = rows(text, "sweep")
    assert own[1:] == ["2, 5", "−7.5000", "1.2500", "4, 5", "−12.5000", "1.2500", "20% of 10"]
    assert rows(text, "sign") == [[own[0], "holds", "−7.5000", "+7.5000"]]
    assert "Not decidable for experiments without key tokens: Mine." in text
    assert [row[1:] for row in rows(text, "depths")] == [["2", "not scaled", "2", "2", "5"]] * 2


def test_the_first_screen_says_what_was_found_and_how_much_is_more_than_chance(text):
    before, _, _ = text.partition("This report replicates")
    assert (
        "- Steering lowers the key tokens' loss at the output in 1 of 1 experiments, in 1 of them by more than"
        in before
    )
    assert "- Through the tuned lens it does more than chance from layer 2 (" in before
    assert "- Negating the vector reverses its effect in 1 of 1." in before
    assert "(../../figures/m/beyond_chance.png)" in before
    (glance,) = rows(text, "effects")
    assert glance[1:] == ["−4.00", "+0.30 to +5.70", "−7.00", "2", "2", "+7.50", "1 of 2"]
    assert "injected at layer 2: outside the band from layer 2 on, half of the effect from layer 2 on." in text


def reported_with(controls: dict[str, Any]) -> str:
    """The report, had the run found these controls."""
    file = path(paths.CONTROLS, "m")
    found = file.read_bytes()
    write_json(file, controls)
    try:
        return markdown(contents("m", list(MADE)))
    finally:
        file.write_bytes(found)


def test_a_control_switched_off_is_said_to_be(run):
    found = read_json(path(paths.CONTROLS, "m"))
    without = reported_with({name: {"prompts": each["prompts"]} for name, each in found.items()})
    assert without.count("Switched off in the configuration of this run.") == 2
    assert "figure-sweep" not in without
    assert "love_hate-figure-prompts" in without


def test_a_vector_that_moves_all_tokens_more_than_chance_is_named(run, text):
    assert "not confined to the key tokens" not in text, "1 nat; a quarter of the draws do more"
    found = read_json(path(paths.CONTROLS, "m"))
    found["love_hate"]["random_vectors"]["other"]["share_less"] = 0.95
    title = plain(MADE["love_hate"].record["experiment"]["title"])
    assert f"The effect of {title} is not confined" in reported_with(found)


def test_a_scaled_layer_is_printed_as_it_was_steered():
    record = MADE["love_hate"].record
    steering = {"layer": 6, "scaled_from": 48, "coefficient": 5}
    scaled = record | {"shape": {"layers": 12}, "experiment": {"steering": steering}, "injection": {"block": 2}}
    assert steered_layer(scaled) == "2 (layer 6 of 48, scaled to 12)"
    assert [row[0] for row in x_vector_table(scaled)[2:]] == ["2", "2"]
    assert steered_layer(scaled | {"shape": {"layers": 48}}) == "2"


@pytest.mark.parametrize(
    ("coefficient", "added", "subtracted"), [(5, "+5", "−5"), (-2.5, "−2.5", "+2.5"), (0, "0", "0")]
)
def test_both_sides_of_the_vector_have_opposite_signs(coefficient, added, subtracted):
    record = MADE["love_hate"].record
    steered = record | {"experiment": {"steering": {"layer": 2, "coefficient": coefficient}}}
    assert [row[1] for row in x_vector_table(steered)[2:]] == [added, subtracted]


def test_predictions_are_the_first_five_of_the_top_ten(text):
    made = MADE["love_hate"]
    found = rows(text, "love_hate-predictions")
    places = [(p, layer, c) for p in (2, 5) for layer in ("3", tables.OUTPUT) for c in tables.CONDITIONS]
    assert [tuple(row[1:3]) for row in found] == [place[1:] for place in places]
    for row, (position, layer, condition) in zip(found, places, strict=True):
        table = made.top10
        here = (table["protocol"] == "raw") & (table["layer"] == layer) & (table["position"] == position)
        top = table[here & (table["condition"] == condition)].sort_values("place").head(5)
        for shown, token, probability in zip(row[4:], top["token"], top["probability"], strict=True):
            assert shown.endswith(f"{probability:.3f}")
            assert shown.split("\xa0")[0] == seen(token)


def test_text_of_others_never_becomes_markup(text):
    tokens = PARSER.parse(text)
    html = [c.content for t in tokens for c in t.children or [] if c.type == "html_inline"]
    assert {piece for piece in html if not re.fullmatch(r'<a id="[\w.-]+">', piece)} == {"</a>"}
    folds = [t.content for t in tokens if t.type == "html_block"]
    opening = r'<details(?: class="lookup")?>\n<summary>[\w ,.\'()-]+</summary>\n'
    assert {bool(re.fullmatch(opening, fold)) for fold in folds[::2]} == {True}
    assert set(folds[1::2]) == {"</details>\n"}, "none within another"
    heading = next(t for t in tokens if "Love" in t.content and t.map and text.splitlines()[t.map[0]].startswith("###"))
    assert [child.type for child in heading.children or []] == ["text"]
    assert HOSTILE in heading.children[0].content if heading.children else False
    assert "\u202e" not in text


def test_no_token_breaks_a_table(text):
    for name, made in MADE.items():
        shown = [row[1] for row in rows(text, f"{name}-losses")]
        targets = [*made.record["prompt"]["tokens"][1:], "<|endoftext|>"]
        wanted = [seen(token) for token in targets]
        keys = made.record["key_positions"]
        assert shown == [token + (" key" if i in keys else "") for i, token in enumerate(wanted)]
    assert rows(text, "checks")[0][:3] == ["love_hate", "pins", "not run"]
    assert [len(row) for row in rows(text, "claims")] == [4]


AWKWARD = st.sampled_from("` |\\*_<&$[\n")
"""What Markdown acts on, so that it is tried often."""


@settings(max_examples=50, deadline=None)
@given(st.text(AWKWARD | st.characters(exclude_categories=["Cs"]), min_size=1))
def test_code_spans_read_back_in_text_and_in_tables(token):
    kept = [c.isprintable() and unicodedata.category(c) != "Cf" for c in token]
    shown = "".join(c if k else c.encode("unicode_escape").decode() for c, k in zip(token, kept, strict=True))
    # Of spaces those at both ends are made visible, which could not be seen there.
    wanted = re.sub("^ +| +$", lambda spaces: "␣" * len(spaces[0]), shown)
    spans = [c.content for t in PARSER.parse(f"x {code(token)} y") for c in t.children or [] if c.type == "code_inline"]
    assert spans == [wanted]
    table = PARSER.parse(f"| a | b |\n|---|---|\n| {cell(token)} | end |")
    spans = [c.content for t in table for c in t.children or [] if c.type == "code_inline"]
    assert spans == [wanted.replace("\\|", "\\x7c")]
    assert [t.content for t in table if t.type == "inline"][-1] == "end"


@settings(max_examples=50, deadline=None)
@given(st.text(AWKWARD | st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_plain_text_reads_back(title):
    inline = PARSER.parse(f"### 1. {plain(title)}")[1]
    assert {child.type for child in inline.children or []} == {"text"}
    shown = "".join(child.content for child in inline.children or [])
    assert shown.removeprefix("1.").strip() == " ".join(title.split())


def test_every_variable_of_a_template_is_filled_in(text):
    assert not re.search(r"\{\{|\}\}|\{%", text.partition("```bibtex")[0])


def test_one_sign_stands_for_minus(text):
    # Code, references and addresses are not of our writing.
    prose = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)\n]*\)|<[^>\n]*>|https?:\S*", "", text, flags=re.DOTALL)
    assert "−" in prose
    assert re.findall(r".{20}(?<![\w-])-(?=\d|log|sum|[(]).*", prose) == []
    assert re.findall(r".*\b\d[\d.]*e-\d.*", prose) == []
    assert re.findall(r".*[^.\d]0\.0+(?!\d).*", prose) == [], "no zero with decimals"


def test_every_link_leads_somewhere(run, text):
    tokens = PARSER.parse(text)
    children = [c for t in tokens for c in t.children or []]
    links = [str(c.attrs.get("href") or c.attrs.get("src")) for c in children if c.type in ("link_open", "image")]
    anchors = re.findall(r'<a id="([^"]+)"></a>', text)
    assert len(anchors) == len(set(anchors))
    headings = {re.sub(r"\W+", "-", line[3:].lower()) for line in text.splitlines() if line.startswith("## ")}
    assert {link[1:] for link in links if link.startswith("#")} <= {*anchors, *headings}
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert len(files) > 20
    assert [link for link in files if not Path(os.path.normpath(run / "report/m" / link)).exists()] == []
    assert {"love_hate-token-2", "love_hate-claim-key-tokens", "love_hate-figure-lens", "mine"} <= set(anchors)


def test_captions_are_numbered_and_pictures_described(text):
    figures = re.findall(r"^\*(Figure \S+)\. ", text, re.MULTILINE)
    # Five of each experiment; the lenses and three controls, of which one without key tokens has the prompts alone.
    wanted = [f"Figure {place}.{i}" for place, count in (("1", 9), ("mine", 7)) for i in range(1, count + 1)]
    assert sorted(figures) == sorted(["Figure A", *wanted])
    letters = re.findall(r"\*Table ([A-Z]+)\. ", text)
    assert letters == [chr(65 + i) for i in range(len(letters))]
    assert all(len(alt) > 80 for alt in re.findall(r"!\[(.*?)\]\(", text))
    number = Numbering()
    captions = [number.table("a", "t") for _ in range(28)]
    assert "Table AB. t" in captions[27]


def test_method_and_references_have_one_source(text):
    method = (paths.REPOSITORY / "docs/method.md").read_text(encoding="utf-8")
    said = procedure(method)
    assert said in text
    assert said in method
    assert "**Injection.**" in said
    assert "## " not in said
    assert f"```bibtex\n{citation.bibtex()}```" in text
    for reference in citation.references():
        assert reference.doi in text
        assert reference.url in text


def test_one_published_value_that_differs_makes_its_set_differ(run, text):
    assert rows(text, "published")[0][2] == "agrees"
    table = published_table.read(path(paths.PUBLISHED, "m"))
    # A second row of the set that is not the one printed, whose difference is as large.
    both = pd.concat([table.iloc[:1], table.iloc[:1].assign(verdict="differs"), table.iloc[1:]], ignore_index=True)
    published_table.write(both, path(paths.PUBLISHED, "m"))
    try:
        assert rows(markdown(contents("m", list(MADE))), "published")[0][2] == "differs"
    finally:
        published_table.write(table, path(paths.PUBLISHED, "m"))


def test_an_experiment_of_ones_own_is_never_called_the_posts(run, text):
    posts, own = text.index("\n## The experiments\n"), text.index("\n## Own experiments\n")
    assert posts < text.index('<a id="love_hate"></a>') < own < text.index('<a id="mine"></a>')
    of_own = text[own : text.index("\n## ", own + 1)]
    assert "These experiments are not in the post" in of_own
    assert not re.search(r"as the post prints|that the post prints|As in the post|\[the post's figure", of_own)
    assert text[posts:own].count("as the post prints it") == text[posts:own].count("As in the post") == 1
    assert "#mine-" not in text[text.index("\n## What the post says") : text.index("\n## Beyond the post")]


def test_a_report_can_be_over_ones_own_experiments_alone(run):
    written_run("m/alone", {"mine": MADE["mine"]}, note="A <b>note</b>")
    found = markdown(contents("m/alone", ["mine"]))
    assert found.count("`m`") >= 1
    assert "This is the run `alone`, " in found
    assert "replicates" not in found
    assert not {"## The experiments", "## What the post says"} & set(found.splitlines())
    assert "(../../../results/m/mine/losses.csv)" in found
    assert "(../../../figures/m/alone/mine/post_raw.png)" in found
    write_text(path(paths.REPORT, "m/alone"), found)
    assert [row[0] for row in rows(index(), "models")] == ["m/alone"]
    path(paths.REPORT, "m/alone").unlink()


def test_index_lists_models_that_have_a_report(run, text):
    write_text(path(paths.REPORT, "m"), text)
    written_run("second", {"mine": MADE["mine"]})
    assert "`second`" not in index(), "it has no report yet"
    write_text(path(paths.REPORT, "second"), "a report")
    verdicts = read_json(path(paths.VERIFICATION, "second"))
    write_json(path(paths.VERIFICATION, "second"), verdicts | {"passed": False})
    # What is measured of an experiment is the same in every run on a model.
    written_run("m/again", {"love_hate": MADE["love_hate"]}, note="A <b>note</b>")
    write_text(path(paths.REPORT, "m/again"), "a report")
    found = rows(index(), "models")
    assert [row[0] for row in found] == ["m", "second", "m/again"]
    assert [row[3] for row in found] == ["nothing differs", "something differs", "nothing differs"]
    assert f"- `m`: **{plain('A <b>note</b>')}**" in index()
    losses = rows(index(), "key-tokens")
    assert [row[1:5] for row in losses] == [["␣a|b", "m", "5", "2"], ["␣wonderful", "m", "5", "2"]]
    made = MADE["love_hate"]
    for row, position in zip(losses, (2, 5), strict=True):
        before, after = (loss(made, tables.OUTPUT, position, c) for c in tables.CONDITIONS)
        assert row[5:] == [f"{before:.4f}", f"{after:.4f}", signed(after - before, 4)]


def test_commands_write_report_and_index_whole(run):
    runner = CliRunner()
    assert runner.invoke(app, ["step", "report", "m", *MADE]).exit_code == 0
    assert path(paths.REPORT, "m").read_text(encoding="utf-8") == markdown(contents("m", list(MADE)))
    assert '<h3 id="love_hate">' in path(paths.REPORT_PAGE, "m").read_text(encoding="utf-8")
    assert runner.invoke(app, ["index"]).exit_code == 0
    assert path(paths.INDEX).read_text(encoding="utf-8") == index()
    assert "<h1" in path(paths.INDEX_PAGE).read_text(encoding="utf-8")


def test_texts_of_both_models_stand_side_by_side(run, text):
    table = write_completions("m", "mine")
    with_texts = markdown(contents("m", list(MADE), ["mine"]))
    found = rows(with_texts, "mine-texts")
    assert [row[0] for row in found] == ["0", "1", "2"]
    for row, pair in zip(found, zip(*WRITTEN.values(), strict=True), strict=True):
        assert row[1:] == [re.sub("^ | $", "␣", t.replace("\n", "↵ ").replace("\u202e", "\\u202e")) for t in pair]
    for row in rows(with_texts, "mine-text-losses"):
        own = table[(table["number"] == int(row[0])) & (table["condition"] == row[1])]
        before, after = own["loss_unsteered"].mean(), own["loss_steered"].mean()
        assert row[2:] == [str(len(own)), f"{before:.4f}", f"{after:.4f}", signed(after - before, 4)]
    assert "sampled with temperature 1, top_p 0.3 and frequency penalty 1 (seed 0)" in with_texts
    assert "nothing is sampled" not in with_texts
    # A report without is the same as ever.
    assert markdown(contents("m", list(MADE))) == text
    assert "nothing is sampled" in text
    assert "love_hate-texts" not in with_texts
