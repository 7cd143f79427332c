"""Tokens -> steering vector, and what it does to the residual stream.

"Entering block i" is TransformerLens' blocks.i.hook_resid_pre, but with the mean over d_model left in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from replication.base.errors import UserError
from replication.engine.gpt2 import GPT2
from replication.engine.numerics import MULTIPLE
from replication.engine.sides import Sides

LARGEST_NORM = 1e15
"""Norm that a vector stays below, in a residual stream's units. The squares of 2e19 overflow; a lens may amplify."""

SIDE = math.isqrt(MULTIPLE)
"""What batch and positions are padded to a multiple of, so that their product is one of `MULTIPLE`."""


@dataclass(frozen=True)
class SteeringVector:
    """What is added to the residual stream entering block `layer`, at positions 0, 1, ..."""

    layer: int
    added: Tensor
    """Residual of the added side entering block `layer`, (positions, d_model)."""
    subtracted: Tensor
    """The same of the subtracted side."""
    values: Tensor
    """coefficient * (added - subtracted), (positions, d_model)."""


def embedded(gpt2: GPT2, texts: Sequence[Sequence[int]]) -> Tensor:
    """Token plus position embedding: what enters block 0, (texts, positions of the longest, d_model).

    Shorter texts are followed by token 0; attention looks back only, so nothing of it reaches them.
    """
    longest = max(map(len, texts))
    return gpt2.embedding(torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in texts], device=gpt2.device))


def through_block(gpt2: GPT2, layer: int, entering: Tensor) -> Tensor:
    """What leaves block `layer`, (batch, positions, d_model), for what enters it.

    Positions and batch are padded to multiples of four, so that products have a multiple of `MULTIPLE` rows and
    attention one size: a sequence then gets the same bits whatever else is in the batch.
    """
    batch, positions, _ = entering.shape
    padded = pad(entering, (0, 0, 0, -positions % SIDE, 0, -batch % SIDE))
    return gpt2.block(layer, padded)[:batch, :positions]


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


def leaving(gpt2: GPT2, entering: Tensor, first: int) -> Tensor:
    """What leaves the last block when `entering`, (batch, positions, d_model), enters block `first`."""
    for layer in range(first, gpt2.config.n_layer):
        entering = through_block(gpt2, layer, entering)
    return entering


def steering_vector(gpt2: GPT2, sides: Sides, layer: int, coefficient: float) -> SteeringVector:
    """Coefficient * (added - subtracted) of the residual stream entering block `layer` (Turner et al. 2023).

    Both sides run in one batch, so that equal tokens give equal bits: with `<|endoftext|>` first on both,
    row 0 is exactly zero.

    Raises:
        UserError: As `scaled` does.
    """
    added, subtracted = residual_stream(gpt2, embedded(gpt2, [sides.added, sides.subtracted]), 0, layer)[:, -1]
    return SteeringVector(layer, added, subtracted, scaled(added - subtracted, coefficient))


def scaled(difference: Tensor, coefficient: float) -> Tensor:
    """Coefficient * difference of the two sides' residuals, (positions, d_model).

    Raises:
        UserError: It is so long that float32 cannot add up its squares: layer norms would make zeros of it.
    """
    values = coefficient * difference
    norm = values.norm(dim=-1).max()
    if not norm < LARGEST_NORM:
        raise UserError(
            f"steering.coefficient: a coefficient of {coefficient:g} makes a vector of norm {norm:.3g}; "
            f"it must stay below {LARGEST_NORM:g}"
        )
    return values


def injected(stream: Tensor, vector: Tensor) -> Tensor:
    """`stream` (positions, d_model) with row i of `vector` added at position i ("front")."""
    steered = stream.clone()
    steered[: len(vector)] += vector
    return steered


def both_streams(gpt2: GPT2, ids: list[int], vector: SteeringVector) -> Tensor:
    """Residual streams of a prompt without and with steering.

    The blocks below the injection run once and serve both; from there on both run in one batch. So a coefficient
    of 0 changes nothing at all, and what the vector cannot reach keeps its bits.

    Returns:
        (2, layers + 1, positions, d_model), unsteered and steered: what enters every block, after the injection
        where it happens, and what leaves the last.
    """
    below = residual_stream(gpt2, embedded(gpt2, [ids]), 0, vector.layer)[0]
    entering = torch.stack([below[-1], injected(below[-1], vector.values)])
    above = residual_stream(gpt2, entering, vector.layer, gpt2.config.n_layer)
    return torch.cat([below[:-1].expand(2, -1, -1, -1), above], dim=1)
