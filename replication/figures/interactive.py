"""One experiment -> one self-contained page: heat maps to hover over, and a table of both conditions' predictions."""

import base64
import importlib.resources
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from replication.base import paths, tables
from replication.base.files import read_json, write_text
from replication.base.paths import path
from replication.base.posts import place_in_post
from replication.base.recorded import lens_name, vectors_in_words
from replication.base.visible import legible, visible
from replication.figures.positions import changed_cells, tokens
from replication.verification.summary import text_losses

TOPS = 350_000
"""Most probable tokens on a page, of all cells together: of a cell's ten as many as that allows, and one at least."""


Links = Mapping[str, Mapping[str, str]]
"""Headings, such as "Tables", and below each the names and addresses of links."""


def draw(model: str, experiment: str, run: Sequence[str], completed: bool = False) -> None:
    """Writes the page of one experiment from its tables, with links to the other experiments of the `run`.

    Args:
        model: Name of the model.
        experiment: Name of the experiment.
        run: Names of all experiments.
        completed: Whether both models wrote texts for it, which the page then has.
    """
    losses = tables.read(path(paths.LOSSES, model, experiment), tables.LOSSES)
    effect = tables.read(path(paths.EFFECT, model, experiment), tables.EFFECT)
    top10 = tables.read(path(paths.TOP10, model, experiment), tables.TOP10)
    record = read_json(path(paths.RECORD, model, experiment))
    write_text(
        path(paths.INTERACTIVE, model, experiment),
        page(
            *(experiment, losses, effect, top10, record, _links(model, experiment, run, completed)),
            _texts(model, experiment) if completed else None,
        ),
    )


def _texts(model: str, experiment: str) -> dict[str, Any]:
    """What both models wrote: the prompt, and by number the texts with their mean losses in nats."""
    written = read_json(path(paths.COMPLETIONS_RECORD, model, experiment))
    losses = text_losses(tables.read(path(paths.COMPLETIONS, model, experiment), tables.COMPLETIONS))
    cells = [{**each, "text": written["texts"][each["condition"]][each["number"]]} for each in losses]
    return {"prompt": written["prompt"]["text"], "pairs": list(zip(cells[::2], cells[1::2], strict=True))}


def _links(model: str, experiment: str, run: Sequence[str], completed: bool) -> Links:
    here = path(paths.INTERACTIVE, model).parent

    def address(pattern: str, of: str = experiment) -> str:
        return os.path.relpath(path(pattern, model, of), here)

    files = [paths.LOSSES, paths.TOP10, paths.EFFECT, paths.SUMMARY, paths.RECORD]
    files += [paths.COMPLETIONS] if completed else []
    return {
        "Report": {model: f"{address(paths.REPORT_PAGE)}#{experiment}"},
        "Tables": {os.path.basename(pattern): address(pattern) for pattern in files},
        "Other experiments": {other: address(paths.INTERACTIVE, other) for other in run if other != experiment},
    }


def page(
    name: str,
    losses: pd.DataFrame,
    effect: pd.DataFrame,
    top10: pd.DataFrame,
    record: dict[str, Any],
    links: Links | None = None,
    texts: dict[str, Any] | None = None,
) -> str:
    """The page as HTML; it loads nothing, and is the same for the same tables.

    Args:
        name: Name of the experiment, which links to a cell contain.
        losses: Columns of `tables.LOSSES`.
        effect: Columns of `tables.EFFECT`.
        top10: Columns of `tables.TOP10`.
        record: The experiment's record.
        links: Links to report, tables and other experiments; None for a page outside of a run.
        texts: What both models wrote, as `_texts` has it.
    """
    environment = Environment(
        loader=PackageLoader("replication.figures", "interactive_page"), undefined=StrictUndefined, autoescape=True
    )
    plotly = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js")
    data = {"experiment": name, **page_data(losses, effect, top10, record)}
    return environment.get_template("page.html.jinja").render(
        data=packed(json.dumps(data, allow_nan=False, separators=(",", ":"))),
        left_out=_left_out(_tops(losses)),
        links={kind: addresses for kind, addresses in (links or {}).items() if addresses},
        experiment=record["experiment"],
        vectors=Markup(vectors_in_words(record, lambda text: f"“<bdi>{escape(visible(text))}</bdi>”")),
        model=record["model"],
        lens=lens_name(record),
        of_the_post=place_in_post(record["experiment"]) is not None,
        visible=visible,
        legible=legible,
        texts=texts,
        plotly=packed(plotly.read_text(encoding="utf-8")),
    )


def _tops(losses: pd.DataFrame) -> int:
    """How many of a cell's ten most probable tokens the page has."""
    return min(10, max(1, TOPS // len(losses)))


def _left_out(tops: int) -> str:
    """What the page of a long prompt leaves out, and which files have it; empty where it leaves out nothing."""
    if tops == 10:
        return ""
    return (
        f"The prompt is long: of the ten most probable tokens of a cell this page has {tops}, and numbers have five "
        "digits; top10.csv and losses.csv have all."
    )


def packed(text: str) -> str:
    """Base64 of zlib's deflate: smaller, and nothing in it can end the script element around it."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def page_data(
    losses: pd.DataFrame, effect: pd.DataFrame, top10: pd.DataFrame, record: dict[str, Any]
) -> dict[str, Any]:
    """What the page's script draws: token texts made visible, numbers with six digits, of many cells five.

    Returns:
        `cells[protocol][condition]` has the statistics as [layer][position]; `top` there lists, per cell, ten
        [token, probability], of many cells fewer, the token as its place in `tokens`.
    """
    digits = 6
    if (tops := _tops(losses)) < 10:
        digits, top10 = 5, top10[top10["place"] <= tops]
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
        "injections": [{"layer": block, "positions": positions} for block, positions in changed_cells(record)],
        "tokens": [visible(token) for token in names],
        "cells": {
            protocol: {
                condition: _cells(
                    _ordered(losses, layers, protocol, condition),
                    _ordered(top10, layers, protocol, condition),
                    place,
                    shape,
                    digits,
                )
                for condition in tables.CONDITIONS
            }
            for protocol in tables.PROTOCOLS
        },
        "kl_to_unsteered": {
            protocol: _numbers(_ordered(effect, layers, protocol)["kl_to_unsteered"], shape, digits)
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
    losses: pd.DataFrame, top: pd.DataFrame, place: dict[str, int], shape: tuple[int, int], digits: int
) -> dict[str, list[Any]]:
    """The statistics of one protocol and condition, each as [layer][position]."""
    pairs = [[place[token], _short(p, digits)] for token, p in zip(top["token"], top["probability"], strict=True)]
    k = len(pairs) // (shape[0] * shape[1])
    cells = [pairs[start : start + k] for start in range(0, len(pairs), k)]
    return {
        "loss": _numbers(losses["loss"], shape, digits),
        "rank": losses["rank"].to_numpy().reshape(shape).tolist(),
        "entropy": _numbers(losses["entropy"], shape, digits),
        "kl": _numbers(losses["kl_to_output"], shape, digits),
        "top": [cells[start : start + shape[1]] for start in range(0, len(cells), shape[1])],
    }


def _numbers(column: "pd.Series[float]", shape: tuple[int, int], digits: int) -> list[Any]:
    rows: list[Any] = np.array([_short(value, digits) for value in column]).reshape(shape).tolist()
    return rows


def _short(value: float, digits: int) -> float:
    """A value with so many significant digits; all of them would double the size of the page."""
    return float(f"{value:.{digits}g}")
