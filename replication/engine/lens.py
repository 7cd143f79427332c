"""Residual stream -> what each layer predicts: tuned lens (Belrose et al. 2023, arXiv:2303.08112) and logit lens."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from replication.engine.gpt2 import GPT2
from replication.engine.lens_file import Translators
from replication.engine.numerics import MULTIPLE

ROWS = 256
"""Rows of one product with the unembedding: it streams the vocabulary's weights once for many rows, and
bounds memory (256 rows of 50,257 logits are 51 MB). Part of what is pinned."""

POSITIONS = 32
"""Positions read out together, so that the output's log-probabilities of a long prompt stay small."""


class Predictions(NamedTuple):
    """Statistics of every cell, each (runs, layers + 1, positions); the last row is the model's own output."""

    loss: Tensor
    """Cross-entropy of the target, -log p(target), in nats."""
    rank: Tensor
    """1 + the number of tokens with a strictly larger logit than the target; 1 is best."""
    rank_margin: Tensor
    """Distance from the target's logit to the nearest of another token, in nats: how little would change the rank."""
    entropy: Tensor
    """-sum p log p, in nats."""
    kl_to_output: Tensor
    """sum p_output (log p_output - log p), in nats, against the output row of the same run."""
    kl_to_first: Tensor
    """sum p_first (log p_first - log p), in nats, against the same cell of the first run."""
    top_ids: Tensor
    """(runs, layers + 1, positions, k): the most probable tokens, best first; of equals the lower id."""
    top_probabilities: Tensor
    """(runs, layers + 1, positions, k): their probabilities."""
    largest_logit: Tensor
    """The largest |logit|, to which rounding errors are proportional."""


def centred(residuals: Tensor) -> Tensor:
    """Residuals without their mean over d_model, as TransformerLens gives them with center_writing_weights."""
    return residuals - residuals.mean(-1, keepdim=True)


def log_probabilities(gpt2: GPT2, residuals: Tensor) -> Tensor:
    """Log-softmax of what final layer norm and unembedding read, (..., d_model) -> (..., vocabulary), in nats."""
    rows = _padded(gpt2.logits, residuals.reshape(-1, residuals.shape[-1]))
    return rows.log_softmax(-1).reshape(*residuals.shape[:-1], gpt2.config.vocab_size)


