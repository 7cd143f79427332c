"""Trains a small GPT-2 with transformers on documents of token ids, and saves it in the hub's format."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import trange
from transformers import GPT2Config, GPT2LMHeadModel

from replication.engine.gpt2_config import Config
from replication.engine.lens_recipe import warmed_up

IGNORED = -100
"""Target that the loss ignores: the padding after the shorter documents of a batch."""


class Training(NamedTuple):
    """How long and how fast something is trained."""

    steps: int
    documents: int
    """Documents of one step."""
    rate: float
    """The largest learning rate."""
    warm_up: int
    """Steps until it is reached."""

    def factor(self, step: int) -> float:
        """Factor on the learning rate: a linear rise over the warm-up, times half a cosine down to 2 %."""
        return warmed_up("cosine", step, self.steps, self.warm_up)


class Batch(NamedTuple):
    """Documents side by side; shorter ones are padded at their end."""

    tokens: Tensor
    """(documents, positions): what the model reads."""
    targets: Tensor
    """(documents, positions): the next token; IGNORED beyond the document's end."""


def batch(documents: Iterable[list[int]]) -> Batch:
    """A batch of all `documents`."""
    rows = [torch.tensor(ids) for ids in documents]
    # No token of a document attends to the padding after it.
    tokens = pad_sequence([ids[:-1] for ids in rows], batch_first=True)
    return Batch(tokens, pad_sequence([ids[1:] for ids in rows], batch_first=True, padding_value=IGNORED))


def train(
    config: Config, initializer_range: float, documents: Iterator[list[int]], training: Training, seed: int
) -> tuple[GPT2LMHeadModel, float]:
    """Trains a GPT-2 to predict every token of a document but the first.

    Args:
        config: Its shape, and the id of `<|endoftext|>`.
        initializer_range: Standard deviation of the first weights.
        documents: Endless token ids, each document with `<|endoftext|>` at both ends.
        training: How long, and how fast.
        seed: Seed of the first weights.

    Returns:
        The model, and its mean loss over the last 50 steps, in nats per token.
    """
    torch.manual_seed(seed)
    gpt2 = _new(config, initializer_range)
    parameters = list(gpt2.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=training.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, training.factor)
    losses = []
    for _ in (bar := trange(training.steps, desc="GPT-2", unit="step")):
        tokens, targets = batch(islice(documents, training.documents))
        logits = gpt2(tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{loss.item():.3f}")
    gpt2.config.activation_function = config.activation_function
    last = losses[-50:]
    return gpt2, sum(last) / len(last)


def _new(config: Config, initializer_range: float) -> GPT2LMHeadModel:
    """A GPT-2 with random weights, without dropout, as it is trained fastest."""
    values = config.model_dump() | {"eos_token_id": config.bos_token_id, "initializer_range": initializer_range}
    values |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    if config.activation_function == "gelu_new":
        # The same function, computed faster.
        values["activation_function"] = "gelu_pytorch_tanh"
    gpt2 = GPT2LMHeadModel(GPT2Config(**values))
    # Faster than blocked attention in a small model.
    gpt2.set_attn_implementation("eager")
    return gpt2


def save(gpt2: GPT2LMHeadModel, folder: Path, name: str) -> None:
    """Writes weights and configuration in the hub's format; the configuration names the model.

    The hub's files of GPT-2 also have `n_ctx`, which transformers no longer writes but other libraries read.
    """
    gpt2.save_pretrained(folder)
    path = folder / "config.json"
    values = {"_name_or_path": name, "n_ctx": gpt2.config.n_positions, **json.loads(path.read_text())}
    path.write_text(json.dumps(values, indent=2) + "\n")
