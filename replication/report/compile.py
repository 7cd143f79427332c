"""The report on one model: every number from a table, every table from a job.

Its sections are the templates in sections/, put together by report.md.jinja; `experiment` gathers what they print about
an experiment, `html_page` makes HTML of the Markdown. A new section takes a template, and in `contents` what it
prints.
"""

import re
from collections.abc import Collection
from functools import partial
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from replication.base.files import read_json
from replication.base.numbers import fixed, general, signed
from replication.base.paths import CLAIMS, PROVENANCE, PUBLISHED, REPOSITORY, VERIFICATION, VERIFIED, path
from replication.base.recorded import lens_name
from replication.base.versions import tested_versions
from replication.base.window import MOST_KEYS, WIDEST
from replication.report.added import padding
from replication.report.beyond_post import beyond
from replication.report.citation import bibtex, references
from replication.report.experiment import experiment
from replication.report.markdown import abridged, anchor, cell, code, plain, written
from replication.report.numbering import Numbering
from replication.verification import published_table
from replication.verification.cells import DIFFERS
from replication.verification.claims import FALL
from replication.verification.rounding import FACTORS

__all__ = ["contents", "markdown", "sections"]


def markdown(gathered: dict[str, Any]) -> str:
    """The report on one model as Markdown.

    Args:
        gathered: What `contents` returns.
    """
    return sections("report.md.jinja", **gathered)


def sections(template: str, **printed: Any) -> str:
    """One template of sections/ as Markdown, with the report's filters and numbering.

    Args:
        template: Name of its file.
        printed: The template's variables.
    """
    environment = Environment(
        loader=PackageLoader("replication.report", "sections"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "abridged": abridged,
        "code": code,
        "cell": cell,
        "plain": plain,
        "written": written,
        "anchor": anchor,
        "signed": partial(signed, digits=4),
        "fixed": partial(fixed, digits=4),
        "short": partial(signed, digits=2),
        "general": general,
    }
    text = environment.get_template(template).render(number=Numbering(), widest=WIDEST, most_keys=MOST_KEYS, **printed)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def contents(model: str, experiments: list[str], completed: Collection[str] = ()) -> dict[str, Any]:
    """Everything the report on one model prints, from its tables and verdicts.

    Args:
        model: Name of the model.
        experiments: Names of its experiments.
        completed: Those of them for which both models wrote texts.
    """
    described = [experiment(model, name, name in completed) for name in experiments]
    name, _, run = model.partition("/")
    verified = read_json(path(VERIFIED, model))
    return {
        "model": name,
        "run": run,
        "verified": verified,
        "lens": lens_name(verified),
        "experiments": described,
        "of_the_post": [each for each in described if each["of_the_post"]],
        "padding": padding(described),
        "beyond": beyond(model, described),
        "arithmetic": {each["name"]: each["record"]["numerics"]["mode"] for each in described},
        "claims": read_json(path(CLAIMS, model)),
        "fall": FALL,
        "verification": read_json(path(VERIFICATION, model)),
        "published": _published(published_table.read(path(PUBLISHED, model))),
        "procedure": procedure((REPOSITORY / "docs/method.md").read_text(encoding="utf-8")),
        "versions": tested_versions(),
        "factors": FACTORS,
        "provenance_file": path(PROVENANCE, model),
        "references": references(),
        "bibtex": bibtex(),
    }


def procedure(method: str) -> str:
    """The procedure, which is written in docs/method.md alone: all between its title and the next heading."""
    return method.partition("\n")[2].partition("\n## ")[0].strip()


def _published(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per published set: its size, its verdict, and the value whose difference is largest for its tolerance."""
    rows = []
    for name, part in table.groupby("set", sort=False):
        excess = (part["difference"].abs() / part["tolerance"]).fillna(0)
        worst = part.loc[excess.idxmax()]
        verdicts = set(part["verdict"])
        rows.append(
            worst.to_dict()
            | {"set": name, "values": int(part["values"].sum()), "sources": worst["source"].split("; ")}
            | {"verdict": DIFFERS if DIFFERS in verdicts else worst["verdict"]}
        )
    return rows
