"""The record of what went in, so that every table, figure and report can say it."""

from typing import Any

import torch
from torch import Tensor

from replication.base.config import FAST, Experiment
from replication.engine import cuda, numerics
from replication.engine.loaded import Loaded
from replication.engine.sides import PADDING, Sides
from replication.engine.steering import SteeringVector
from replication.engine.tokenizer import BOS, texts


def record(loaded: Loaded, experiment: Experiment, sides: Sides, vector: SteeringVector) -> dict[str, Any]:
    """Everything that decided an experiment's numbers, as JSON values.

    Args:
        loaded: The model.
        experiment: The experiment as configured.
        sides: Its padded sides.
        vector: What was added, and where; norms are those of (positions, d_model) rows.
    """
    tokenizer, gpt2 = loaded.tokenizer, loaded.gpt2

    def tokens(ids: list[int]) -> dict[str, list[Any]]:
        return {"ids": ids, "tokens": texts(tokenizer, ids)}

    def norms(rows: Tensor) -> list[float]:
        return [float(norm) for norm in rows.norm(dim=-1)]

    context_ids = tokenizer.with_bos(experiment.prompt)
    original = experiment.original_prompt or experiment.prompt
    return {
        "model": loaded.files.name,
        "sha256": loaded.files.sha256,
        "shape": {"layers": gpt2.config.n_layer, "d_model": gpt2.config.n_embd, "vocabulary": gpt2.config.vocab_size},
        "experiment": experiment.model_dump(mode="json"),
        "prompt": tokens(context_ids),
        "original_prompt": tokens(tokenizer.with_bos(original)),
        "added": tokens(sides.added),
        "subtracted": tokens(sides.subtracted),
        "bos": {"id": tokenizer.bos, "token": BOS, "at": "position 0 of the prompt and of both sides"},
        "padding": {
            "token": PADDING,
            "id": tokenizer.encode(PADDING)[0],
            "added": sides.padding[0],
            "subtracted": sides.padding[1],
        },
        "injection": {"block": vector.layer, "positions": list(range(len(vector.values)))},
        "norms": {
            "added": norms(vector.added),
            "subtracted": norms(vector.subtracted),
            "vector": norms(vector.values),
            "vector_centred": norms(vector.values - vector.values.mean(-1, keepdim=True)),
        },
        "key_positions": experiment.key_positions(texts(tokenizer, context_ids)),
        "numerics": {
            "mode": numerics.mode() if gpt2.device.type == "cpu" else FAST,
            "build": numerics.build(),
            "dtype": "float32",
            **({"widened_from": ", ".join(loaded.widened_from)} if loaded.widened_from else {}),
            "device": str(gpt2.device),
            "threads": torch.get_num_threads(),
            **(cuda.facts() if gpt2.device.type == "cuda" else {}),
        },
    }
