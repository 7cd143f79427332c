"""What the published quantities are made of: residual streams and read-outs of one model, by the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from replication.engine.gpt2 import GPT2
from replication.engine.lens import Predictions, centred, lens_predictions, log_probabilities
from replication.engine.lens_file import Translators
from replication.engine.loaded import Loaded
from replication.engine.sides import Sides
from replication.engine.steering import (
    SteeringVector,
    both_streams,
    embedded,
    residual_stream,
    scaled,
    steering_vector,
    through_block,
)

Text = dict[str, Any]
"""`text` and `ids` of a prompt or, with one id, of a token."""

STREAMS = 24
"""Number of residual streams kept, since the next set may need them again (GPT-2 XL: 0.3 MB per position)."""


@dataclass(frozen=True)
class Run:
    """A model, and a cache of its latest residual streams."""

    gpt2: GPT2
    translators: Translators | None
    stream: Callable[[tuple[int, ...], int], Tensor]
    """Token ids and a number of blocks -> what enters each of them and leaves the last, (blocks + 1, positions,
    d_model)."""


def started(loaded: Loaded) -> Run:
    """A run on `loaded`; nothing is computed yet."""
    gpt2 = loaded.gpt2

    @lru_cache(STREAMS)
    def stream(ids: tuple[int, ...], blocks: int) -> Tensor:
        return residual_stream(gpt2, embedded(gpt2, [ids]), 0, blocks)[0]

    return Run(gpt2, loaded.translators, stream)


def whole(run: Run, ids: list[int]) -> Tensor:
    """What enters every block and leaves the last, (layers + 1, positions, d_model)."""
    return run.stream(tuple(ids), run.gpt2.config.n_layer)


def entering(run: Run, ids: list[int], layers: list[int]) -> Tensor:
    """What enters some blocks, (layers, positions, d_model); what lies above them is not run."""
    return run.stream(tuple(ids), max(layers))[layers]


def vector(run: Run, steering: dict[str, Any], layer: int) -> SteeringVector:
    """The steering vector at one block, of sides whose ids are given, padding included."""
    sides = Sides(steering["added_ids"], steering["subtracted_ids"], (0, 0))
    return steering_vector(run.gpt2, sides, layer, float(steering["coefficient"]))


def vectors(run: Run, steering: dict[str, Any], layers: list[int]) -> Tensor:
    """Steering vectors at several blocks, (layers, positions, d_model); many are read from one pass."""
    if len(layers) == 1:
        return vector(run, steering, layers[0]).values[None]
    added, subtracted = (entering(run, steering[side], layers) for side in ("added_ids", "subtracted_ids"))
    return scaled(added - subtracted, float(steering["coefficient"]))


def streams(run: Run, prompt: Text, steering: dict[str, Any] | None) -> Tensor:
    """Residual streams of a prompt, unsteered and steered; twice the unsteered one if `steering` is None."""
    if steering is None:
        return whole(run, prompt["ids"]).expand(2, -1, -1, -1)
    return both_streams(run.gpt2, prompt["ids"], [vector(run, steering, steering["layer"])])


def stream_without_mlp(run: Run, prompt: Text, layer: int | None) -> Tensor:
    """The residual stream of a prompt when the MLP of block `layer` writes nothing; None leaves it in."""
    stream = whole(run, prompt["ids"])
    if layer is None:
        return stream
    within = run.gpt2.attended(layer, stream[layer][None])
    above = residual_stream(run.gpt2, within, layer + 1, run.gpt2.config.n_layer)[0]
    return torch.cat([stream[: layer + 1], above])


def leaving(gpt2: GPT2, entering: Tensor, first: int) -> Tensor:
    """What leaves the last block when `entering`, (batch, positions, d_model), enters block `first`."""
    for layer in range(first, gpt2.config.n_layer):
        entering = through_block(gpt2, layer, entering)
    return entering


def replaced_at_each(stream: Tensor, other: Tensor) -> Tensor:
    """Copies of `stream`, (positions, d_model); copy p has position p replaced by that of `other`.

    Returns:
        (positions, positions, d_model), a batch for `leaving`.
    """
    copies = stream.repeat(len(stream), 1, 1)
    each = torch.arange(len(stream), device=stream.device)
    copies[each, each] = other
    return copies


def as_published(residuals: Tensor, without_mean: bool) -> Tensor:
    """The residuals as a set's authors had them: without their mean over d_model, or raw."""
    return centred(residuals) if without_mean else residuals


def output(run: Run, runs: list[Tensor], targets: list[int]) -> Predictions:
    """The model's own predictions, each (runs, 1, positions), by the read-out that fills the tables."""
    return lens_predictions(run.gpt2, None, torch.stack([stream[-1:] for stream in runs]), _ids(run, targets), 1)


def lens(run: Run, runs: list[Tensor], targets: list[int], tuned: bool = True) -> Predictions:
    """What every row of the tuned lens, or the logit lens, predicts, each (runs, layers + 1, positions)."""
    return lens_predictions(run.gpt2, run.translators if tuned else None, torch.stack(runs), _ids(run, targets), 1)


def logit_difference(run: Run, last: Tensor, answer: tuple[Text, Text]) -> Tensor:
    """logit(first answer) - logit(second) of final residuals, (..., d_model) -> (...)."""
    pair = log_probabilities(run.gpt2, last)[..., [token["ids"][0] for token in answer]].double()
    return pair[..., 0] - pair[..., 1]


def _ids(run: Run, targets: list[int]) -> Tensor:
    return torch.tensor(targets, device=run.gpt2.device)
