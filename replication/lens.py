"""Residual stream -> what each layer predicts: tuned lens (Belrose et al. 2023, arXiv:2303.08112) and logit lens."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from replication.models import GPT2, Translators

ROWS = 256
"""Rows of one product with the unembedding: it streams the vocabulary's weights once for many rows, and
bounds memory (256 rows of 50,257 logits are 51 MB). Part of what is pinned: it decides the last bits."""

POSITIONS = 32
"""Positions read out together, so that the output's log-probabilities of a long prompt stay small."""


class Predictions(NamedTuple):
    """Statistics of every cell, each (runs, layers + 1, positions); the last row is the model's own output."""

    loss: Tensor
    """Cross-entropy of the target, -log p(target), in nats."""
    rank: Tensor
    """1 + the number of tokens with a strictly larger logit than the target; 1 is best."""
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


def centred(residuals: Tensor) -> Tensor:
    """Residuals without their mean over d_model, as TransformerLens' center_writing_weights hands them out."""
    return residuals - residuals.mean(-1, keepdim=True)


def log_probabilities(gpt2: GPT2, residuals: Tensor) -> Tensor:
    """Log-softmax of what final layer norm and unembedding read, (..., d_model) -> (..., vocabulary), in nats."""
    log_p: Tensor = gpt2.lm_head(gpt2.transformer.ln_f(residuals)).log_softmax(-1)
    return log_p


def translated(residuals: Tensor, translators: Translators | None) -> Tensor:
    """H + W_i h + b_i for the residual h entering block i; the last row, the output, stays as it is.

    Args:
        residuals: (layers + 1, positions, d_model).
        translators: The tuned lens' affine translators; None leaves every row as it is (the logit lens).

    Returns:
        (layers + 1, positions, d_model).
    """
    if translators is None:
        return residuals
    rows = [
        h + torch.nn.functional.linear(h, weight, bias)
        for h, (weight, bias) in zip(residuals[:-1], translators, strict=True)
    ]
    return torch.stack([*rows, residuals[-1]])


def lens_predictions(
    gpt2: GPT2, translators: Translators | None, runs: Sequence[Tensor], targets: Tensor, top_k: int
) -> Predictions:
    """What every layer predicts at every position, for several runs of one prompt.

    Each run goes through products of the same shapes, so that equal residuals give equal bits. Log-probabilities
    over the vocabulary are held for `ROWS` rows at a time.

    Args:
        gpt2: The model whose final layer norm and unembedding read the residuals.
        translators: The tuned lens, or None for the logit lens.
        runs: Residual streams, each (layers + 1, positions, d_model): what enters every block and leaves the last.
        targets: (positions,) token ids.
        top_k: Number of most probable tokens to keep.
    """
    hidden = [translated(residuals, translators) for residuals in runs]
    slices = [slice(start, start + POSITIONS) for start in range(0, len(targets), POSITIONS)]
    columns = [_stacked(_chunks(gpt2, [h[:, part] for h in hidden], targets[part], top_k)) for part in slices]
    return Predictions(*(torch.cat(parts, dim=2) for parts in zip(*columns, strict=True)))


def _chunks(gpt2: GPT2, runs: list[Tensor], targets: Tensor, top_k: int) -> Iterator[Predictions]:
    """Predictions of a few layers at a time, from the output down, so that KL finds the output's rows first."""
    positions = len(targets)
    per_run = [run.flip(0).split(max(1, ROWS // positions)) for run in runs]
    outputs: list[Tensor] = []
    for chunk in zip(*per_run, strict=True):
        first: Tensor | None = None
        statistics = []
        for run, layers in enumerate(chunk):
            # (layers, positions, d_model) -> (layers, positions, vocabulary), as one product of all its rows
            logits = gpt2.lm_head(gpt2.transformer.ln_f(layers.flatten(0, 1))).unflatten(0, (-1, positions))
            log_p = logits.log_softmax(-1)
            first = log_p if first is None else first
            if run == len(outputs):
                outputs.append(log_p[0].clone())
            statistics.append(_statistics(logits, log_p, outputs[run], first, targets, top_k))
        yield Predictions(*(torch.stack(parts) for parts in zip(*statistics, strict=True)))


def _stacked(chunks: Iterator[Predictions]) -> Predictions:
    """Chunks of layers, top down, as one table of layers, bottom up."""
    return Predictions(*(torch.cat(parts, dim=1).flip(1) for parts in zip(*chunks, strict=True)))


def _statistics(
    logits: Tensor, log_p: Tensor, output: Tensor, first: Tensor, targets: Tensor, top_k: int
) -> Predictions:
    """Statistics of one run's `logits` and their log-softmax, both (layers, positions, vocabulary)."""
    index = targets.expand(logits.shape[:-1])[..., None]
    top_ids = _top_ids(logits, top_k)
    return Predictions(
        loss=-log_p.gather(-1, index)[..., 0],
        rank=1 + (logits > logits.gather(-1, index)).sum(-1),
        entropy=-(log_p.exp() * log_p).sum(-1),
        kl_to_output=(output.exp() * (output - log_p)).sum(-1),
        kl_to_first=(first.exp() * (first - log_p)).sum(-1),
        top_ids=top_ids,
        top_probabilities=log_p.gather(-1, top_ids).exp(),
    )


def _top_ids(logits: Tensor, k: int) -> Tensor:
    """Ids of the k largest logits, (..., k), best first, of equal logits the lower id first."""
    values, ids = logits.topk(k, dim=-1)
    ids, order = ids.sort(dim=-1)
    order = values.gather(-1, order).argsort(dim=-1, descending=True, stable=True)
    top = ids.gather(-1, order)
    # topk leaves open which of several equals in the last place it takes; those rare rows are sorted whole.
    open_end = (logits >= values[..., -1:]).sum(-1) > k
    if open_end.any():
        top[open_end] = logits[open_end].argsort(dim=-1, descending=True, stable=True)[..., :k]
    return top
