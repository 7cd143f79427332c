"""A whole run in made-up tables: everything the report is compiled from, written where the package looks for it."""

import pandas as pd
from drawn_tables import Tables, control_tables, written
from PIL import Image

from replication.base import paths, tables
from replication.base.files import write_json, write_text
from replication.base.paths import CLAIMS, CONTROLS, PUBLISHED, SUMMARY, TOKEN_TABLES, VERIFICATION, VERIFIED, path
from replication.verification import chance as control_verdicts
from replication.verification import claims, published_table
from replication.verification.published_sets import published_sets
from replication.verification.summary import summary

AGREES = {
    "status": "agrees", "cells": 12, "tolerance": 1e-4, "largest_difference": 1.5e-6, "statistic": "entropy",
    "at": {"condition": "steered", "layer": "3", "position": 2}, "cells_off": 0, "off": [],
}  # fmt: skip
NOT_RUN = {"status": "not run", "reason": "no pin has been recorded for this model and experiment"}


def written_run(model: str, made: dict[str, Tables], note: str | None = None) -> None:
    """Writes tables, records, verdicts and pictures of a run, below the working directory."""
    for name, part in made.items():
        written(part, model, name)
        tables.write(summary(part.losses, part.record), tables.SUMMARY, path(SUMMARY, model, name))
        write_pictures(model, name)
        for pattern in TOKEN_TABLES:
            write_text(path(pattern, model, name), "a table")
    judged = {name: claims.claims(part.losses, part.top10, part.record) for name, part in made.items()}
    write_json(path(CLAIMS, model), judged)
    judges = {kind: getattr(control_verdicts, kind) for kind in paths.CONTROL_TABLES}
    found = {
        name: {kind: judges[kind](table, part.record) for kind, table in control_tables(part).items()}
        for name, part in made.items()
    }
    write_json(path(CONTROLS, model), found)
    checks = {name: {"pins": NOT_RUN, "second_opinion": AGREES} for name in made}
    ran, skipped, *_ = published_sets("gpt2-xl")
    rows = [published_table.compared(ran, check, check.expected) for check in ran.checks]
    compared = pd.concat([*rows, published_table.not_run(skipped, "measured on others")])
    published_table.write(compared, path(PUBLISHED, model))
    published = published_table.outcome(compared)
    verdicts = {"model": model, "passed": True, "published": published, "experiments": checks}
    write_json(path(VERIFICATION, model), verdicts | {"fingerprints": dict.fromkeys(made, "0" * 64)})
    files = next(iter(made.values())).record["sha256"]
    verified = {"note": note, "sha256": files, "checks": ["3 tensors", "<|endoftext|> is 0"]}
    write_json(path(VERIFIED, model), verified)


def write_pictures(model: str, name: str) -> None:
    """Small pictures in the place of the figures, and an empty interactive page."""
    of_experiment = [paths.figure(kind, "png") for kind in (*paths.KINDS, *paths.CONTROL_KINDS)]
    for pattern in (*of_experiment, paths.beyond_chance("png")):
        picture = path(pattern, model, name)
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "white").save(picture)
        write_text(picture.with_suffix(".svg"), '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>')
        write_text(picture.with_suffix(".pdf"), "%PDF")
    write_text(path(paths.INTERACTIVE, model, name), "<!doctype html>")
