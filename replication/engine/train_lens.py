"""Trains a tuned lens for a GPT-2: one translator per layer, by the KL divergence from the model's own output.

    loss = sum over layers i of the mean over tokens of KL(p || q_i)
    p    = softmax(U norm_f(h_L))                   the model's output
    q_i  = softmax(U norm_f(h_i + W_i h_i + b_i))   what layer i predicts

as in Belrose et al. (2023, arXiv:2303.08112) and in the training loop of tuned-lens 0.2.0, with W_i and b_i zero at
first, so that the lens begins as the logit lens. That loop reads the layers in bfloat16; here all is float32.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm, trange

from replication.base.errors import UserError
from replication.engine.checkpoint import Checkpoint
from replication.engine.gpt2 import GPT2
from replication.engine.lens_file import Translators
from replication.engine.lens_recipe import MOMENTUM, Recipe

LOGITS = 1 << 26
"""Most logits held at once, 0.27 GB: sequences, and then layers, are read together in groups that stay below it."""

KEEP_EVERY = 60.0
"""Seconds between checkpoints, each written at the end of a step: a kill costs at most that and a step."""


def train(
    gpt2: GPT2, sequences: Iterator[list[int]], recipe: Recipe, unfinished: Checkpoint | None = None
) -> Translators:
    """Trains one translator per layer to predict the model's output.

    Args:
        gpt2: The model, which stays as it is.
        sequences: Endless token ids, the same at every call: a resumed training skips those it has read.
        recipe: How.
        unfinished: Checkpoint from which a killed training resumes, to the same bits as one that was not killed.

    Raises:
        UserError: The loss is no longer finite.
    """
    shape, device = (gpt2.config.n_embd, gpt2.config.n_embd), gpt2.device
    translators = [(torch.zeros(shape, device=device), torch.zeros(shape[:1], device=device)) for _ in _layers(gpt2)]
    parameters = [part.requires_grad_() for translator in translators for part in translator]
    optimizer = _optimizer(recipe, parameters)
    done = unfinished.restore(parameters, optimizer) if unfinished else 0
    sequences = islice(sequences, done * recipe.batch, None)
    kept = time.monotonic()
    for step in (bar := trange(done, recipe.steps, desc="tuned lens", unit="step", initial=done, total=recipe.steps)):
        optimizer.param_groups[0]["lr"] = recipe.torch_rate(step)
        optimizer.zero_grad()
        mean_kl = _add_gradient(gpt2, translators, list(islice(sequences, recipe.batch)))
        clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        bar.set_postfix(mean_kl=f"{mean_kl:.4f}")
        if unfinished and (time.monotonic() - kept >= KEEP_EVERY or step + 1 == recipe.steps):
            unfinished.keep(parameters, optimizer, step + 1)
            kept = time.monotonic()
    return [(weight.detach(), bias.detach()) for weight, bias in translators]


def held_out_kl(gpt2: GPT2, translators: Translators, sequences: Sequence[list[int]]) -> dict[str, list[float]]:
    """Mean KL to the output in nats, by layer, of "tuned_lens" and "logit_lens" on sequences not trained on.

    Args:
        gpt2: The model.
        translators: The lens.
        sequences: Token ids.
    """
    total = sum(map(len, sequences))
    lenses: dict[str, Translators | None] = {"tuned_lens": translators, "logit_lens": None}
    sums = {name: torch.zeros(gpt2.config.n_layer, dtype=torch.float64) for name in lenses}
    with torch.no_grad():
        for part in tqdm(_parts(gpt2, sequences), desc="held-out text", leave=False):
            residuals, log_p = streams(gpt2, part)
            for name, lens in lenses.items():
                by_layer = [kl_by_layer(gpt2, lens, residuals, log_p, some) for some in _together(gpt2, len(log_p))]
                sums[name] += torch.cat(by_layer).cpu() * (len(log_p) / total)
    return {name: by_layer.tolist() for name, by_layer in sums.items()}


def _optimizer(recipe: Recipe, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """The optimizer of the translators, whose rate is set before every step."""
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, momentum=MOMENTUM, nesterov=True, weight_decay=recipe.weight_decay)


def _add_gradient(gpt2: GPT2, translators: Translators, sequences: list[list[int]]) -> float:
    """Adds the loss' gradient to that of the translators; returns the KL, mean over tokens and layers, in nats.

    Layer by layer and a few sequences at a time, which bounds the memory: every translator's loss is its own.
    """
    total, mean_kl = sum(map(len, sequences)), 0.0
    for part in _parts(gpt2, sequences):
        residuals, log_p = streams(gpt2, part)
        for layers in _together(gpt2, len(log_p)):
            loss = kl_by_layer(gpt2, translators, residuals, log_p, layers).sum() * (len(log_p) / total)
            torch.autograd.backward(loss)
            mean_kl += loss.item() / gpt2.config.n_layer
    if not mean_kl < float("inf"):
        raise UserError(f"the lens' mean KL to the output has become {mean_kl}: train it with a smaller --rate")
    return mean_kl


def _layers(gpt2: GPT2) -> range:
    return range(gpt2.config.n_layer)


def _parts(gpt2: GPT2, sequences: Sequence[list[int]]) -> list[Sequence[list[int]]]:
    """Sequences in parts that are read together."""
    size = max(1, LOGITS // (max(map(len, sequences)) * gpt2.config.vocab_size))
    return [sequences[start : start + size] for start in range(0, len(sequences), size)]


def _together(gpt2: GPT2, tokens: int) -> list[range]:
    """Layers in groups that are read together."""
    layers, size = _layers(gpt2), max(1, LOGITS // (tokens * gpt2.config.vocab_size))
    return [layers[start : start + size] for start in range(0, len(layers), size)]


@torch.no_grad()
def streams(gpt2: GPT2, sequences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Residual stream and output of every token of some sequences, one after the other.

    Returns:
        (layers, tokens, d_model), what enters each block, and (tokens, vocabulary), log-probabilities.
    """
    rows = [torch.tensor(ids, device=gpt2.device) for ids in sequences]
    # Shorter ones are padded at their end, to which no real token attends.
    real = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True)
    hidden, entering = gpt2.embedding(pad_sequence(rows, batch_first=True)), []
    for layer in _layers(gpt2):
        entering.append(hidden[real])
        hidden = gpt2.block(layer, hidden)
    return torch.stack(entering), gpt2.logits(hidden[real]).log_softmax(-1)


def kl_by_layer(gpt2: GPT2, translators: Translators | None, residuals: Tensor, log_p: Tensor, layers: range) -> Tensor:
    """KL(output || lens) in nats, mean over tokens, for some layers: (layers,).

    Args:
        gpt2: Its final layer norm and unembedding are read.
        translators: The tuned lens; None for the logit lens.
        residuals: What enters every block, (all layers, tokens, d_model).
        log_p: Log-probabilities of the output, (tokens, vocabulary).
        layers: Which.
    """
    moved = [residuals[i] + linear(residuals[i], *translators[i]) if translators else residuals[i] for i in layers]
    log_q = gpt2.logits(torch.stack(moved)).log_softmax(-1)
    # One product instead of three passes over (layers, tokens, vocabulary). Token by token, so that what is
    # subtracted is of the size of the result: summed first, rounding makes small divergences negative.
    cross_entropy = -torch.einsum("tv,ltv->lt", log_p.exp(), log_q)
    entropy = -(log_p.exp() * log_p).sum(-1)
    return (cross_entropy - entropy).mean(-1)
