"""Prompts -> tokens -> steering vector, and what it does to the residual stream.

Residuals are those of the raw Hugging Face GPT-2. "Entering block i" is TransformerLens' blocks.i.hook_resid_pre.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from replication.config import Steering
from replication.errors import UserError
from replication.models import GPT2, Tokenizer

PADDING = " "
"""The shorter side is padded on the right with this token, as in the post's x-vector tables."""


@dataclass(frozen=True)
class Sides:
    """Token ids of both sides, `<|endoftext|>` first, padded to one length."""

    added: list[int]
    subtracted: list[int]
    padding: tuple[int, int]
    """Number of padding tokens on the added and on the subtracted side."""


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


def padded_sides(tokenizer: Tokenizer, steering: Steering) -> Sides:
    """Tokens of both sides, padded with spaces on the right to one length.

    Raises:
        UserError: A space is not one token of this tokenizer.
    """
    space = tokenizer.encode(PADDING)
    if len(space) != 1:
        raise UserError(f"the padding {PADDING!r} is {len(space)} tokens of this tokenizer; it must be one")
    added, subtracted = tokenizer.with_bos(steering.added), tokenizer.with_bos(steering.subtracted)
    length = max(len(added), len(subtracted))
    padding = length - len(added), length - len(subtracted)
    return Sides(added + space * padding[0], subtracted + space * padding[1], padding)


def embedded(gpt2: GPT2, ids: list[int]) -> Tensor:
    """Token plus position embedding: what enters block 0, (1, positions, d_model)."""
    tokens = torch.tensor([ids], device=gpt2.device)
    positions = torch.arange(len(ids), device=gpt2.device)
    hidden: Tensor = gpt2.transformer.wte(tokens) + gpt2.transformer.wpe(positions)
    return hidden


def residual_stream(gpt2: GPT2, entering: Tensor, first: int, last: int) -> Tensor:
    """Runs blocks first .. last - 1 and keeps the residual stream entering each, and what leaves the last.

    Args:
        gpt2: The model.
        entering: Residual stream entering block `first`, (1, positions, d_model).
        first: Block to start at.
        last: Block to stop before.

    Returns:
        (last - first + 1, positions, d_model); row i enters block first + i.
    """
    stream = [entering]
    for block in gpt2.transformer.h[first:last]:
        stream.append(block(stream[-1]))
    return torch.cat(stream)


def leaving(gpt2: GPT2, entering: Tensor, first: int) -> Tensor:
    """What leaves the last block when `entering`, (batch, positions, d_model), enters block `first`."""
    for block in gpt2.transformer.h[first:]:
        entering = block(entering)
    return entering


def after_attention(gpt2: GPT2, entering: Tensor, layer: int) -> Tensor:
    """The residual stream within block `layer`, between attention and MLP (TransformerLens' hook_resid_mid).

    It is also what leaves the block when its MLP is ablated to zero.

    Args:
        gpt2: The model.
        entering: Residual stream entering the block, (batch, positions, d_model).
        layer: The block.
    """
    block: Any = gpt2.transformer.h[layer]
    attended: Tensor = block.attn(block.ln_1(entering))[0]
    return entering + attended


def replaced_at_each(stream: Tensor, other: Tensor) -> Tensor:
    """Copies of `stream`, (positions, d_model); copy p has position p replaced by that of `other`.

    Returns:
        (positions, positions, d_model), a batch for `leaving`.
    """
    copies = stream.repeat(len(stream), 1, 1)
    each = torch.arange(len(stream), device=stream.device)
    copies[each, each] = other
    return copies


def steering_vector(gpt2: GPT2, sides: Sides, steering: Steering) -> SteeringVector:
    """Coefficient * (added - subtracted) of the residual stream entering block `layer` (Turner et al. 2023).

    Both sides run through products of the same shape, so that equal tokens give equal bits: with
    `<|endoftext|>` first on both, row 0 is exactly zero.
    """
    added, subtracted = (
        residual_stream(gpt2, embedded(gpt2, ids), 0, steering.layer)[-1] for ids in (sides.added, sides.subtracted)
    )
    return SteeringVector(steering.layer, added, subtracted, steering.coefficient * (added - subtracted))


def injected(stream: Tensor, vector: Tensor) -> Tensor:
    """`stream` (positions, d_model) with row i of `vector` added at position i ("front")."""
    steered = stream.clone()
    steered[: len(vector)] += vector
    return steered


def both_streams(gpt2: GPT2, ids: list[int], vector: SteeringVector) -> tuple[Tensor, Tensor]:
    """Residual streams of a prompt without and with steering.

    The blocks below the injection run once and serve both; from there on both run through products of the
    same shape. So a coefficient of 0 changes nothing at all, and what the vector cannot reach keeps its bits.

    Returns:
        Unsteered and steered, each (layers + 1, positions, d_model): what enters every block, after the
        injection where it happens, and what leaves the last.
    """
    layers = len(gpt2.transformer.h)
    unsteered = residual_stream(gpt2, embedded(gpt2, ids), 0, layers)
    entering = injected(unsteered[vector.layer], vector.values)
    above = residual_stream(gpt2, entering[None], vector.layer, layers)
    return unsteered, torch.cat([unsteered[: vector.layer], above])
