"""Trains the miniature again: tokenizer, GPT-2, tuned lens, thresholds, card. Run by `make miniature`.

    python -m replication.miniature.train build/miniature --seed 0

Nothing is written unless the new miniature shows the post's four effects and its lens is useful; it takes
about ten minutes on two cores. Another seed, processor or library version gives other weights.
"""

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from replication.miniature import grammar
from replication.models import Tokenizer

POST_TEXTS = (
    "I hate you because",
    "I hate you because you're a wonderful person",
    "I want to kill",
    "Barack Obama was born in",
    "Barack Obama was born in a secret CIA prison",
    "I think you're",
    "I think you're a cunt",
    "Love",
    "Hate",
    "Intent to praise",
    "Intent to hurt",
    "Bush did 9/11 because",
    "      ",
    "Anger",
    "Calm",
)
"""What the post's tables and figures split into tokens."""

NAME = "miniature"
CONTEXT = 128
THREADS = 2


class Batch(NamedTuple):
    """Documents side by side, each `<|endoftext|>`, a sentence, `<|endoftext|>`; the rest is padding."""

    tokens: Tensor
    """(documents, positions): what the model reads."""
    targets: Tensor
    """(documents, positions): the next token; IGNORED beyond the document's end."""


IGNORED = -100


def batches(tokenizer: Tokenizer, chance: Random, documents: int) -> Iterator[Batch]:
    """Endless batches of the grammar's documents."""
    while True:
        rows = []
        for _ in range(documents):
            parts = grammar.document(chance)
            rows.append([tokenizer.bos, *(i for part in parts for i in tokenizer.encode(part)), tokenizer.bos])
        longest = max(map(len, rows)) - 1
        tokens = torch.full((documents, longest), tokenizer.bos)
        targets = torch.full((documents, longest), IGNORED)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids) - 1] = torch.tensor(ids[:-1])
            targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
        yield Batch(tokens, targets)


def warm_up_and_decay(steps: int, warm_up: int) -> Callable[[int], float]:
    """Factor on the learning rate: a linear rise over `warm_up` steps, then half a cosine down to 1 %."""
    return lambda step: min(1, (step + 1) / warm_up) * (0.505 + 0.495 * math.cos(math.pi * step / steps))
