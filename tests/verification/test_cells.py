"""Two runs compared: made-up pairs of tables whose differences are known beforehand, counted by hand."""

import re
import sys
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import axe
import pandas as pd
import pytest
from chromium import Page

from replication.base import tables
from replication.base.errors import UserError
from replication.base.files import write_json
from replication.report import two_runs as account
from replication.verification.cells import DIFFERENT, EQUAL, WITHIN
from replication.verification.circumstances import circumstances
from replication.verification.differences import Alone, Comparison, compare
from replication.verification.runs import read_run
from replication.workflow import cli as __main__

FILES = ("model/model.safetensors", "model/tokenizer.json", "lens/params.pt")
HOSTILE = "|<script>window.hacked=1</script>`"
NEAR_TIE = {"p": (0.5, 0.499996)}
"""Two best tokens log(0.5 / 0.499996) = 8e-6 nats apart."""

LARGEST_LOGIT = 10.48576
"""16 * 2^-23 times that is a tolerance of 2e-5 nats."""

Cell = tuple[str, str, str, int]


def write_run(
    folder: Path,
    changes: dict[Cell, dict[str, Any] | None] | None = None,
    layers: int = 1,
    tokens: tuple[str, ...] = (" hate", HOSTILE),
    experiment: str = "anger",
    weights: str = "w",
    tokenizer: str = "t",
    threads: int = 1,
) -> Path:
    """One experiment whose cells are all alike but for `changes`; None takes the cell out.

    A cell has loss 1, entropy 0.5, KL 0.25, rank 3 by a margin of 0.125, and a best token ` you` of probability
    0.5, twice the second's.
    """
    rows, top10 = [], []
    names = tables.layer_names(layers)
    for cell in product(tables.PROTOCOLS, tables.CONDITIONS, names, range(len(tokens))):
        change = (changes or {}).get(cell, {})
        if change is None:
            continue
        protocol, condition, layer, position = cell
        place = {"protocol": protocol, "condition": condition, "layer": layer, "position": position}
        labels = {"context_id": 0, "context_token": "x", "target_id": 7, "target_token": tokens[position]}
        values = {
            "loss": 1,
            "rank": 3,
            "rank_margin": 0.125,
            "entropy": 0.5,
            "kl_to_output": 0.25,
            "top_id": 5,
            "top_token": " you",
            "p": (0.5, 0.25),
        }
        values |= change
        rows.append(place | labels | values | {"top_probability": values["p"][0]})
        top10 += [place | {"place": i + 1, "id": i, "token": "x", "probability": p} for i, p in enumerate(values["p"])]
    tables.write(pd.DataFrame(rows), tables.LOSSES, folder / experiment / "losses.csv")
    tables.write(pd.DataFrame(top10), tables.TOP10, folder / experiment / "top10.csv")
    record = {
        "shape": {"layers": layers},
        "experiment": {"prompt": "".join(tokens), "steering": {"layer": 0, "coefficient": 5.0}},
        "sha256": dict(zip(FILES, (weights, tokenizer, "lens"), strict=True)),
        "numerics": {"threads": threads},
        "largest_logit": LARGEST_LOGIT,
    }
    write_json(folder / experiment / "record.json", record)
    write_json(
        folder / "provenance.json", {"finished": "today", "versions": {"torch": {"tested": "1", "installed": "2"}}}
    )
    return folder


def write_pins(folder: Path, run: Path, tolerance: float, loss: float = 1.0, layer: str = "output") -> Path:
    """Pins of one row of a run's first experiment, with another loss."""
    losses = tables.read(run / "anger" / "losses.csv", tables.LOSSES)
    tables.write(losses[losses["layer"] == layer].assign(loss=loss), tables.PIN, folder / "anger.csv")
    sha256 = dict(zip(FILES, ("w", "t", "lens"), strict=True))
    record = {"prompt": "p", "steering": {"layer": 0}, "sha256": sha256, "tolerance_nats": tolerance}
    write_json(folder / "anger.json", record)
    return folder


