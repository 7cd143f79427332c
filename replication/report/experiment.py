"""Everything the report prints about one experiment, from its tables and its record."""

from typing import Any, NamedTuple

import pandas as pd

from replication.base import paths, tables
from replication.base.config import Experiment
from replication.base.files import read_json
from replication.base.paths import EFFECT, LOGIT_LENS, LOSSES, RECORD, SUMMARY, TOKEN_TABLES, TOP10, path
from replication.base.posts import place_in_post
from replication.base.tables import CONDITIONS, OUTPUT
from replication.base.window import BY_POSITION, MOST_KEYS, keys_note, shown_keys, window, window_note
from replication.figures.alt_text import alt_text
from replication.report.added import added, x_vector_table
from replication.report.beyond_post import disagreements
from replication.report.links import described_figure, in_markdown, link, named_links
from replication.report.written_texts import completions
from replication.verification.summary import chosen_layers

BEST = 5
"""How many of the most probable tokens are printed."""


class Tables(NamedTuple):
    """The tables of one experiment, and its record."""

    losses: pd.DataFrame
    effect: pd.DataFrame
    logit_lens: pd.DataFrame
    top10: pd.DataFrame
    summary: pd.DataFrame
    record: dict[str, Any]


def experiment(model: str, name: str, completed: bool = False) -> dict[str, Any]:
    """What the sections print about one experiment.

    Args:
        model: Name of the model.
        name: Name of the experiment.
        completed: Whether both models wrote texts for it, which are then printed, too.
    """
    read = Tables(
        tables.read(path(LOSSES, model, name), tables.LOSSES),
        tables.read(path(EFFECT, model, name), tables.EFFECT),
        tables.read(path(LOGIT_LENS, model, name), tables.LOGIT_LENS),
        tables.read(path(TOP10, model, name), tables.TOP10),
        tables.read(path(SUMMARY, model, name), tables.SUMMARY),
        read_json(path(RECORD, model, name)),
    )
    record = read.record
    settings = Experiment(**record["experiment"])
    output = read.summary[(read.summary["protocol"] == "raw") & (read.summary["layer"] == OUTPUT)]
    shown = window(record)
    return {
        "name": name,
        "of_the_post": place_in_post(record["experiment"]) is not None,
        "place": str(settings.number or name),
        "settings": settings,
        "record": record,
        "added": added(record),
        "x_vector": x_vector_table(record),
        "figures": [_figure(model, name, kind, drawn_from, read) for kind, drawn_from in paths.REPORTED.items()],
        "files": _files(model, name),
        "shown": window_note(record),
        "keys_shown": keys_note(record),
        "output": output[output["position"].isin(shown)].to_dict("records"),
        "key": output[output["key"]].head(MOST_KEYS).to_dict("records"),
        "predictions": predictions(read.losses, read.top10, record),
        "layers": chosen_layers(record),
        "by_layer": _by_layer(read.summary[read.summary["position"].isin(shown)], record),
        "protocols": _protocols(read.losses),
        "lenses": _lenses(read.losses, read.logit_lens, record),
        "fit": _fit(read.losses, record),
        "disagreements": disagreements(read.losses),
        "lens_figure": _figure(model, name, "lenses", paths.BEYOND["lenses"], read),
        "completions": completions(model, name) if completed else None,
    }


def predictions(losses: pd.DataFrame, top10: pd.DataFrame, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The most probable tokens at the key tokens, one layer above the injection and at the output, in both conditions.

    Without key tokens they are those at the position at which steering changes the loss at the output most.

    Args:
        losses: Columns of `tables.LOSSES`.
        top10: Columns of `tables.TOP10`.
        record: The experiment's record.

    Returns:
        One row per key token, layer and condition, raw residuals: `rank` is that of the token to be predicted, `best`
        the `BEST` most probable tokens with their probabilities.
    """
    above = record["injection"]["block"] + 1
    layers = [str(above), OUTPUT] if above < record["shape"]["layers"] else [OUTPUT]
    raw = losses[losses["protocol"] == "raw"].set_index(["layer", "position", "condition"]).sort_index()
    best = top10[(top10["protocol"] == "raw") & (top10["place"] <= BEST)].sort_values("place")
    groups = best.groupby(["layer", "position", "condition"])
    rows = []
    for position in shown_keys(record) or [_most_changed(raw)]:
        for layer in layers:
            for condition in CONDITIONS:
                cells = groups.get_group((layer, position, condition))
                statistics = raw.loc[(layer, position, condition)]
                rows.append(
                    {"position": position, "layer": layer, "condition": condition}
                    | {"token": statistics["target_token"], "rank": statistics["rank"]}
                    | {"best": list(zip(cells["token"], cells["probability"], strict=True))}
                )
    return rows


def _most_changed(raw: pd.DataFrame) -> int:
    wide = raw.loc[OUTPUT]["loss"].unstack("condition")
    return int((wide["steered"] - wide["unsteered"]).abs().idxmax())


def _figure(model: str, name: str, kind: str, drawn_from: tuple[str, ...], read: Tables) -> dict[str, str]:
    alt = alt_text(kind, read.losses, read.effect, read.record)
    described = described_figure(model, name, kind, alt, drawn_from)
    part = window_note(read.record) if kind in BY_POSITION else keys_note(read.record) if kind == "layers" else ""
    if part:
        described["caption"] += f" Shown are {part}; the tables and the interactive page have all."
    return {"kind": kind, **described}


def _files(model: str, name: str) -> dict[str, str]:
    """Addresses of the interactive page and of the post's figure with centred residuals; links to all tables."""
    files = (LOSSES, TOP10, EFFECT, LOGIT_LENS, SUMMARY, *TOKEN_TABLES, RECORD)
    return {
        "interactive": link(model, name, paths.INTERACTIVE),
        "centred": link(model, name, paths.figure("post_centred", "png")),
        "tables": in_markdown(named_links(model, name, files)),
    }


def _by_layer(summary: pd.DataFrame, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Change of the loss at the chosen layers in nats, one row per token."""
    raw = summary[summary["protocol"] == "raw"]
    wide = raw.pivot(index=["position", "target_token", "key"], columns="layer", values="change")
    return [
        {"position": position, "token": token, "key": key, "changes": list(row)}
        for (position, token, key), row in zip(wide.index, wide[chosen_layers(record)].to_numpy(), strict=True)
    ]


def _protocols(losses: pd.DataFrame) -> dict[str, Any]:
    """How far the losses of raw and centred residuals are apart, in nats; only rounding moves the output row."""
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
    """Mean KL to the output over positions, in nats, unsteered, of tuned and logit lens, by layer."""
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


def _fit(losses: pd.DataFrame, record: dict[str, Any]) -> dict[str, float]:
    """Mean KL of the lens to the output, in nats, over all positions and the layers that steering can reach."""
    reached = {str(layer) for layer in range(record["injection"]["block"], record["shape"]["layers"])}
    raw = losses[(losses["protocol"] == "raw") & losses["layer"].isin(reached)]
    means = raw.groupby("condition")["kl_to_output"].mean()
    return {condition: float(means[condition]) for condition in CONDITIONS}
