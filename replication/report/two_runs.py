"""The account of a comparison of two runs: as plain text, as a CSV of the cells that are not equal, and as HTML."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from replication.base.numbers import fixed, signed
from replication.base.paths import PROVENANCE
from replication.base.visible import visible
from replication.report.html_page import page
from replication.report.markdown import plain
from replication.verification.cells import DIFFERENT, EQUAL, NATS, WITHIN
from replication.verification.circumstances import circumstances
from replication.verification.differences import Comparison

_NUMBER = re.compile(r"[<>]?[−+]?[0-9.]+(e[−+-][0-9]+)?( \([0-9]+\))?")


class Section(NamedTuple):
    """A part of the account: sentences and a table; either may be empty."""

    heading: str
    sentences: list[str]
    caption: str = ""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def terminal(comparison: Comparison) -> str:
    """The account as plain text, with the ten largest differences."""
    lines = []
    for section in _sections(comparison, cells=10):
        lines += ["", section.heading, *(f"  {sentence}" for sentence in section.sentences)]
        widths = [max(map(len, column)) for column in zip(section.header, *section.rows, strict=True)]
        lines += [
            "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in ((section.header, *section.rows) if section.rows else ())
        ]
    return "\n".join([_headline(comparison), *lines])


def html(comparison: Comparison) -> str:
    """The account as one self-contained page in the report's look, with up to 200 cells."""
    lines = ["# Two runs compared", "", f"**{plain(_headline(comparison))}**", ""]
    number = 0
    for section in _sections(comparison, cells=200):
        lines += [f"## {plain(section.heading)}", ""]
        lines += [line for sentence in section.sentences for line in (plain(sentence), "")]
        if section.rows:
            number += 1
            lines += [f"*Table {number}. {plain(section.caption)}*", ""]
            lines += [_markdown_row(section.header), _alignments(section.rows)]
            lines += [*(_markdown_row(row) for row in section.rows), ""]
    return page("\n".join(lines), Path())


def table(comparison: Comparison) -> pd.DataFrame:
    """Every cell that is not equal, for a CSV: what it is, both values and their difference, and the verdict."""
    cells = comparison.cells[comparison.cells["verdict"] != EQUAL]
    # Whole numbers stay whole beside a cell that only one run has.
    whole = {f"{name}_{run}": "Int64" for name in ("rank", "top_id") for run in "ab" if f"{name}_{run}" in cells}
    return cells.astype(whole)[["experiment", *cells.columns.drop("experiment")]]


def _markdown_row(texts: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(plain, texts))} |"


def _alignments(rows: tuple[tuple[str, ...], ...]) -> str:
    """The line below a table's header: columns of numbers stand right."""
    columns = [[text for text in column if text] for column in zip(*rows, strict=True)]
    numeric = [bool(column) and all(_NUMBER.fullmatch(text) for text in column) for column in columns]
    return f"| {' | '.join('---:' if number else '---' for number in numeric)} |"


def _headline(comparison: Comparison) -> str:
    counts = comparison.matched["verdict"].value_counts()
    by_verdict = ", ".join(f"{counts[name]} {name}" for name in counts.index)
    if DIFFERENT in counts:
        meaning = f"Different (by more than {_tolerances(comparison)}, or in ranks or tokens)"
    elif comparison.verdict == DIFFERENT:
        meaning = f"Not the same, though no loss that both have differs by more than {_tolerances(comparison)}"
    else:
        meaning = f"Within tolerance ({_tolerances(comparison)})" if WITHIN in counts else "Equal"
    pinned = " in the rows that pins hold" if comparison.a.pins or comparison.b.pins else ""
    sentences = [f"{meaning}: {counts.sum()} cells in both{pinned}, {by_verdict}."]
    for run, only in (("A", comparison.only_a), ("B", comparison.only_b)):
        lacks = [(len(only.experiments), "experiment"), (len(only.tables), "table"), (only.cells, "cell")]
        if any(only):
            sentences.append(f"Only in {run}: {', '.join(_counted(*each) for each in lacks if each[0])}.")
    if comparison.other_bytes:
        sentences.append(f"Of the other tables {len(comparison.other_bytes)} differ.")
    return " ".join(sentences)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _tolerances(comparison: Comparison) -> str:
    loss, kl = (f"{comparison.tolerance[name]:.2g}" for name in ("loss", "kl_to_output"))
    return f"{loss} nats, {kl} of a KL"


def _tie(comparison: Comparison) -> str:
    return f"{2 * comparison.tolerance['loss']:.2g} nats"


def _sections(comparison: Comparison, cells: int) -> list[Section]:
    sections = [_runs(comparison), _by_experiment(comparison)]
    sections.append(Section("Not compared", comparison.notes))
    sections += [_furthest(comparison, cells), _top_tokens(comparison, cells), _circumstances(comparison)]
    return [section for section in sections if section.rows or section.sentences]