CHANGES: dict[Cell, dict[str, Any] | None] = {
    ("raw", "unsteered", "0", 0): {"loss": 1.00001},
    ("raw", "unsteered", "0", 1): {"loss": 1.5},
    ("raw", "steered", "output", 0): {"top_id": 6, "top_token": HOSTILE},
    ("raw", "steered", "output", 1): {"top_id": 6, "top_token": " me", **NEAR_TIE},
    ("centred", "steered", "0", 0): None,
    ("centred", "steered", "0", 1): {"rank": 4, "rank_margin": 1e-5},
    ("centred", "steered", "output", 0): {"rank": 4, "rank_margin": 1e-5},
    ("centred", "unsteered", "0", 0): {"entropy": 0.75},
}
TIED: dict[Cell, dict[str, Any] | None] = {
    ("raw", "steered", "output", 1): NEAR_TIE,
    ("centred", "steered", "0", 1): {"rank_margin": 3e-5},
}
VERDICTS = {
    ("raw", "unsteered", "0", 0): WITHIN,
    ("raw", "unsteered", "0", 1): DIFFERENT,
    ("raw", "steered", "output", 0): DIFFERENT,
    ("raw", "steered", "output", 1): WITHIN,
    ("centred", "steered", "0", 0): "only in A",
    ("centred", "steered", "0", 1): WITHIN,
    ("centred", "steered", "output", 0): DIFFERENT,
    ("centred", "unsteered", "0", 0): DIFFERENT,
}


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return write_run(tmp_path / "a", TIED)


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return write_run(tmp_path / "b", CHANGES, threads=2)


def compared(a: Path, b: Path) -> Comparison:
    return compare(read_run(a), read_run(b))


def test_every_cell_has_the_verdict_worked_out_by_hand(a: Path, b: Path) -> None:
    comparison = compared(a, b)
    found = {
        (row.protocol, row.condition, row.layer, row.position): row.verdict for row in comparison.cells.itertuples()
    }
    cells = list(product(tables.PROTOCOLS, tables.CONDITIONS, ("0", "output"), (0, 1)))
    assert found == {cell: VERDICTS.get(cell, EQUAL) for cell in cells}
    assert comparison.verdict == DIFFERENT
    assert (comparison.only_a, comparison.only_b) == (Alone([], [], 1), Alone([], [], 0))


def test_differences_and_ties_are_those_put_in(a: Path, b: Path) -> None:
    cells = compared(a, b).cells.set_index(["protocol", "condition", "layer", "position"])
    assert cells.loc[("raw", "unsteered", "0", 1), "difference"] == 0.5
    assert cells.loc[("raw", "unsteered", "0", 0), "difference"] == pytest.approx(1e-5, rel=0.01)
    assert cells.loc[("centred", "unsteered", "0", 0), "difference"] == 0.25
    assert list(cells.index[cells["top_changed"]]) == [("raw", "steered", "output", 0), ("raw", "steered", "output", 1)]
    assert list(cells.index[cells["top_tie"]]) == [("raw", "steered", "output", 1)]
    ranks = [("centred", "steered", "0", 1), ("centred", "steered", "output", 0)]
    assert list(cells.index[cells["rank_changed"]]) == ranks
    assert list(cells.index[cells["rank_tie"]]) == ranks[:1]
    assert cells.loc[("raw", "steered", "output", 0), "top_margin_a"] == pytest.approx(0.6931, abs=1e-4)


def test_a_tie_in_one_run_alone_is_no_tie(tmp_path: Path, b: Path) -> None:
    cells = compared(write_run(tmp_path / "no tie"), b).cells
    assert not cells["top_tie"].any()
    assert not cells["rank_tie"].any()


