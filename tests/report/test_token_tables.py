"""The tables of a paper: their numbers are those of losses.csv, their tokens read back, and they compile."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_tables import made_up
from lacking import lacking

from replication.base.tables import CONDITIONS, PROTOCOLS
from replication.base.window import keys_note
from replication.engine.measure import Measurement
from replication.report.latex_summary import key_tokens_table, verdicts_table
from replication.report.latex_table import LONGEST, MOST_ROWS, cell_token, latex_table, latex_token
from replication.report.token_tables import TokenTable, markdown_table, token_table
from replication.verification.claims import claims
from replication.verification.summary import chosen_layers, summary

PACKAGES = ("booktabs", "siunitx", "multirow", "caption")
EXPERIMENTS = ("love_hate", "intent_to_praise", "conspiracy", "anger")

# Every printable ASCII character, alone and in company, then what pdflatex cannot set.
ASCII = [chr(code) for code in range(32, 127)]
HOSTILE = ["--", ",,", "``", "''", "<<", ">>", "?`", "!`", "  ", "\\\\", "\\end{table}", "%%", "[x]", "*"]
HOSTILE += ["~^", " & ", "^^M"]
STRANGE = {
    "\n": r"\n", "\t": r"\t", "\x00": r"\x00", "\u202e": r"\u202e", "中": r"\u4e2d", "😀": r"\U0001f600", "þ": r"\xfe",
    "\ufffd": r"\ufffd", "ħ": r"\u0127", "\xa0": r"\xa0", "\u0301": r"\u0301",
}  # fmt: skip
LATIN = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿß"


def table_of(measured: Measurement, name: str, protocol: str) -> TokenTable:
    return token_table(summary(measured.losses, measured.record), measured.record, name, protocol, "A test bed.")


def table_with(tokens: list[str]) -> TokenTable:
    made = made_up(tokens=tuple(tokens), title="Title & <hostile> 100% _$#~^\\{}", key_positions=(0,))
    return token_table(summary(made.losses, made.record), made.record, "hostile", "raw", "A note: 5 % of $1 & #2.")


def read_latex_token(text: str) -> str:
    """Token text out of LaTeX, by the meaning of its commands."""
    text = re.sub(r"^\\underline\{(.*)\}$", r"\1", text, flags=re.DOTALL)
    text = re.fullmatch(r"\\texttt\{(.*)\}", text, re.DOTALL)[1]
    meanings = {r"\textvisiblespace\allowbreak{}": " ", r"\textquotesingle{}": "'", r"\textasciigrave{}": "`"}
    unit = r"\{\\char\d+\}|\\text\w+(?:\\allowbreak)?\{\}|\\[$&#%]|[-,]\{\}|[^\\{}$&#%_^~\"<>|'`, -]"
    units = re.findall(rf"\\allowbreak\{{\}}|{unit}", text)
    assert "".join(units) == text, "every unit is known"
    units = [unit for unit in units if unit != r"\allowbreak{}"]
    return "".join(
        chr(int(unit[6:-1])) if unit.startswith(r"{\char") else meanings.get(unit, unit.strip("\\").removesuffix("{}"))
        for unit in units
    )


def read_latex(text: str) -> list[list[str]]:
    """Rows of the table as position, token, row, numbers; names are given once for three rows."""
    body = text.split(r"\midrule")[-1].split(r"\end{")[0]
    lines = [line for line in body.splitlines() if line.endswith((r"\\", r"\\*"))]
    rows = [re.split(r" ?(?<!\\)& ", line.removesuffix("*").removesuffix(r" \\")) for line in lines]
    names = [[re.fullmatch(r"\\multirow\{3\}\{\*\}\{(.*)\}", cell)[1] for cell in row[:2]] for row in rows[::3]]
    read = [[position, read_latex_token(token)] for position, token in names]
    return [[*read[place // 3], *row[2:]] for place, row in enumerate(rows)]


def read_markdown(text: str) -> list[list[str]]:
    lines = text.split("\n\n")[0].splitlines()[2:]
    rows = [[cell[1:-1] for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    tokens = [row[1].strip("*").removeprefix("`").removesuffix("`").replace("\\|", "|") for row in rows[::3]]
    numbers = [[re.sub("^[<>].*", "0.000", cell).replace("−", "-") for cell in row[3:]] for row in rows]
    return [
        [rows[place - place % 3][0], tokens[place // 3].replace("␣", " "), row[2], *numbers[place]]
        for place, row in enumerate(rows)
    ]


@pytest.mark.parametrize(("written", "read"), [(latex_table, read_latex), (markdown_table, read_markdown)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_numbers_read_back_are_those_of_the_losses(miniature_measured, name, protocol, written, read):
    measured = miniature_measured[name]
    rows = read(written(table_of(measured, name, protocol)))
    losses = measured.losses[measured.losses["protocol"] == protocol].set_index(["condition", "layer", "position"])
    layers, prompt = chosen_layers(measured.record), measured.record["prompt"]["tokens"]
    assert len(rows) == 3 * len(prompt)
    for position, token, row, *cells in rows:
        assert token == [*prompt[1:], "<|endoftext|>"][int(position)]
        assert len(cells) == len(layers)
        for layer, cell in zip(layers, cells, strict=True):
            loss = {each: np.float64(losses.loc[(each, layer, int(position)), "loss"]) for each in CONDITIONS}
            exact = loss["steered"] - loss["unsteered"] if row == "change" else loss[row]
            assert abs(float(cell) - exact) <= 0.0005 + 1e-6, (position, row, layer)
            assert (cell == "0") == (exact == 0)
            assert cell == "0" or len(cell.split(".")[1]) == 3
            assert cell.startswith(("+", "-")) == (row == "change" and float(cell) != 0)


@pytest.mark.parametrize("written", [latex_table, markdown_table])
def test_the_caption_states_units_and_conditions(miniature_measured, written):
    text = written(table_of(miniature_measured["conspiracy"], "conspiracy", "centred"))
    for words in ("Conspiracy", "model miniature", "nats", "centred protocol", "Steered: 1 times", "layer 23"):
        assert words in text
    assert "positions 0 to 6" in text
    assert "A test bed." in text
    assert (r"\label{tab:miniature:conspiracy:centred}" in text) == (written is latex_table)
    assert text.count(r"\underline" if written is latex_table else "**`␣") == 3, "three key tokens"


@pytest.mark.parametrize("written", [latex_table, markdown_table])
def test_the_caption_names_the_layer_that_was_steered(written):
    made = made_up(layers=12, layer=2)
    made.record["experiment"]["steering"] |= {"layer": 6, "scaled_from": 48}
    table = token_table(summary(made.losses, made.record), made.record, "e", "raw", None)
    assert "entering layer 2 (layer 6 of 48, scaled to 12), positions 0 to 2" in written(table)


def test_a_text_reads_back_from_latex_and_what_pdflatex_cannot_set_as_its_escape():
    texts = {text: text for text in (*ASCII, "".join(ASCII), *HOSTILE, LATIN)}
    for text, seen in (texts | STRANGE).items():
        assert read_latex_token(latex_token(text)) == seen


def test_a_token_that_is_too_long_for_its_cell_is_cut_between_characters():
    assert read_latex_token(cell_token("x" * LONGEST)) == "x" * LONGEST
    for text, kept in (("x" * (LONGEST + 1), "x" * LONGEST), ("中" * 3, "中" * 2), (" " * 40, " " * LONGEST)):
        assert cell_token(text) == rf"{latex_token(kept)}\ldots"


@pytest.fixture(scope="module")
def summaries(miniature_measured) -> list[str]:
    """Key tokens and verdicts of the four experiments, with what the controls ask."""
    return of_the_model(dict(miniature_measured))


def of_the_model(measured: dict) -> list[str]:
    experiments, judged = [], {}
    for name, each in measured.items():
        output = summary(each.losses, each.record)
        output = output[(output["protocol"] == "raw") & (output["layer"] == "output") & output["key"]]
        settings = SimpleNamespace(**{"number": None} | each.record["experiment"])
        keys = output.to_dict("records")
        experiments.append({"name": name, "settings": settings, "key": keys, "keys_shown": keys_note(each.record)})
        judged[name] = claims(each.losses, each.top10, each.record)
    controls = {name: dict(ASKED) for name in measured}
    return [key_tokens_table("m", experiments), verdicts_table("m", experiments, judged, controls)]


ASKED = {
    "random_vectors": {"verdict": "does not hold", "statement": "The direction matters: by 95% of the random vectors."},
    "prompts": {"verdict": "not decidable", "statement": "The direction carries over to other prompts."},
    "sweep": {"cells": 432},
}


def test_the_key_tokens_read_back_are_those_of_the_losses(miniature_measured, summaries):
    rows = [line.removesuffix(r" \\").split(" & ") for line in summaries[0].splitlines() if r"\texttt" in line]
    read = [(read_latex_token(token), *map(float, numbers)) for _, token, *numbers in rows]
    expected = []
    for name in EXPERIMENTS:
        measured = miniature_measured[name]
        raw = measured.losses[(measured.losses["protocol"] == "raw") & (measured.losses["layer"] == "output")]
        for position in measured.record["key_positions"]:
            at = raw[raw["position"] == position].set_index("condition")
            before, after = (float(at.loc[condition, "loss"]) for condition in CONDITIONS)
            expected.append((at["target_token"].iloc[0], before, after, after - before))
    assert [row[0] for row in read] == [row[0] for row in expected]
    np.testing.assert_allclose([row[1:] for row in read], [row[1:] for row in expected], atol=0.0005 + 1e-6, rtol=0)
    assert [title for title, *_ in rows] == [
        "1. Love - Hate",
        "2. Intent to praise",
        "3. Conspiracy",
        "",
        "",
        "5. Anger",
    ]


def test_every_statement_stands_once_with_the_verdict_on_each_experiment(miniature_measured, summaries):
    rows = [line.removesuffix(r" \\") for line in summaries[1].splitlines() if r"\textbf" in line]
    statements, verdicts = zip(*(row.split(" & ") for row in rows), strict=True)
    assert len(set(statements)) == len(statements) == 5, "three of the post and two of the controls"
    assert statements[0].startswith(rf"The token {latex_token(' wonderful')} surprises the unsteered model, and")
    assert rf"its only context is {latex_token('<|endoftext|>')}, where" in statements[2]
    judged = claims(*(getattr(miniature_measured["love_hate"], name) for name in ("losses", "top10", "record")))
    assert list(verdicts[:3]) == [rf"1. Love - Hate: \textbf{{{claim['verdict']}}}" for claim in judged]
    titles = ("1. Love - Hate", "2. Intent to praise", "3. Conspiracy", "5. Anger")
    assert verdicts[3] == "; ".join(rf"{title}: \textbf{{does not hold}}" for title in titles)
    assert verdicts[3].count("not") == 4
    assert r"by 95\% of" in statements[3]


def test_a_change_that_rounds_to_zero_is_told_from_none():
    made = made_up(layers=5, layer=2)
    steered = (made.losses["condition"] == "steered") & (made.losses["position"] == 0)
    made.losses.loc[steered & (made.losses["layer"] == "0"), "loss"] += 1e-4
    table = token_table(summary(made.losses, made.record), made.record, "e", "raw", None)
    assert "| change | <+0.001 | 0 | 0 |" in markdown_table(table)
    assert "& change & 0.000 & 0 & 0 &" in latex_table(table)


@pytest.fixture(scope="module")
def every_table(miniature_measured, summaries) -> list[str]:
    tables = [table_of(miniature_measured[name], name, protocol) for name in EXPERIMENTS for protocol in PROTOCOLS]
    return [latex_table(table) for table in tables] + summaries


@pytest.mark.parametrize("options", [pytest.param("", marks=pytest.mark.slow), "twocolumn"])
def test_every_table_fits_a_page_of_one_column_and_of_two_with_a_caption_of_three_lines(every_table, options, tmp_path):
    log = compiled(tmp_path, every_table, options)
    assert "Overfull" not in log
    assert "Float too large" not in log
    lines = [int(number) for number in re.findall(r"caption of (\d+) lines", log)]
    assert len(lines) == len(every_table)
    assert max(lines) <= 3


CHARACTERS = "".join([*ASCII, *STRANGE, *LATIN])
LONG = [*HOSTILE, *(CHARACTERS[start : start + 8] for start in range(0, len(CHARACTERS), 8))]


@pytest.mark.parametrize("options", [pytest.param("", marks=pytest.mark.slow), "twocolumn"])
def test_hostile_texts_compile_and_fit(tmp_path, options):
    made = made_up(tuple(LONG), title="Title & <hostile> 100% _$#~^\\{}" * 9, key_positions=tuple(range(len(LONG))))
    token_tables = [table_with(LONG), table_with(HOSTILE[:5])]
    tables = [*map(latex_table, token_tables), *of_the_model(dict.fromkeys(("one", "another"), made))]
    log = compiled(tmp_path, tables, options)
    for word in ("Missing character", "Font Warning", "Overfull", "Float too large"):
        assert word not in log


@pytest.mark.slow
def test_a_prompt_of_forty_tokens_is_a_table_in_parts_that_keep_a_tokens_rows_together(tmp_path):
    text = latex_table(table_with([" hate", " you", " because", " wonderful"] * 10))
    parts = text.split(r"\begin{table*}")[1:]
    # 41 tokens with `<|endoftext|>`, three rows each, twelve tokens on a page.
    assert [part.count(r"\multirow") / 2 for part in parts] == [12, 12, 12, 5]
    assert MOST_ROWS == 36
    assert [part.count(r"\ContinuedFloat") for part in parts] == [0, 1, 1, 1]
    assert text.count(r"\label{") == 1
    for options in ("", "twocolumn"):
        (tmp_path / options).mkdir(exist_ok=True)
        log = compiled(tmp_path / options, [text], options)
        assert "Overfull" not in log
        assert "Float too large" not in log


def compiled(folder: Path, tables: list[str], options: str = "") -> str:
    """The log of pdflatex on an article of these tables, each a file of its own, and nothing but their packages.

    Of every caption it has the number of lines that it takes across the page.
    """
    absent = ["pdflatex"]
    if shutil.which("pdflatex"):
        files = [f"{name}.sty" for name in PACKAGES]
        found = subprocess.run(["kpsewhich", *files], capture_output=True, text=True, check=False).stdout
        absent = [file for file in files if file not in found]
    if absent:
        remedy = "apt-get install texlive-latex-extra texlive-science"
        lacking(", ".join(absent), "REPLICATION_REQUIRE_TEX", remedy)
    for number, table in enumerate(tables):
        (folder / f"{number}.tex").write_text(table, encoding="utf-8")
    inputs = "\n".join(rf"\input{{{number}}}\clearpage" for number in range(len(tables)))
    captions = [re.search(r"\\caption\{(.*)\}\\label", table)[1] for table in tables]
    # Set as a paragraph as wide as the page, with the words in front that the class puts there.
    counted = "\n".join(
        rf"\setbox0\vbox{{\hsize\textwidth\noindent Table 88: {caption}\par"
        r"\typeout{caption of \the\prevgraf\space lines}}"
        for caption in captions
    )
    document = (
        rf"\documentclass[{options}]{{article}}\usepackage{{{','.join(PACKAGES)}}}"
        rf"\begin{{document}}{inputs}{counted}\end{{document}}"
    )
    (folder / "document.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    # Once: nothing in a table is set by what an earlier run noted; what is noted is read again at the run's end.
    result = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout.decode("utf-8", "replace")[-2000:]
    return (folder / "document.log").read_text(encoding="utf-8", errors="replace")