def _runs(comparison: Comparison) -> Section:
    rows = tuple(
        (name, str(run.folder), "pins" if run.pins else "run", str(run.provenance.get("finished", "")))
        for name, run in (("A", comparison.a), ("B", comparison.b))
    )
    return Section("The two runs", [], "The two sides of the comparison.", ("", "folder", "kind", "finished"), rows)


def _by_experiment(comparison: Comparison) -> Section:
    rows = tuple(
        (str(name), *_counts(part), *(_largest(part, statistic) for statistic in NATS), *_changes(part))
        for name, part in comparison.cells.groupby("experiment", sort=False)
    )
    counts, largest = ("equal", "within", "different"), ("loss", "entropy", "KL")
    header = ("experiment", *counts, *largest, "ranks (ties)", "top tokens (ties)")
    caption = (
        "Cells by verdict; the largest differences of loss, entropy and KL to the output, in nats; how many ranks and"
        f" most probable tokens changed (of these, ties closer than {_tie(comparison)} in both)."
    )
    return Section("By experiment", [], caption, header, rows)


def _counts(part: pd.DataFrame) -> list[str]:
    equal, within = (int((part["verdict"] == verdict).sum()) for verdict in (EQUAL, WITHIN))
    return [str(equal), str(within), str(len(part) - equal - within)]


def _largest(part: pd.DataFrame, statistic: str) -> str:
    if part.get(f"{statistic}_a", pd.Series(dtype=float)).isna().all():
        return ""
    return f"{_change(part, statistic).abs().max():.2g}"


def _changes(part: pd.DataFrame) -> list[str]:
    if "rank_a" not in part:
        return ["", ""]
    return [f"{part[f'{name}_changed'].sum()} ({part[f'{name}_tie'].sum()})" for name in ("rank", "top")]


def _change(part: pd.DataFrame, statistic: str) -> "pd.Series[float]":
    return part[f"{statistic}_b"].astype("float64") - part[f"{statistic}_a"]


def _furthest(comparison: Comparison, limit: int) -> Section:
    apart = comparison.cells[comparison.cells["verdict"] != EQUAL]
    # A cell that is in one run only has no difference: it comes first.
    shown = apart.sort_values("difference", ascending=False, na_position="first", kind="stable").head(limit)
    columns = {name: label for name, label in zip(NATS, ("loss", "entropy", "KL"), strict=True) if f"{name}_a" in shown}
    changes = pd.DataFrame({label: _change(shown, name).map(_signed) for name, label in columns.items()})
    verdicts = shown["verdict"].str.removesuffix(" tolerance")
    rows = tuple(
        (*_place(row), _number(row["loss_a"]), _number(row["loss_b"]), *changes.loc[i], verdicts[i])
        for i, row in shown.iterrows()
    )
    return Section(
        "Largest differences",
        [f"{len(shown)} of {len(apart)} cells that are not equal."] if rows else [],
        "The cells with the largest differences, in nats, and those that are in one run only.",
        (*_PLACE, "loss in A", "loss in B", *(f"{label}, B − A" for label in changes), "verdict"),
        rows,
    )


def _top_tokens(comparison: Comparison, limit: int) -> Section:
    changed = comparison.cells[comparison.cells["top_changed"]]
    shown = changed.sort_values("top_tie", kind="stable").head(limit)
    rows = tuple(
        (
            *_place(row),
            visible(row["top_token_a"]),
            visible(row["top_token_b"]),
            f"{row['top_margin_a']:.2g}",
            f"{row['top_margin_b']:.2g}",
            "tie" if row["top_tie"] else "changed",
        )
        for _, row in shown.iterrows()
    )
    return Section(
        "Changed most probable tokens",
        [f"{len(shown)} of {len(changed)} cells; a tie is closer than {_tie(comparison)} in both."] if rows else [],
        "Cells whose most probable token changed, and its lead in log-probability over the second, in nats.",
        (*_PLACE, "in A", "in B", "lead in A", "lead in B", ""),
        rows,
    )


def _circumstances(comparison: Comparison) -> Section:
    recorded = circumstances(comparison.a, comparison.b)
    rows = tuple((one.name, one.a, one.b) for one in recorded if not one.same)
    unknown = f"has no {Path(PROVENANCE).name}: machine, commit and versions are unknown."
    return Section(
        "How the runs were made",
        [f"{len(rows)} of {len(recorded)} settings, hashes and versions recorded for both runs differ."]
        + [f"{name} {unknown}" for name, run in (("A", comparison.a), ("B", comparison.b)) if not run.provenance],
        "Settings, hashes, numerics, machine and versions that differ.",
        ("", "A", "B"),
        rows,
    )


_PLACE = ("experiment", "residuals", "condition", "row", "predicted token")


def _place(row: "pd.Series[Any]") -> list[str]:
    token = f"{row['position']}: {visible(row['target_token'])}"
    return [row["experiment"], row["protocol"], row["condition"], row["layer"], token]


def _number(value: float) -> str:
    return "" if pd.isna(value) else fixed(value, 6)


def _signed(value: float) -> str:
    return "" if pd.isna(value) else signed(value, 2, "g")
