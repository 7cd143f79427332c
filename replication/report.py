"""The Markdown report: every number from a table, every table from a job."""

import os
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from replication import figure_files, tables
from replication.config import Experiment
from replication.figures import alt_text
from replication.files import read_json
from replication.markdown import code, plain
from replication.paths import (
    CLAIMS,
    EFFECT,
    LOGIT_LENS,
    LOSSES,
    PROVENANCE,
    PUBLISHED,
    RECORD,
    REPORT,
    SUMMARY,
    VERIFICATION,
    VERIFIED,
    path,
)
from replication.pins import TOLERANCE
from replication.provenance import PINNED_VERSIONS
from replication.published import table as published_table
from replication.summary import chosen_layers
from replication.tables import OUTPUT


def render(model: str, experiments: list[str]) -> str:
    """The report on one model, as Markdown."""
    environment = Environment(
        loader=PackageLoader("replication"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"code": code, "plain": plain, "signed": lambda value: f"{value:+.4f}"}
    verified = read_json(path(VERIFIED, model))
    return environment.get_template("report.md.jinja").render(
        model=model,
        verified=verified,
        experiments=[_experiment(model, name) for name in experiments],
        claims=read_json(path(CLAIMS, model)),
        verification=read_json(path(VERIFICATION, model)),
        published=_published(published_table.read(path(PUBLISHED, model))),
        versions=PINNED_VERSIONS,
        tolerance=TOLERANCE,
        provenance_file=path(PROVENANCE, model),
    )


def _experiment(model: str, name: str) -> dict[str, Any]:
    """Everything the template says about one experiment."""
    record = read_json(path(RECORD, model, name))
    losses = tables.read(path(LOSSES, model, name), tables.LOSSES)
    effect = tables.read(path(EFFECT, model, name), tables.EFFECT)
    logit_lens = tables.read(path(LOGIT_LENS, model, name), tables.LOGIT_LENS)
    summary = tables.read(path(SUMMARY, model, name), tables.SUMMARY)
    output = summary[(summary["protocol"] == "raw") & (summary["layer"] == OUTPUT)]
    return {
        "name": name,
        "settings": Experiment(**record["experiment"]),
        "record": record,
        "x_vector": x_vector_table(record),
        "figures": _figures(model, name, losses, effect, record),
        "output": output.to_dict("records"),
        "key": output[output["key"]].to_dict("records"),
        "layers": chosen_layers(record),
        "by_layer": _by_layer(summary, record),
        "protocols": _protocols(losses),
        "lenses": _lenses(losses, logit_lens, record),
    }


def x_vector_table(record: dict[str, Any]) -> list[list[str]]:
    """The post's table of a steering vector: header, the prompt's row, one row per side; cells are Markdown."""
    steering = record["experiment"]["steering"]
    coefficient = f"{abs(steering['coefficient']):g}"
    signs = ("+", "-") if steering["coefficient"] >= 0 else ("-", "+")
    rows = [
        ["0 (Prompt)", "+1", *record["original_prompt"]["tokens"]],
        [str(steering["layer"]), signs[0] + coefficient, *record["added"]["tokens"]],
        [str(steering["layer"]), signs[1] + coefficient, *record["subtracted"]["tokens"]],
    ]
    width = max(map(len, rows))
    header = ["Layer", "Coeff", *(str(position) for position in range(width - 2))]
    return [header] + [[*row[:2], *map(code, row[2:]), *[""] * (width - len(row))] for row in rows]


def _figures(
    model: str, name: str, losses: pd.DataFrame, effect: pd.DataFrame, record: dict[str, Any]
) -> list[dict[str, str]]:
    here = path(REPORT, model).parent
    return [
        {
            "path": os.path.relpath(path(pattern, model, name), here),
            "caption": caption,
            "alt": alt_text(kind, losses, effect, record),
        }
        for kind, pattern, caption in figure_files.REPORTED
    ]


def _published(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per published set: how many values, the verdict, and the value furthest off for its tolerance."""
    rows = []
    for name, part in table.groupby("set", sort=False):
        excess = (part["difference"].abs() / part["tolerance"]).fillna(0)
        worst = part.loc[excess.idxmax()]
        verdicts = set(part["verdict"])
        rows.append(
            worst.to_dict()
            | {"set": name, "values": int(part["values"].sum()), "sources": worst["source"].split("; ")}
            | {"verdict": "differs" if "differs" in verdicts else worst["verdict"]}
        )
    return rows


def _by_layer(summary: pd.DataFrame, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Change of the loss at the chosen layers, one row per token."""
    raw = summary[summary["protocol"] == "raw"]
    wide = raw.pivot(index=["position", "target_token", "key"], columns="layer", values="change")
    return [
        {"position": position, "token": token, "key": key, "changes": list(row)}
        for (position, token, key), row in zip(wide.index, wide[chosen_layers(record)].to_numpy(), strict=True)
    ]


def _protocols(losses: pd.DataFrame) -> dict[str, Any]:
    """How far raw and centred are apart, over the lens rows (the output row agrees by construction)."""
    raw, centred = (losses[losses["protocol"] == name].reset_index(drop=True) for name in tables.PROTOCOLS)
    difference = (raw["loss"].astype("float64") - centred["loss"]).abs()
    lens, output = raw["layer"] != OUTPUT, raw["layer"] == OUTPUT
    worst = difference.idxmax()
    return {
        "mean": difference[lens].mean(),
        "largest": difference[lens].max(),
        "condition": raw["condition"][worst],
        "layer": raw["layer"][worst],
        "token": raw["target_token"][worst],
        "output": difference[output].max(),
        "other_top": int((raw["top_id"] != centred["top_id"])[lens].sum()),
        "cells": int(lens.sum()),
    }


def _lenses(losses: pd.DataFrame, logit_lens: pd.DataFrame, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Mean KL to the output over positions, unsteered, of tuned and logit lens, by layer."""
    tuned = losses[(losses["protocol"] == "raw") & (losses["condition"] == "unsteered")]
    logit = logit_lens[logit_lens["condition"] == "unsteered"]
    means = [table.groupby("layer")["kl_to_output"].mean() for table in (tuned, logit)]
    layers = record["shape"]["layers"]
    return [
        {"layer": layer, "tuned": means[0][str(layer)], "logit": means[1][str(layer)]}
        # About a dozen of the rows are printed.
        | {"shown": layer % max(1, layers // 12) == 0 or layer == layers - 1}
        for layer in range(layers)
    ]
