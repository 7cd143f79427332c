"""One experiment -> its tables: unsteered and steered, raw and centred, every layer and position."""

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch

from replication.base import tables
from replication.base.config import Experiment
from replication.base.files import write_json
from replication.base.fingerprint import fingerprint
from replication.base.paths import EFFECT, LOGIT_LENS, LOSSES, RECORD, TOP10, path
from replication.engine.lens import Predictions, centred, lens_predictions
from replication.engine.loaded import Loaded
from replication.engine.record import record
from replication.engine.sides import check
from replication.engine.steering import SteeringVector, both_streams, steering_vectors
from replication.engine.tokenizer import Tokenizer, texts

TOP_K = 10


@dataclass(frozen=True)
class Measurement:
    """Everything one experiment yields."""

    losses: pd.DataFrame
    """Columns of `tables.LOSSES`: the tuned lens, one row per protocol, condition, layer and position."""
    top10: pd.DataFrame
    """Columns of `tables.TOP10`: the ten most probable tokens of every cell of `losses`."""
    effect: pd.DataFrame
    """Columns of `tables.EFFECT`: KL of the steered against the unsteered prediction of every cell."""
    logit_lens: pd.DataFrame
    """Columns of `tables.LOGIT_LENS`: the cells without translators (raw and centred agree there)."""
    record: dict[str, Any]
    """The inputs (`record.record`), the largest |logit| of any cell, and the fingerprint of `losses`."""
    vectors: tuple[SteeringVector, ...]
    """What was added, in order."""


def measure(loaded: Loaded, experiment: Experiment) -> Measurement:
    """Runs one experiment on one model; the procedure is the post's, see docs/method.md."""
    gpt2, tokenizer = loaded.gpt2, loaded.tokenizer
    plans = check(tokenizer, gpt2.config, experiment)
    context_ids = tokenizer.with_bos(experiment.prompt)
    with torch.inference_mode():
        vectors = steering_vectors(gpt2, plans, len(context_ids), "prompt")
        runs = both_streams(gpt2, context_ids, vectors)
        # The target of the last position is <|endoftext|>, as in the authors' script.
        labels = _Labels(tokenizer, context_ids, [*context_ids[1:], tokenizer.bos])
        targets = torch.tensor(labels.target_ids, device=gpt2.device)
        streams = {"raw": runs, "centred": centred(runs)}
        tuned = {
            name: lens_predictions(gpt2, loaded.translators, each, targets, TOP_K) for name, each in streams.items()
        }
        without = loaded.translators is None
        logit = tuned["raw"] if without else lens_predictions(gpt2, None, runs, targets, TOP_K)
    sizes = {"largest_logit": max(float(result.largest_logit.max()) for result in tuned.values())}
    losses = _joined(tables.LOSSES, {name: _cells(labels, result) for name, result in tuned.items()})
    return Measurement(
        losses=losses,
        top10=_joined(tables.TOP10, {name: _top(labels, result) for name, result in tuned.items()}),
        effect=_joined(tables.EFFECT, {name: _effect(result) for name, result in tuned.items()}),
        logit_lens=_cells(labels, logit)[list(tables.LOGIT_LENS)],
        record=record(loaded, experiment, plans, vectors) | sizes | {"fingerprint": fingerprint(losses)},
        vectors=vectors,
    )


def write(result: Measurement, model: str, experiment: str) -> None:
    """Writes an experiment's tables and its record where the workflow has them."""
    for pattern, table, columns in (
        (LOSSES, result.losses, tables.LOSSES),
        (TOP10, result.top10, tables.TOP10),
        (EFFECT, result.effect, tables.EFFECT),
        (LOGIT_LENS, result.logit_lens, tables.LOGIT_LENS),
    ):
        tables.write(table, columns, path(pattern, model, experiment))
    write_json(path(RECORD, model, experiment), result.record)


class _Labels(NamedTuple):
    """What the columns of a lens table stand for."""

    tokenizer: Tokenizer
    context_ids: list[int]
    target_ids: list[int]


def _joined(columns: dict[str, str], by_protocol: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One table over the protocols, with `columns` in their order."""
    parts = [table.assign(protocol=name) for name, table in by_protocol.items()]
    return pd.concat(parts, ignore_index=True)[list(columns)]


def _index(shape: torch.Size) -> pd.DataFrame:
    """condition, layer and position of every cell of a (conditions, layers + 1, positions) tensor."""
    _, layers, positions = shape
    names = product(tables.CONDITIONS, tables.layer_names(layers - 1), range(positions))
    return pd.DataFrame(names, columns=list(tables.CELL))


def _cells(labels: _Labels, predictions: Predictions) -> pd.DataFrame:
    """One row per condition, layer and position."""
    table = _index(predictions.loss.shape)
    repeats = len(table) // len(labels.context_ids)
    for name, ids in (("context", labels.context_ids), ("target", labels.target_ids)):
        table[f"{name}_id"] = ids * repeats
        table[f"{name}_token"] = texts(labels.tokenizer, ids) * repeats
    for name in (name for name in Predictions._fields if name in tables.STATISTICS):
        table[name] = getattr(predictions, name).flatten().cpu().numpy()
    table["top_id"] = predictions.top_ids[..., 0].flatten().cpu().numpy()
    table["top_token"] = texts(labels.tokenizer, table["top_id"])
    table["top_probability"] = predictions.top_probabilities[..., 0].flatten().cpu().numpy()
    return table


def _top(labels: _Labels, predictions: Predictions) -> pd.DataFrame:
    """One row per condition, layer, position and place 1 .. k."""
    k = predictions.top_ids.shape[-1]
    index = _index(predictions.loss.shape)
    table = index.loc[index.index.repeat(k)].reset_index(drop=True)
    table["place"] = list(range(1, k + 1)) * len(index)
    table["id"] = predictions.top_ids.flatten().cpu().numpy()
    table["token"] = texts(labels.tokenizer, table["id"])
    table["probability"] = predictions.top_probabilities.flatten().cpu().numpy()
    return table


def _effect(predictions: Predictions) -> pd.DataFrame:
    """One row per layer and position: how far steering moves the prediction."""
    table = _index(predictions.loss.shape).assign(kl_to_unsteered=predictions.kl_to_first.flatten().cpu().numpy())
    return table[table["condition"] == "steered"]
