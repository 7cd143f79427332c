"""Small made-up tables in the shape `measure` writes them, for the tests of all that is drawn from tables."""

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replication.base import tables
from replication.base.files import write_json
from replication.base.paths import (
    COMPLETIONS,
    COMPLETIONS_RECORD,
    CONTROL_KINDS,
    CONTROL_TABLES,
    EFFECT,
    LOGIT_LENS,
    LOSSES,
    RECORD,
    TOP10,
    path,
)
from replication.base.sampling import Completions
from replication.base.tables import STEERING
from replication.figures import by_layer, curves, overview, post
from replication.figures import lens_fit as fit
from replication.figures.draw import control_drawing

BOS = "<|endoftext|>"
VOCABULARY = (" wonderful", "ate", "\n", " $x$", "</script>", "\u202etxt", " null", "é", " extraordinary")


class Tables(NamedTuple):
    losses: pd.DataFrame
    effect: pd.DataFrame
    logit_lens: pd.DataFrame
    top10: pd.DataFrame
    record: dict[str, Any]


def made_up(
    tokens: tuple[str, ...] = (" hate", " you", " wonderful"),
    layers: int = 5,
    layer: int = 2,
    injected: int = 2,
    key_positions: tuple[int, ...] = (2,),
    title: str = "Love - Hate",
    coefficient: float = 5,
) -> Tables:
    """Tables of random numbers in quarters of a nat; below `layer` and at position 0 steering changes nothing.

    Args:
        tokens: The prompt after `<|endoftext|>`.
        layers: Of the model.
        layer: Where the vector is added, at positions 0 .. injected; that of position 0 is zero.
        injected: Last position the vector is added to.
        key_positions: Positions whose target is a key token.
        title: Of the experiment.
        coefficient: Of the vector; 0 leaves everything as it is.
    """
    random = np.random.default_rng(layers + len(tokens))
    context = [BOS, *tokens]
    rows = []
    for protocol, name, position in product(tables.PROTOCOLS, tables.layer_names(layers), range(len(context))):
        unsteered = random.integers(1, 40) / 4
        reached = position > 0 and (name == "output" or int(name) >= layer) and coefficient != 0
        if name == str(layer):
            reached = reached and position <= injected
        change = reached * (random.integers(1, 20) / 4 - 2.125)
        for condition, loss in (("unsteered", unsteered), ("steered", max(0.125, unsteered + change))):
            if condition == "unsteered" or reached:
                top = int(random.integers(len(VOCABULARY)))
            rows.append((protocol, condition, name, position, loss, top, abs(change) / 2))
    frame = pd.DataFrame(
        rows, columns=["protocol", "condition", "layer", "position", "loss", "top_id", "kl_to_unsteered"]
    )
    at = frame["position"]
    frame = frame.assign(
        context_id=at,
        context_token=[context[i] for i in at],
        target_id=at + 1,
        target_token=[[*tokens, BOS][i] for i in at],
        rank=(frame["loss"] * 8).astype("int64") + 1,
        rank_margin=0.25,
        entropy=frame["loss"] / 2,
        kl_to_output=frame["loss"] / 4,
        top_token=[VOCABULARY[i] for i in frame["top_id"]],
        top_probability=0.5,
    )
    raw = frame[frame["protocol"] == "raw"]
    top10 = frame.loc[frame.index.repeat(10)].reset_index(drop=True)
    top10["place"] = np.tile(range(1, 11), len(frame))
    top10["id"] = (top10["top_id"] + top10["place"] - 1) % len(VOCABULARY)
    top10["token"] = [VOCABULARY[i] for i in top10["id"]]
    top10["probability"] = 0.5 ** top10["place"]
    norms = [0.0, *[abs(coefficient) * 2.5] * injected]
    record = {
        "model": "made-up",
        "sha256": {"lens/params.pt": "0" * 64, "model/model.safetensors": "0" * 64},
        "shape": {"layers": layers, "d_model": 4, "vocabulary": len(VOCABULARY)},
        "experiment": {
            "number": 1,
            "title": title,
            "prompt": "".join(tokens),
            "steering": {"layer": layer, "coefficient": coefficient, "added": "Love", "subtracted": "Hate"},
        },
        "prompt": {"ids": list(range(len(context))), "tokens": context},
        "original_prompt": {"ids": [0, 1], "tokens": context[:2]},
        "added": {"ids": [0, 1, 2], "tokens": [BOS, "Love", " "]},
        "subtracted": {"ids": [0, 3, 4], "tokens": [BOS, "H", "ate"]},
        "bos": {"id": 0, "token": BOS},
        "padding": {"token": " ", "id": 2, "added": 1, "subtracted": 0},
        "numerics": {"mode": "portable", "dtype": "float32", "threads": 1},
        "injection": {"block": layer, "positions": list(range(injected + 1))},
        "norms": {"vector": norms},
        "key_positions": list(key_positions),
    }

    def typed(table: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
        return table[list(columns)].astype(columns).reset_index(drop=True)

    return Tables(
        typed(frame, tables.LOSSES),
        typed(frame[frame["condition"] == "steered"], tables.EFFECT),
        typed(raw.assign(loss=raw["loss"] + 1), tables.LOGIT_LENS),
        typed(top10, tables.TOP10),
        record,
    )


def written(made: Tables, model: str, experiment: str) -> None:
    """Writes the tables where the package looks for them, below the working directory."""
    for table, columns, pattern in (
        (made.losses, tables.LOSSES, LOSSES),
        (made.effect, tables.EFFECT, EFFECT),
        (made.logit_lens, tables.LOGIT_LENS, LOGIT_LENS),
        (made.top10, tables.TOP10, TOP10),
    ):
        tables.write(table, columns, path(pattern, model, experiment))
    for kind, table in control_tables(made).items():
        tables.write(table, tables.CONTROLS[kind], path(CONTROL_TABLES[kind], model, experiment))
    write_json(path(RECORD, model, experiment), made.record)


WRITTEN = {"unsteered": (" a <b>|`x`", " a", "x"), "steered": ("\n\nwon\u202e", " won", " die")}
"""Texts of three numbers."""


def write_completions(model: str, experiment: str) -> pd.DataFrame:
    """Writes made-up texts of both models after `I`, a token per character; returns their table."""
    rows = [
        (condition, number, place, ord(token), token, (1 + place) / 8, (2 + place + number) / 8)
        for condition, texts in WRITTEN.items()
        for number, text in enumerate(texts)
        for place, token in enumerate(text)
    ]
    table = pd.DataFrame(rows, columns=list(tables.COMPLETIONS))
    tables.write(table, tables.COMPLETIONS, path(COMPLETIONS, model, experiment))
    record = {
        "injections": [{"block": 2, "positions": [0, 1]}],
        "completions": Completions(prompt="I", tokens=9).model_dump(mode="json"),
        "prompt": {"text": "I", "ids": [0, 1], "tokens": [BOS, "I"]},
        "texts": WRITTEN,
    }
    write_json(path(COMPLETIONS_RECORD, model, experiment), record)
    return table


def control_tables(made: Tables) -> dict[str, pd.DataFrame]:
    """The controls' tables of an experiment: a few draws, three prompts, and a sweep with a large rise.

    The steering vector changes the key tokens by -2 nats and the others by +1, draw i by i nats and by -i / 2; by layer
    there are 21 draws, which change the key tokens by i / 10 from the injection on; the vector by -1, at the output -2.
    """
    positions = range(len(made.record["prompt"]["ids"]))
    keys, own = made.record["key_positions"], made.record["experiment"]["steering"]["coefficient"]
    changes: dict[tuple[Any, ...], tuple[float, float]] = {(STEERING,): (-2, 1)}
    changes |= {(draw,): (draw, -draw / 2) for draw in range(4)}
    cells = product(range(made.record["shape"]["layers"]), (-own, 0, own, 4 * own))
    swept = {(layer, c): (-c * (layer + 1) / 4 if c <= own else 90, abs(c) / 4) for layer, c in cells}

    def table(values: dict[tuple[Any, ...], tuple[float, float]], names: tuple[str, ...]) -> pd.DataFrame:
        rows = [
            (*cell, i, i + 1, "token", i in keys, 4, 4 + change[i not in keys], change[i not in keys])
            for cell, change in values.items()
            for i in positions
        ]
        return pd.DataFrame(rows, columns=[*names, *list(tables.SWEEP)[2:]])

    prompts = [("post", "I", 0, 2), ("paraphrase", "You, $x$ | <b>", -1, 2), ("neutral", "It", 1, 0.5)]
    rows = [(kind, text, " a", " b", before, after, after - before) for kind, text, before, after in prompts]
    found = {"random_vectors": table(changes, ("draw",)), "prompts": pd.DataFrame(rows, columns=list(tables.PROMPTS))}
    found["sweep"] = table(swept, ("layer", "coefficient"))
    found["random_by_layer"] = _by_layer(made)
    return {kind: values.astype(tables.CONTROLS[kind]) for kind, values in found.items()}


def _by_layer(made: Tables) -> pd.DataFrame:
    layers, block = tables.layer_names(made.record["shape"]["layers"]), made.record["injection"]["block"]

    def change(draw: int, row: int) -> float:
        if row < block:
            return 0
        return draw / 10 if draw != STEERING else -1 - (layers[row] == tables.OUTPUT)

    rows = [
        (draw, layer, position, position + 1, "token", change(draw, row))
        for draw in (STEERING, *range(21))
        for row, layer in enumerate(layers)
        for position in made.record["key_positions"]
    ]
    return pd.DataFrame(rows, columns=list(tables.RANDOM_BY_LAYER))


def figures_of(made: Tables) -> dict[str, Figure]:
    """Figures of an experiment."""
    return {
        "post_raw": post.post(made.losses, made.record, "raw"),
        "lens": overview.lens(made.losses, made.record),
        "output": curves.output(made.losses, made.record),
        "layers": by_layer.layers(made.losses, made.logit_lens, made.record),
        "kl": overview.kl(made.effect, made.record),
        "lenses": fit.lenses(made.losses, made.logit_lens, made.record),
    }


def controls_of(made: Tables) -> dict[str, Figure]:
    """Figures of its controls."""
    found = control_tables(made)
    return {kind: control_drawing(kind, found[kind], made.record) for kind in CONTROL_KINDS}
