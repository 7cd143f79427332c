"""The record of what decided an experiment's numbers, which every table, figure and report can state."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from replication.base.config import FAST, Experiment
from replication.base.recorded import SIDES
from replication.engine import cuda, numerics
from replication.engine.loaded import Loaded
from replication.engine.sides import Planned, Sides
from replication.engine.steering import SteeringVector, lowest
from replication.engine.tokenizer import BOS, Tokenizer, texts


def record(
    loaded: Loaded, experiment: Experiment, plans: Sequence[Planned], vectors: Sequence[SteeringVector]
) -> dict[str, Any]:
    """Everything that decided an experiment's numbers, as JSON values.

    A single addition is described at the top level, several under `additions`; then `injection` has the lowest block
    and all positions, and `norms` the largest norm of any addition at each position.

    Args:
        loaded: The model.
        experiment: The experiment as configured.
        plans: Its additions.
        vectors: What was added, and where; norms are those of (rows, d_model) rows.
    """
    tokenizer, gpt2 = loaded.tokenizer, loaded.gpt2
    context_ids = tokenizer.with_bos(experiment.prompt)
    original = experiment.original_prompt or experiment.prompt
    parts = [_addition(tokenizer, *pair) for pair in zip(plans, vectors, strict=True)]
    return {
        "model": loaded.files.name,
        "sha256": loaded.files.sha256,
        "shape": {"layers": gpt2.config.n_layer, "d_model": gpt2.config.n_embd, "vocabulary": gpt2.config.vocab_size},
        "experiment": experiment.model_dump(mode="json"),
        "prompt": _tokens(tokenizer, context_ids),
        "original_prompt": _tokens(tokenizer, tokenizer.with_bos(original)),
        "bos": {"id": tokenizer.bos, "token": BOS, "at": "position 0 of the prompt and of both sides"},
        **(parts[0] if len(parts) == 1 else _several(plans, vectors, parts)),
        "key_positions": experiment.key_positions(texts(tokenizer, context_ids)),
        "numerics": arithmetic(loaded),
    }


def arithmetic(loaded: Loaded) -> dict[str, Any]:
    """How a model computes in this process: its mode and build, device and threads."""
    device = loaded.gpt2.device
    return {
        "mode": numerics.mode() if device.type == "cpu" else FAST,
        "build": numerics.build(),
        "dtype": "float32",
        **({"widened_from": ", ".join(loaded.widened_from)} if loaded.widened_from else {}),
        "device": str(device),
        "threads": torch.get_num_threads(),
        **(cuda.facts() if device.type == "cuda" else {}),
    }


def _addition(tokenizer: Tokenizer, plan: Planned, vector: SteeringVector) -> dict[str, Any]:
    """One addition: the tokens of its sides or the file it was read from, where it was added, and its norms."""
    settings, source = plan.settings, plan.source
    if isinstance(source, Sides):
        padding = dict(zip(SIDES, source.padding, strict=True))
        origin: dict[str, Any] = {side: _tokens(tokenizer, ids) for side, ids in source.present.items()}
        token = {"token": settings.padding, "id": tokenizer.encode(settings.padding)[0]}
        origin["padding"] = token | {side: padding[side] for side in source.present}
    else:
        origin = {"vector": {"file": settings.vector, "sha256": source.sha256, "shape": list(vector.difference.shape)}}
    centred = vector.values - vector.values.mean(-1, keepdim=True)
    sides = {side: _norms(rows) for side, rows in vector.sides.items()}
    return origin | {
        "injection": {"block": vector.layer, "positions": list(vector.positions)},
        "norms": sides | {"vector": _norms(vector.values), "vector_centred": _norms(centred)},
    }


def _several(
    plans: Sequence[Planned], vectors: Sequence[SteeringVector], parts: list[dict[str, Any]]
) -> dict[str, Any]:
    norms: dict[int, float] = {}
    for part in parts:
        for position, norm in zip(part["injection"]["positions"], part["norms"]["vector"], strict=True):
            norms[position] = max(norm, norms.get(position, 0.0))
    positions = sorted(norms)
    settings = [plan.settings.model_dump(mode="json") for plan in plans]
    return {
        "additions": [{"steering": each, **part} for each, part in zip(settings, parts, strict=True)],
        "injection": {"block": lowest(vectors), "positions": positions},
        "norms": {"vector": [norms[position] for position in positions]},
    }


def _tokens(tokenizer: Tokenizer, ids: list[int]) -> dict[str, list[Any]]:
    return {"ids": ids, "tokens": texts(tokenizer, ids)}


def _norms(rows: Tensor) -> list[float]:
    return [float(norm) for norm in rows.norm(dim=-1)]