def test_account_on_the_terminal(a: Path, b: Path) -> None:
    text = account.terminal(compared(a, b))
    assert text.startswith(
        "Different (by more than 2e-05 nats, 3e-05 of a KL, or in ranks or tokens): 15 cells in both, 8 equal, "
        "4 different, 3 within tolerance. Only in A: 1 cell. Of the other tables 1 differ.\n"
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["anger", "8", "3", "5", "0.5", "0.25", "0", "2", "(1)", "2", "(1)"] in lines
    assert ["numerics", "threads", "1", "2"] in lines
    assert ["1.000000", "1.000010", "+1e−05", "0", "0", "within"] in [line[-6:] for line in lines]
    assert any(line[:4] == ["anger", "raw", "steered", "output"] and line[-1] == "tie" for line in lines if line)


def test_csv_holds_every_cell_that_is_not_equal(a: Path, b: Path, tmp_path: Path) -> None:
    status = command("diff", a, b, "--csv", tmp_path / "out.csv")
    assert status == 2
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False, dtype=str)
    keys = list(zip(table["protocol"], table["condition"], table["layer"], table["position"].astype(int), strict=True))
    assert dict(zip(keys, table["verdict"], strict=True)) == VERDICTS
    row = table[keys.index(("centred", "steered", "0", 1)) :].iloc[0]
    assert (row["rank_a"], row["rank_b"], row["target_token"]) == ("3", "4", HOSTILE)