def _padded(product: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """A product over a multiple of `MULTIPLE` rows, so that equal rows give equal bits wherever they stand."""
    return product(pad(rows, (0, 0, 0, -len(rows) % MULTIPLE)))[: len(rows)]


def lens_predictions(
    gpt2: GPT2, translators: Translators | None, runs: Tensor, targets: Tensor, top_k: int
) -> Predictions:
    """What every layer predicts at every position, for several runs of one prompt.

    Equal residuals, such as those below an injection, are read once; log-probabilities are held for `ROWS` rows.

    Args:
        gpt2: The model whose final layer norm and unembedding read the residuals.
        translators: The tuned lens; None for the logit lens.
        runs: Residual streams, (runs, layers + 1, positions, d_model): what enters every block and leaves the last.
        targets: (positions,) token ids.
        top_k: Number of most probable tokens to keep.
    """
    slices = [slice(start, start + POSITIONS) for start in range(0, len(targets), POSITIONS)]
    columns = [_from_the_top(gpt2, translators, runs[:, :, part], targets[part], top_k) for part in slices]
    return Predictions(*(torch.cat(parts, dim=2) for parts in zip(*columns, strict=True)))


def _from_the_top(
    gpt2: GPT2, translators: Translators | None, runs: Tensor, targets: Tensor, top_k: int
) -> Predictions:
    """`lens_predictions` of a few positions, layer by layer from the output down: KL needs the output's rows."""
    output: tuple[Tensor, Tensor] | None = None
    layers = []
    for logits in _logits_of_layers(gpt2, translators, runs):
        log_p = logits.log_softmax(-1)
        p = log_p.exp()
        output = output or (p, log_p)
        layers.append(_statistics(logits, (p, log_p), output, targets, top_k))
    return Predictions(*(torch.stack(parts[::-1], dim=1) for parts in zip(*layers, strict=True)))


def _logits_of_layers(gpt2: GPT2, translators: Translators | None, runs: Tensor) -> Iterator[Tensor]:
    """Logits of every layer, (runs, positions, vocabulary), from the output down; several layers share a product."""
    new = (runs != runs[:1]).any(-1)
    new[0] = True
    waiting: list[tuple[Tensor, Tensor]] = []
    for layer in reversed(range(runs.shape[1])):
        rows = runs[:, layer][new[:, layer]]
        # Which of `rows` each cell has: a residual equal to the first run's has that run's row.
        place = new[:, layer].flatten().cumsum(0).sub(1).unflatten(0, new[:, layer].shape)
        waiting.append((translated(rows, translators, layer), torch.where(new[:, layer], place, place[:1])))
        if layer == 0 or sum(len(rows) for rows, _ in waiting) + new[:, layer - 1].sum() > ROWS:
            yield from _logits_of_rows(gpt2, waiting)
            waiting = []


def _logits_of_rows(gpt2: GPT2, layers: list[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    """Logits of a few layers by one product; a layer is its distinct rows and, for every cell, the index of its row."""
    logits = _padded(gpt2.logits, torch.cat([rows for rows, _ in layers]))
    for part, (_, place) in zip(logits.split([len(rows) for rows, _ in layers]), layers, strict=True):
        yield part[place]


def translated(rows: Tensor, translators: Translators | None, layer: int) -> Tensor:
    """Translates residuals h entering block `layer`, (rows, d_model), to h + W h + b.

    The output, one layer above the last translator, and everything in the logit lens (None) stays as it is.
    """
    if translators is None or layer == len(translators):
        return rows
    weight, bias = translators[layer]
    return rows + _padded(lambda hidden: linear(hidden, weight, bias), rows)


def _statistics(
    logits: Tensor, row: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor], targets: Tensor, top_k: int
) -> Predictions:
    """Statistics of one layer's `logits`, (runs, positions, vocabulary), its p and log p, and the output's."""
    p, log_p = row
    index = targets.expand(logits.shape[:-1])[..., None]
    of_target = logits.gather(-1, index)
    top_ids = _top_ids(logits, top_k)
    return Predictions(
        loss=-log_p.gather(-1, index)[..., 0],
        # Counted in float32, which is exact up to 16 million tokens and several times faster than in int64.
        rank=1 + (logits > of_target).sum(-1, dtype=torch.float32).long(),
        rank_margin=(logits - of_target).abs_().scatter_(-1, index, torch.inf).amin(-1),
        entropy=-(p * log_p).sum(-1),
        kl_to_output=(output[1] - log_p).mul_(output[0]).sum(-1),
        kl_to_first=(log_p[:1] - log_p).mul_(p[:1]).sum(-1),
        top_ids=top_ids,
        top_probabilities=p.gather(-1, top_ids),
        largest_logit=torch.linalg.vector_norm(logits, torch.inf, dim=-1),
    )


def _top_ids(logits: Tensor, k: int) -> Tensor:
    """Ids of the k largest logits, (..., k), best first, of equal logits the lower id first."""
    values, ids = logits.topk(k + 1, dim=-1)
    # topk leaves open which of several equals in the last place it takes; those rare rows are sorted whole.
    open_end = values[..., k] == values[..., k - 1]
    ids, order = ids[..., :k].sort(dim=-1)
    order = values.gather(-1, order).argsort(dim=-1, descending=True, stable=True)
    top = ids.gather(-1, order)
    if open_end.any():
        top[open_end] = logits[open_end].argsort(dim=-1, descending=True, stable=True)[..., :k]
    return top
