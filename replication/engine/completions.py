"""What a model writes after a prompt, without and with steering: greedy, or sampled (Turner et al. 2023).

The vectors are added once, while the prompt is read; each new token then attends to the keys and values of what was
read. Both models read every text while one of them writes it, so that each token has its loss under both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replication.base.sampling import Completions
from replication.engine.gpt2 import GPT2, Cache
from replication.engine.steering import SteeringVector, embedded, injected, through_block

TOGETHER = 4
"""How many text numbers go through the blocks together: each has two texts, and two models read both, which makes 16
sequences (`numerics.MULTIPLE`). Fewer are filled up to this: a text's bits do not depend on how many there are."""

Array = NDArray[np.float64]


class Text(NamedTuple):
    """What one model wrote."""

    ids: list[int]
    """Token ids; the last is `<|endoftext|>` if the model ended there."""
    losses: list[tuple[float, float]]
    """-log p of each under the unsteered and the steered model, after the prompt and the text before it, in nats."""


def completions(
    gpt2: GPT2, prompt: Sequence[int], vectors: Sequence[SteeringVector], settings: Completions, end: int
) -> list[tuple[Text, Text]]:
    """The texts that the unsteered and the steered model write after a prompt, a pair for each number.

    Args:
        gpt2: The model.
        prompt: Token ids, `<|endoftext|>` first, fewer than the model's context.
        vectors: What is added to the prompt's residual stream for the steered model.
        settings: How many, how long, how they are drawn.
        end: Token id that a text ends with.
    """
    read = _read(gpt2, prompt, vectors)
    starts = range(0, len(settings.numbers), TOGETHER)
    written = [pair for start in starts for pair in _written(gpt2, prompt, read, settings, start, end)]
    return written[: len(settings.numbers)]


class _Read(NamedTuple):
    """The prompt as the unsteered and the steered model have read it."""

    cache: Cache
    """Keys and values of all its positions; the batch size b is 2."""
    last: Tensor
    """What leaves the last block at its last position, (2, d_model)."""


def _read(gpt2: GPT2, prompt: Sequence[int], vectors: Sequence[SteeringVector]) -> _Read:
    cache: Cache = {}
    both = embedded(gpt2, [prompt, prompt])
    for layer in range(gpt2.config.n_layer):
        both = torch.stack([both[0], injected(both[1], layer, vectors)])
        both = through_block(gpt2, layer, both, cache)
    return _Read(cache, both[:, -1])


def _written(
    gpt2: GPT2, prompt: Sequence[int], read: _Read, settings: Completions, first: int, end: int
) -> list[tuple[Text, Text]]:
    """`completions` of the numbers first .. first + TOGETHER - 1."""
    texts = [Text([], []) for _ in range(2 * TOGETHER)]  # for each number the unsteered model's text first
    length = min(settings.tokens, gpt2.config.n_positions - len(prompt))
    chances = [_chances(settings.seed, first + i // 2, length) for i in range(len(texts))]
    counts = np.tile(np.bincount(prompt, minlength=gpt2.config.vocab_size), (len(texts), 1))
    # Each text has two sequences, the unsteered reader first, so the prompt's pair is repeated for every text.
    cache = {
        layer: (keys.repeat(len(texts), 1, 1, 1), values.repeat(len(texts), 1, 1, 1))
        for layer, (keys, values) in read.cache.items()
    }
    leaving = read.last.repeat(len(texts), 1)
    for place in range(length):
        logits = gpt2.logits(leaving).unflatten(0, (len(texts), 2))
        log_p = logits.log_softmax(-1)
        for i, text in enumerate(texts):
            own = logits[i, i % 2].cpu().numpy()
            chosen = next_token(own, counts[i], settings, chances[i][place])
            counts[i][chosen] += 1
            text.ids.append(chosen)
            text.losses.append((-float(log_p[i, 0, chosen]), -float(log_p[i, 1, chosen])))
        if place + 1 == length or all(end in text.ids for text in texts):
            break
        new = torch.tensor([text.ids[-1] for text in texts], device=gpt2.device).repeat_interleave(2)
        leaving = gpt2.embedding(new[:, None], len(prompt) + place)
        for layer in range(gpt2.config.n_layer):
            leaving = gpt2.block(layer, leaving, cache)
        leaving = leaving[:, 0]
    ended = [_up_to(text, end) for text in texts]
    return list(zip(ended[::2], ended[1::2], strict=True))


def _chances(seed: int, number: int, length: int) -> Array:
    """A text's uniform random numbers, one per token, (length,): the same whatever else is drawn."""
    return np.random.default_rng([seed, number]).random(length)


def _up_to(text: Text, end: int) -> Text:
    length = text.ids.index(end) + 1 if end in text.ids else len(text.ids)
    return Text(text.ids[:length], text.losses[:length])


def next_token(logits: NDArray[np.float32], counts: NDArray[np.int64], settings: Completions, chance: float) -> int:
    """The token that is taken, by the definition of TransformerLens 1.3, with which the original authors sampled.

    Its `generate` passes the whole text, prompt included, to `sample_logits`:
    https://github.com/TransformerLensOrg/TransformerLens/blob/00c7c4ed8eb3957a8c6250fc9c13a5a7e4960ffb/transformer_lens/utils.py

    Args:
        logits: (vocabulary,).
        counts: How often each token occurs in the prompt, `<|endoftext|>` included, and in the text.
        settings: Temperature, nucleus, penalty.
        chance: Uniform random number in [0, 1): which part of the distribution, most probable token first, is drawn.
    """
    if settings.temperature == 0:
        return int(logits.argmax())
    ids, p = nucleus(logits, counts, settings)
    # Without the last sum, so that some token is taken even where rounding leaves the sum of all below 1.
    return int(ids[(p[:-1].cumsum() <= chance).sum()])


def nucleus(
    logits: NDArray[np.float32], counts: NDArray[np.int64], settings: Completions
) -> tuple[NDArray[np.int64], Array]:
    """The tokens that may be taken, the most probable first, of equals the lower id; and their probabilities."""
    # Relative to the largest, so that no temperature makes them overflow.
    scores = (logits - logits.max()).astype(np.float64) / settings.temperature - settings.frequency_penalty * counts
    ids = np.argsort(-scores, kind="stable")
    p = np.exp(scores[ids] - scores[ids[0]])
    p /= p.sum()
    kept = 1 + int((p.cumsum() <= settings.top_p).sum())
    return ids[:kept], p[:kept] / p[:kept].sum()
