"""Tokens -> steering vectors, and what they do to the residual stream.

"Entering block i" is TransformerLens' blocks.i.hook_resid_pre, but with the mean over d_model left in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from replication.base.errors import UserError
from replication.engine.gpt2 import GPT2, Cache
from replication.engine.numerics import MULTIPLE
from replication.engine.sides import Planned, Sides

LARGEST_NORM = 1e15
"""Upper limit of a vector's norm, in a residual stream's units. The squares of 2e19 overflow; a lens may amplify."""

SIDE = math.isqrt(MULTIPLE)
"""Batch and positions are each padded to a multiple of this, so that their product is a multiple of `MULTIPLE`."""


@dataclass(frozen=True)
class SteeringVector:
    """What is added to the residual stream entering block `layer`."""

    layer: int
    positions: tuple[int, ...]
    """Of the prompt: row i of `values` is added at positions[i]."""
    difference: Tensor
    """added - subtracted, either of which may be left out: residuals entering block `layer`, (rows, d_model). For a
    file with one row for every position, that row, (d_model,)."""
    values: Tensor
    """coefficient * difference, (rows, d_model)."""
    sides: dict[str, Tensor]
    """Residuals of the sides, "added" and "subtracted" unless left out, each (rows, d_model); empty for a file's."""


def embedded(gpt2: GPT2, texts: Sequence[Sequence[int]]) -> Tensor:
    """Token plus position embedding: what enters block 0, (texts, positions of the longest, d_model).

    Shorter texts are padded on the right with token 0; attention is causal, so none of their tokens attends to it.
    """
    longest = max(map(len, texts))
    return gpt2.embedding(torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in texts], device=gpt2.device))


def through_block(gpt2: GPT2, layer: int, entering: Tensor, cache: Cache | None = None) -> Tensor:
    """What leaves block `layer`, (batch, positions, d_model), for what enters it; `cache` as for `GPT2.block`.

    Positions and batch are padded to multiples of four, so that products have a multiple of `MULTIPLE` rows and
    attention one size: a sequence then gets the same bits whatever else is in the batch.
    """
    batch, positions, _ = entering.shape
    padded = pad(entering, (0, 0, 0, -positions % SIDE, 0, -batch % SIDE))
    leaving = gpt2.block(layer, padded, cache)
    if cache is not None:
        keys, values = cache[layer]
        cache[layer] = keys[:batch, :, :positions], values[:batch, :, :positions]
    return leaving[:batch, :positions]


def residual_stream(gpt2: GPT2, entering: Tensor, first: int, last: int) -> Tensor:
    """Runs blocks first .. last - 1 and keeps the residual stream entering each, and what leaves the last.

    Args:
        gpt2: The model.
        entering: Residual stream entering block `first`, (batch, positions, d_model).
        first: Block to start at.
        last: Block to stop before.

    Returns:
        (batch, last - first + 1, positions, d_model); row i enters block first + i.
    """
    stream = [entering]
    for layer in range(first, last):
        stream.append(through_block(gpt2, layer, stream[-1]))
    return torch.stack(stream, dim=1)


def steering_vectors(gpt2: GPT2, plans: Sequence[Planned], prompt: int, named: str) -> tuple[SteeringVector, ...]:
    """The vectors of several additions for a prompt of so many tokens, in order; each is read from unsteered runs.

    Raises:
        UserError: A vector does not fit the prompt (`named`, in errors), or `scaled` says that it is too long.
    """
    return tuple(vectors_at(gpt2, plan, [plan.layer], prompt, named)[0] for plan in plans)


def vectors_at(gpt2: GPT2, plan: Planned, layers: Sequence[int], prompt: int, named: str) -> list[SteeringVector]:
    """An addition's vector for a prompt, read at and added before each of several layers; all from one forward pass."""
    positions, coefficient = plan.positions(prompt, named), plan.settings.coefficient
    if isinstance(plan.source, Sides):
        stream = residual_stream(gpt2, embedded(gpt2, [*plan.source.present.values()]), 0, max(layers))
        return [_of_sides(plan.source, stream[:, layer], layer, coefficient, positions) for layer in layers]
    difference = torch.tensor(plan.source.rows[0] if plan.source.one_row else plan.source.rows, device=gpt2.device)
    unscaled = SteeringVector(plan.layer, positions, difference, difference, {})
    vector = multiplied(unscaled, coefficient)
    return [replace(vector, layer=layer) for layer in layers]


