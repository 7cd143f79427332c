"""The tables between the steps: their columns, and a round trip that changes nothing.

Numbers are float32, written with the fewest digits that give the same float32 back. Token text is data: a
token ` null`, `NA`, `"`, a line break or half a UTF-8 character reads back as it was written.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from replication.base.errors import UserError
from replication.base.files import written_whole

PROTOCOLS = ("raw", "centred")
CONDITIONS = ("unsteered", "steered")
OUTPUT = "output"
"""Name of the last row of a lens table: the model's own prediction."""

STATISTICS = {
    "loss": "float32",
    "rank": "int64",
    "rank_margin": "float32",
    "entropy": "float32",
    "kl_to_output": "float32",
    "top_id": "int64",
    "top_token": "str",
    "top_probability": "float32",
}
CELL = {"condition": "str", "layer": "str", "position": "int64"}
LABELS = {"context_id": "int64", "context_token": "str", "target_id": "int64", "target_token": "str"}

LOSSES = {"protocol": "str", **CELL, **LABELS, **STATISTICS}
LOGIT_LENS = {**CELL, **LABELS, **STATISTICS}
EFFECT = {"protocol": "str", "layer": "str", "position": "int64", "kl_to_unsteered": "float32"}
"""sum p_unsteered (log p_unsteered - log p_steered) of every cell, in nats."""
TOP10 = {"protocol": "str", **CELL, "place": "int64", "id": "int64", "token": "str", "probability": "float32"}
SECOND_OPINION = {"experiment": "str", **CELL, "loss": "float32", "entropy": "float32", "largest_logit": "float32"}
"""tuned-lens' own statistics of every raw cell, in nats, and its largest |logit|, which rounding is proportional to."""
_CHANGE = {"key": "bool", "loss_unsteered": "float32", "loss_steered": "float32", "change": "float32"}
SUMMARY = {"protocol": "str", "layer": "str", "position": "int64", **LABELS, **_CHANGE}
_LOSS_CHANGE = {"position": "int64", "target_id": "int64", "target_token": "str", **_CHANGE}
STEERING = -1
"""In `RANDOM_VECTORS` the draw that is the steering vector itself; random ones are numbered from 0."""
RANDOM_VECTORS = {"draw": "int64", **_LOSS_CHANGE}
"""Losses at the output, in nats, with the steering vector and with random directions of its norms."""
RANDOM_BY_LAYER = {
    "draw": "int64",
    "layer": "str",
    "position": "int64",
    "target_id": "int64",
    "target_token": "str",
    "change": "float32",
}
"""Steered minus unsteered loss of the key tokens with the same vectors, in nats: tuned lens, raw, by layer."""
SWEEP = {"layer": "int64", "coefficient": "float64", **_LOSS_CHANGE}
"""Losses at the output, in nats, by injection layer and coefficient."""
PROMPTS = {
    "kind": "str",
    "prompt": "str",
    "target": "str",
    "contrast": "str",
    "log_odds_unsteered": "float32",
    "log_odds_steered": "float32",
    "change": "float32",
}
"""log p(target) - log p(contrast) after a prompt, in nats; kind is post, paraphrase or neutral."""
CONTROLS = {"random_vectors": RANDOM_VECTORS, "random_by_layer": RANDOM_BY_LAYER, "prompts": PROMPTS, "sweep": SWEEP}
"""The controls' tables, by the names of `paths.CONTROL_TABLES`."""
HELD_OUT = {"layer": "int64", "tuned_lens": "float32", "logit_lens": "float32"}
"""Mean KL to the output in nats, of both lenses, on text that the tuned lens was not trained on."""
COMPLETIONS = {
    **{"condition": "str", "number": "int64", "place": "int64", "token_id": "int64", "token": "str"},
    **{"loss_unsteered": "float32", "loss_steered": "float32"},
}
"""Tokens that the unsteered and the steered model wrote, text by text; place 0 follows the prompt. Losses are the
token's under both models, whichever wrote it, in nats."""
PIN = {"protocol": "str", **CELL, "target_id": "int64", "target_token": "str", "loss": "float32"}


def write(table: pd.DataFrame, columns: dict[str, str], path: Path) -> None:
    """Writes `table` with exactly `columns` (name: dtype), whole or not at all.

    Raises:
        UserError: A number is NaN or infinite; the sentence names the cell.
    """
    table = table[list(columns)].astype(columns)
    _refuse_not_finite(table, path)
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n", encoding="utf-8")


def read(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    """The table at `path`, with exactly `columns` (name: dtype).

    Raises:
        UserError: The file is missing, has other columns, or a number in it is NaN, infinite or no number.
    """
    try:
        # Nothing reads as missing, and only \n ends a line: so quoted text comes back as it was.
        table = pd.read_csv(
            path,
            dtype={name: "str" if kind == "str" else None for name, kind in columns.items()},
            keep_default_na=False,
            na_filter=False,
            encoding="utf-8",
            lineterminator="\n",
        )
    except FileNotFoundError:
        raise UserError(f"{path}: this table is missing; make it with snakemake --cores 2 {path}") from None
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    if list(table.columns) != list(columns):
        raise UserError(f"{path}: the columns are {', '.join(table.columns)}; expected {', '.join(columns)}")
    try:
        table = table.astype(columns)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    _refuse_not_finite(table, path)
    return table


def _refuse_not_finite(table: pd.DataFrame, path: Path) -> None:
    for name in table.select_dtypes("floating"):
        faults = np.flatnonzero(~np.isfinite(table[name].to_numpy()))
        if len(faults):
            cell = ", ".join(f"{key} {table[key].iloc[faults[0]]}" for key in CELL if key in table)
            raise UserError(
                f"{path}: column {name} is {table[name].iloc[faults[0]]} at {cell}; every number must be finite"
            )


def layer_names(layers: int) -> list[str]:
    """Names of a lens table's rows: "0" .. str(layers - 1), then "output"."""
    return [*map(str, range(layers)), OUTPUT]
