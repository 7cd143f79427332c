"""Many steered runs at once: what the model predicts for a batch of (prompt, vectors) requests."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from replication.engine.gpt2 import GPT2
from replication.engine.lens import ROWS, log_probabilities
from replication.engine.steering import SteeringVector, embedded, injected, lowest, through_block

CHUNK = 15
"""Requests that go through the blocks together, so that the weights stream once for all: with a prompt that serves
them all, 16 sequences. Part of what is pinned."""


class Prompt(NamedTuple):
    """A text, and the tokens whose log-probability is computed."""

    ids: tuple[int, ...]
    """Token ids, `<|endoftext|>` first."""
    targets: tuple[tuple[int, ...], ...]
    """Token ids for each position, equally many at each."""


class Request(NamedTuple):
    """A prompt, and what is added to its residual stream."""

    prompt: Prompt
    vectors: tuple[SteeringVector, ...]
    """Added in order, at positions that the prompt has."""


class Predicted(NamedTuple):
    """What one request gives, without and with its vector."""

    unsteered: Tensor
    """(positions, targets): log p at the output, in nats."""
    steered: Tensor
    """(positions, targets)."""
    streams: Tensor
    """(2, layers + 1, watched positions, d_model), both runs: what enters every block and leaves the last."""


def predictions(gpt2: GPT2, requests: Sequence[Request], watched: Sequence[int] = ()) -> Iterator[Predicted]:
    """Log p of the target tokens at the output for each request, without and with its vector.

    `CHUNK` requests at a time go through the blocks together, each steered copy from its injection on; a prompt that
    several share runs once. Memory is bounded by the chunk, however many requests there are.

    Args:
        gpt2: The model.
        requests: In any order; all prompts have the same number of targets per position.
        watched: Positions whose residual streams are kept.

    Yields:
        One per request, in their order.
    """
    for start in range(0, len(requests), CHUNK):
        chunk = requests[start : start + CHUNK]
        prompts = list(dict.fromkeys(request.prompt for request in chunk))
        # A steered copy joins the batch at its first steered layer: the copies follow the prompts, sorted by it.
        order = sorted(range(len(chunk)), key=lambda i: lowest(chunk[i].vectors))
        hidden, rows = _outputs(gpt2, prompts, [chunk[i] for i in order], watched)
        log_p = _log_p(gpt2, hidden, [*prompts, *(chunk[i].prompt for i in order)])
        for i, request in enumerate(chunk):
            positions, own = len(request.prompt.ids), prompts.index(request.prompt)
            copy = len(prompts) + order.index(i)
            # Below its first layer a copy is not in the batch yet, and equals its prompt.
            both = [torch.stack([row[own], row[copy if copy < len(row) else own]]) for row in rows]
            yield Predicted(log_p[own, :positions], log_p[copy, :positions], torch.stack(both, dim=1))


def _outputs(
    gpt2: GPT2, prompts: list[Prompt], requests: list[Request], watched: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """What leaves the last block for prompts, then requests sorted by first layer, (sequences, positions, d_model).

    Also what enters every block and leaves the last at the `watched` positions, for the sequences that have joined.
    """
    hidden = embedded(gpt2, [prompt.ids for prompt in prompts])
    rows = []
    for layer in range(gpt2.config.n_layer):
        joined = requests[: len(hidden) - len(prompts)]
        joining = [request for request in requests if lowest(request.vectors) == layer]
        copies = [*hidden[len(prompts) :], *(hidden[prompts.index(request.prompt)] for request in joining)]
        steered = [injected(copy, layer, each.vectors) for copy, each in zip(copies, [*joined, *joining], strict=True)]
        hidden = torch.stack([*hidden[: len(prompts)], *steered])
        rows.append(hidden[:, list(watched)])
        hidden = through_block(gpt2, layer, hidden)
    return hidden, [*rows, hidden[:, list(watched)]]


def _log_p(gpt2: GPT2, hidden: Tensor, prompts: list[Prompt]) -> Tensor:
    """Log p of each sequence's target tokens, (sequences, positions, targets), `ROWS` rows at a time."""
    targets = torch.zeros(*hidden.shape[:2], len(prompts[0].targets[0]), dtype=torch.long, device=hidden.device)
    for i, prompt in enumerate(prompts):
        targets[i, : len(prompt.targets)] = torch.tensor(prompt.targets, device=hidden.device)
    parts = zip(hidden.flatten(0, 1).split(ROWS), targets.flatten(0, 1).split(ROWS), strict=True)
    log_p = [log_probabilities(gpt2, rows).gather(-1, ids) for rows, ids in parts]
    return torch.cat(log_p).view(targets.shape)
