"""Many steered runs at once: what leaves the last block for a batch of (prompt, layer, vector) requests."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from replication.models import GPT2
from replication.steering import embedded, injected, through_block


class Request(NamedTuple):
    """A prompt, and what is added to its residual stream."""

    ids: tuple[int, ...]
    """Token ids of the prompt, `<|endoftext|>` first."""
    layer: int
    """Block whose input is changed."""
    values: Tensor
    """(positions, d_model), added at positions 0, 1, ...; not longer than the prompt."""


CHUNK = 15
"""Requests that go through the blocks together, so that the weights stream once for all: with a prompt that serves
them all, 16 sequences. Part of what is pinned."""


def steered_outputs(gpt2: GPT2, requests: Sequence[Request]) -> Iterator[tuple[Tensor, Tensor]]:
    """What leaves the last block for each request, unsteered and steered, each (positions, d_model).

    `CHUNK` requests at a time go through the blocks together, each steered copy from its injection on; their
    distinct prompts serve several. Memory is bounded by the chunk, however many requests there are.
    """
    for chunk in _chunks(requests):
        prompts = list(dict.fromkeys(request.ids for request in chunk))
        # A steered copy joins the batch at its layer: the batch is in the order of the layers.
        order = sorted(range(len(chunk)), key=lambda i: chunk[i].layer)
        hidden = embedded(gpt2, prompts)
        for layer in range(len(gpt2.transformer.h)):
            joining = [chunk[i] for i in order if chunk[i].layer == layer]
            copies = [injected(hidden[prompts.index(request.ids)], request.values)[None] for request in joining]
            hidden = through_block(gpt2, layer, torch.cat([hidden, *copies]))
        for i, request in enumerate(chunk):
            both = hidden[[prompts.index(request.ids), len(prompts) + order.index(i)], : len(request.ids)]
            yield both[0], both[1]


def _chunks(requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
    for start in range(0, len(requests), CHUNK):
        yield requests[start : start + CHUNK]
