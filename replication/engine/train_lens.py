"""Trains a tuned lens on a model folder with the tuned-lens library (Belrose et al. 2023, arXiv:2303.08112)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from tqdm import trange
from transformers import GPT2LMHeadModel
from tuned_lens.nn.lenses import Lens, LogitLens, TunedLens

from replication.engine.train_gpt2 import IGNORED, Batch, Training, batch


def train(folder: Path, lens_folder: Path, name: str, documents: Iterator[list[int]], training: Training) -> None:
    """Trains one translator per layer to predict the model's output, and saves them.

    Args:
        folder: The model's folder.
        lens_folder: Where config.json and params.pt go.
        name: The model's name, for config.json.
        documents: Endless token ids.
        training: How long, and how fast.
    """
    gpt2 = _frozen(folder)
    lens = TunedLens.from_model(gpt2)
    lens.config.base_model_name_or_path = name
    optimizer = torch.optim.Adam(lens.layer_translators.parameters(), lr=training.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, training.factor)
    for _ in (bar := trange(training.steps, desc="tuned lens", unit="step")):
        # The layers' losses are independent: their sum trains every translator on its own.
        loss = kl_by_layer(lens, *streams(gpt2, batch(islice(documents, training.documents)))).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        bar.set_postfix(mean_kl=f"{loss.item() / len(lens):.4f}")
    lens.save(lens_folder)


def held_out_kl(folder: Path, lens_folder: Path, documents: Iterable[list[int]]) -> dict[str, list[float]]:
    """Mean KL to the output in nats, by layer, of "tuned_lens" and "logit_lens" on documents not trained on.

    Args:
        folder: The model's folder.
        lens_folder: The lens' folder.
        documents: Token ids.
    """
    gpt2 = _frozen(folder)
    tuned = TunedLens.from_model_and_pretrained(gpt2, str(lens_folder), map_location="cpu", weights_only=True)
    lenses = {"tuned_lens": tuned, "logit_lens": LogitLens.from_model(gpt2)}
    held_out = streams(gpt2, batch(documents))
    with torch.no_grad():
        return {name: kl_by_layer(lens, *held_out).tolist() for name, lens in lenses.items()}


def _frozen(folder: Path) -> GPT2LMHeadModel:
    """The model on disk, which is not trained any more."""
    gpt2 = GPT2LMHeadModel.from_pretrained(folder)
    gpt2.train(False)
    gpt2.requires_grad_(False)
    return gpt2


def streams(gpt2: GPT2LMHeadModel, read: Batch) -> tuple[Tensor, Tensor]:
    """Residual stream and output of a batch's real tokens.

    Returns:
        (layers, tokens, d_model), what enters each block, and (tokens, vocabulary), log-probabilities.
    """
    with torch.no_grad():
        output = gpt2(read.tokens, output_hidden_states=True, use_cache=False)
    real = read.targets != IGNORED
    # The last of the hidden states has been through the final layer norm and has no translator.
    return torch.stack(output.hidden_states[:-1])[:, real], output.logits[real].log_softmax(-1)


def kl_by_layer(lens: Lens, residuals: Tensor, log_p: Tensor) -> Tensor:
    """Mean KL(output || lens), in nats, for each layer: (layers,).

    Args:
        lens: A tuned lens or a logit lens.
        residuals: (layers, tokens, d_model).
        log_p: Log-probabilities of the output, (tokens, vocabulary).
    """
    hidden = torch.stack([lens.transform_hidden(residuals[i], i) for i in range(len(residuals))])
    log_q = lens.unembed(hidden).log_softmax(-1)
    # One product instead of three passes over (layers, tokens, vocabulary). Token by token, so that what is
    # subtracted is of the size of the result: summed first, rounding makes small divergences negative.
    cross_entropy = -torch.einsum("tv,ltv->lt", log_p.exp(), log_q)
    entropy = -(log_p.exp() * log_p).sum(-1)
    return (cross_entropy - entropy).mean(-1)