def command(*arguments: object) -> int:
    """Exit status of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["replication", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
    return int(ended.value.code or 0)


def test_the_exit_status_is_the_verdict_and_an_error_is_none(
    a: Path, b: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near = write_run(tmp_path / "near", TIED | {("raw", "unsteered", "0", 0): {"loss": 1.00001}})
    broken = write_run(tmp_path / "broken")
    (broken / "anger" / "losses.csv").write_text("nonsense\n")
    assert command("diff", a, a) == 0
    assert command("diff", a, near) == command("diff", near, a) == 1
    assert command("diff", a, b) == 2
    assert command("diff", a, tmp_path / "nothing") == 3
    assert "nothing: neither a model's results" in capsys.readouterr().err
    assert command("diff", a, broken) == command("diff", a) == command("diff", a, a, "--odd") == 3
    (broken / "anger" / "losses.csv").unlink()
    assert command("diff", "--help") == 0
    assert command("nothing") == 2


def test_what_one_run_has_and_the_other_lacks_is_counted_and_makes_them_different(
    a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = write_run(write_run(tmp_path / "more", TIED), experiment="joy")
    for name in ("sweep.csv", "prompts.csv"):
        (a / "anger" / name).write_text("anything\n")
    (more / "anger" / "sweep.csv").write_text("anything\n")
    comparison = compared(a, more)
    assert set(comparison.cells["verdict"]) == {EQUAL}
    assert (comparison.only_a, comparison.only_b) == (Alone([], ["anger/prompts.csv"], 0), Alone(["joy"], [], 0))
    assert command("diff", a, more) == command("diff", more, a) == 2
    said = capsys.readouterr().out.splitlines()
    same = (
        "Not the same, though no loss that both have differs by more than 2e-05 nats, 3e-05 of a KL: 16 cells in both"
    )
    assert said[0] == f"{same}, 16 equal. Only in A: 1 table. Only in B: 1 experiment."
    assert {"  joy is only in B.", "  anger/prompts.csv is only in A."} <= set(said)


def test_equal_losses_beside_another_table_that_differs_are_not_called_equal(a: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", TIED)
    for folder, text in ((a, "one\n"), (other, "two\n")):
        (folder / "anger" / "sweep.csv").write_text(text)
    comparison = compared(a, other)
    assert (comparison.other_bytes, comparison.verdict) == (["anger/sweep.csv"], DIFFERENT)
    assert "16 equal. Of the other tables 1 differ.\n" in account.terminal(comparison)
    assert "anger/sweep.csv differs; its cells are not compared." in account.terminal(comparison)
    near = write_run(tmp_path / "near", TIED | {("raw", "unsteered", "0", 0): {"loss": 1.00001}})
    (near / "anger" / "sweep.csv").write_text("three\n")
    assert compared(a, near).verdict == WITHIN


def test_pins_are_compared_where_they_are_and_by_their_own_tolerance(a: Path, tmp_path: Path) -> None:
    pins = write_pins(tmp_path / "pins", a, tolerance=1e-6, loss=1.00001)
    comparison = compared(a, pins)
    assert len(comparison.cells) == 8
    assert comparison.tolerance["loss"] == 1e-6
    assert comparison.verdict == DIFFERENT
    assert not any([*comparison.only_a, *comparison.only_b])
    assert comparison.notes == ["anger: pins hold the rows output; no other is compared."]
    same = write_pins(tmp_path / "same", a, tolerance=1e-6)
    assert compared(a, same).verdict == EQUAL
    assert account.terminal(compared(a, same)).startswith(
        "Equal: 8 cells in both in the rows that pins hold, 8 equal.\n"
    )
    assert compared(write_pins(tmp_path / "wide", a, 2e-5, 1.00001), a).verdict == WITHIN
    write_run(a, experiment="joy")
    assert compared(a, same).only_a == Alone(["joy"], [], 0)
    assert compared(a, same).verdict == DIFFERENT


def test_of_models_of_another_depth_the_output_row_alone_is_compared(a: Path, tmp_path: Path) -> None:
    comparison = compared(a, write_run(tmp_path / "deep", TIED, layers=3, weights="other"))
    assert set(comparison.cells["layer"]) == {"output"}
    assert set(comparison.cells["verdict"]) == {EQUAL}
    assert comparison.notes[0] == "anger: 1 layers in A, 3 layers in B; only the output row is compared."
    assert (comparison.only_a.cells, comparison.only_b.cells) == (8, 24)
    assert comparison.verdict == DIFFERENT


def test_other_weights_of_the_same_depth_are_compared_in_every_row(a: Path, tmp_path: Path) -> None:
    comparison = compared(a, write_run(tmp_path / "other", TIED, weights="other"))
    assert set(comparison.cells["layer"]) == {"0", "output"}


def test_tokens_of_different_tokenizers_are_compared_by_their_text(a: Path, tmp_path: Path) -> None:
    renumbered = {
        cell: {"top_id": 99} for cell in product(tables.PROTOCOLS, tables.CONDITIONS, ("0", "output"), (0, 1))
    }
    for tokenizer, verdict in (("t", DIFFERENT), ("other", EQUAL)):
        other = write_run(tmp_path / tokenizer, renumbered, tokenizer=tokenizer)
        assert compared(write_run(tmp_path / "plain"), other).verdict == verdict


def test_other_prompts_have_no_cell_in_common(a: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", tokens=(" love", HOSTILE))
    with pytest.raises(UserError, match=r"have no cell in common\. anger: the prompts have different tokens"):
        compared(a, other)


def test_circumstances_stand_side_by_side(a: Path, b: Path, tmp_path: Path) -> None:
    found = {one.name: (one.a, one.b) for one in circumstances(read_run(a), read_run(b)) if not one.same}
    assert found == {"numerics threads": ("1", "2")}
    for text in (account.terminal(compared(a, b)), account.html(compared(a, b))):
        shown = text.partition("How the runs were made")[2]
        assert "numerics threads" in shown
        assert not re.search(r"version of torch|sha256 lens/params.pt|the same", shown)
    pins = write_pins(tmp_path / "pins", a, 1e-6)
    told = {one.name: (one.a, one.b) for one in circumstances(read_run(a), read_run(pins))}
    assert "version of torch" not in told  # these pins do not say
    assert told["sha256 lens/params.pt"] == ("lens", "lens")


def test_a_run_without_provenance_is_said_to_have_none(a: Path, tmp_path: Path) -> None:
    bare = write_run(tmp_path / "bare", TIED)
    (bare / "provenance.json").unlink()
    text = account.terminal(compared(a, bare))
    assert "B has no provenance.json: machine, commit and versions are unknown." in text
    assert "no provenance.json" not in account.terminal(compared(a, a))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def test_page_shows_hostile_tokens_as_text_and_passes_axe(a: Path, b: Path, browser: Page, tmp_path: Path) -> None:
    text = account.html(compared(a, b))
    assert not {"script", "img", "link", "iframe"} & set(Tags(text).found)
    assert "|&lt;script&gt;window.hacked=1&lt;/script&gt;`" in text
    file = tmp_path / "diff.html"
    file.write_text(text, encoding="utf-8")
    for scheme, width in (("light", 1400), ("dark", 390)):
        browser.prefer(scheme)
        browser.open(file, width)
        assert axe.serious_violations(browser) == []
    assert browser.messages == []
