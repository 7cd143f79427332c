"""One experiment -> one self-contained page: heat maps to hover over, and a table of both conditions' predictions."""

import importlib.resources
import json
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from replication.base import paths, tables
from replication.base.files import read_json, write_text
from replication.base.paths import path
from replication.base.steered_layer import steered_layer
from replication.base.visible import shortened, visible
from replication.figures.positions import changed_positions, tokens

CELL_TEXT = 6
"""Characters of a token that fit into a cell."""


def draw(model: str, experiment: str) -> None:
    """Writes the page of one experiment from its tables."""
    losses = tables.read(path(paths.LOSSES, model, experiment), tables.LOSSES)
    effect = tables.read(path(paths.EFFECT, model, experiment), tables.EFFECT)
    top10 = tables.read(path(paths.TOP10, model, experiment), tables.TOP10)
    record = read_json(path(paths.RECORD, model, experiment))
    write_text(path(paths.INTERACTIVE, model, experiment), page(experiment, losses, effect, top10, record))


def page(name: str, losses: pd.DataFrame, effect: pd.DataFrame, top10: pd.DataFrame, record: dict[str, Any]) -> str:
    """The page as HTML; it loads nothing, and is the same for the same tables.

    Args:
        name: Of the experiment, as links to a cell carry it.
        losses: Columns of `tables.LOSSES`.
        effect: Columns of `tables.EFFECT`.
        top10: Columns of `tables.TOP10`.
        record: What went in.
    """
    environment = Environment(
        loader=PackageLoader("replication.figures", "interactive_page"), undefined=StrictUndefined, autoescape=True
    )
    plotly = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js")
    return environment.get_template("page.html.jinja").render(
        data=script_json({"experiment": name, **page_data(losses, effect, top10, record)}),
        experiment=record["experiment"],
        steering=record["experiment"]["steering"],
        layer=steered_layer(record),
        model=record["model"],
        visible=visible,
        plotly=Markup(plotly.read_text(encoding="utf-8")),
    )


def script_json(value: Any) -> Markup:
    """JSON that nothing in it can end the script element around it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def page_data(
    losses: pd.DataFrame, effect: pd.DataFrame, top10: pd.DataFrame, record: dict[str, Any]
) -> dict[str, Any]:
    """What the page's script draws: token texts made visible, numbers with six digits.

    Returns:
        `cells[protocol][condition]` has the statistics as [layer][position]; `top` there lists, per cell, ten
        [token, probability], the token as its place in `tokens`.
    """
    layers = tables.layer_names(record["shape"]["layers"])
    shape = len(layers), len(record["prompt"]["ids"])
    names = sorted(set(top10["token"]))
    place = {token: i for i, token in enumerate(names)}
    context, targets = tokens(record)
    return {
        "layers": layers,
        "context": [visible(token) for token in context],
        "targets": [visible(token) for token in targets],
        "keys": record["key_positions"],
        "injection": {"layer": record["injection"]["block"], "positions": changed_positions(record)},
        "tokens": [visible(token) for token in names],
        "cell_tokens": [shortened(token, CELL_TEXT) for token in names],
        "cells": {
            protocol: {
                condition: _cells(
                    _ordered(losses, layers, protocol, condition),
                    _ordered(top10, layers, protocol, condition),
                    place,
                    shape,
                )
                for condition in tables.CONDITIONS
            }
            for protocol in tables.PROTOCOLS
        },
        "kl_to_unsteered": {
            protocol: _numbers(_ordered(effect, layers, protocol)["kl_to_unsteered"], shape)
            for protocol in tables.PROTOCOLS
        },
    }


def _ordered(table: pd.DataFrame, layers: list[str], protocol: str, condition: str | None = None) -> pd.DataFrame:
    """Rows of one protocol (and condition), by layer, position and, where there is one, place."""
    chosen = table["protocol"] == protocol
    if condition is not None:
        chosen &= table["condition"] == condition
    order = {name: i for i, name in enumerate(layers)}
    keys = [key for key in ("layer", "position", "place") if key in table]
    return table[chosen].sort_values(keys, key=lambda column: column.map(order) if column.name == "layer" else column)


def _cells(
    losses: pd.DataFrame, top: pd.DataFrame, place: dict[str, int], shape: tuple[int, int]
) -> dict[str, list[Any]]:
    """The statistics of one protocol and condition, each as [layer][position]."""
    pairs = [[place[token], _short(p)] for token, p in zip(top["token"], top["probability"], strict=True)]
    k = len(pairs) // (shape[0] * shape[1])
    cells = [pairs[start : start + k] for start in range(0, len(pairs), k)]
    return {
        "loss": _numbers(losses["loss"], shape),
        "rank": losses["rank"].to_numpy().reshape(shape).tolist(),
        "entropy": _numbers(losses["entropy"], shape),
        "kl": _numbers(losses["kl_to_output"], shape),
        "top": [cells[start : start + shape[1]] for start in range(0, len(cells), shape[1])],
    }


def _numbers(column: "pd.Series[float]", shape: tuple[int, int]) -> list[Any]:
    rows: list[Any] = np.array([_short(value) for value in column]).reshape(shape).tolist()
    return rows


def _short(value: float) -> float:
    """Six digits are more than a reader wants, and half the size."""
    return float(f"{value:.6g}")