def steering_vector(gpt2: GPT2, sides: Sides, layer: int, coefficient: float) -> SteeringVector:
    """Coefficient * (added - subtracted) of the residual stream entering block `layer` (Turner et al. 2023).

    Both sides run in one batch, so that equal tokens give equal bits: with `<|endoftext|>` first on both, row 0 is
    exactly zero. A side that is left out adds or subtracts nothing, and row 0 is not zero.

    Raises:
        UserError: As `scaled` does.
    """
    residuals = residual_stream(gpt2, embedded(gpt2, [*sides.present.values()]), 0, layer)[:, -1]
    return _of_sides(sides, residuals, layer, coefficient, tuple(range(residuals.shape[1])))


def _of_sides(
    sides: Sides, residuals: Tensor, layer: int, coefficient: float, positions: tuple[int, ...]
) -> SteeringVector:
    """The vector of the residuals of the sides that are there, (sides, rows, d_model)."""
    read = dict(zip(sides.present, residuals, strict=True))
    # Not zero minus the one side: that would turn -0 into 0.
    difference = read["added"] - read["subtracted"] if len(read) == 2 else read.get("added", -residuals[0])
    return SteeringVector(layer, positions, difference, scaled(difference, coefficient), read)


def multiplied(vector: SteeringVector, coefficient: float) -> SteeringVector:
    """The same vector with another coefficient."""
    return replace(vector, values=scaled(vector.difference, coefficient).expand(len(vector.positions), -1))


def scaled(difference: Tensor, coefficient: float) -> Tensor:
    """Coefficient * difference of the two sides' residuals, (positions, d_model).

    Raises:
        UserError: It is so long that float32 cannot add up its squares: layer norm would turn it into zeros.
    """
    values = coefficient * difference
    norm = values.norm(dim=-1).max()
    if not norm < LARGEST_NORM:
        raise UserError(
            f"steering.coefficient: a coefficient of {coefficient:g} makes a vector of norm {norm:.3g}; "
            f"it must stay below {LARGEST_NORM:g}"
        )
    return values


def injected(entering: Tensor, layer: int, vectors: Sequence[SteeringVector]) -> Tensor:
    """What enters block `layer`, (positions, d_model), with the vectors of that block added, in order."""
    for vector in vectors:
        if vector.layer == layer:
            entering = entering.clone()
            entering[list(vector.positions)] += vector.values
    return entering


def lowest(vectors: Sequence[SteeringVector]) -> int:
    """The first block whose input is changed."""
    return min(vector.layer for vector in vectors)


def both_streams(gpt2: GPT2, ids: list[int], vectors: Sequence[SteeringVector]) -> Tensor:
    """Residual streams of a prompt without and with steering.

    The blocks below the lowest injection run once and serve both; from there on both run in one batch. So a
    coefficient of 0 changes nothing at all, and what the vectors cannot reach keeps its bits.

    Returns:
        (2, layers + 1, positions, d_model), unsteered and steered: what enters every block, after the injection
        where it happens, and what leaves the last.
    """
    first = lowest(vectors)
    below = residual_stream(gpt2, embedded(gpt2, [ids]), 0, first)[0]
    both = [torch.stack([below[-1], injected(below[-1], first, vectors)])]
    for layer in range(first, gpt2.config.n_layer):
        unsteered, steered = through_block(gpt2, layer, both[-1])
        both.append(torch.stack([unsteered, injected(steered, layer + 1, vectors)]))
    return torch.cat([below[:-1].expand(2, -1, -1, -1), torch.stack(both, dim=1)], dim=1)
