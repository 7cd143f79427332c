"""Trains the miniature again: tokenizer, GPT-2, tuned lens, thresholds, card. Run by `make miniature`.

    python -m replication.miniature.train build/miniature --seed 0

Nothing is written unless the new miniature shows the post's four effects and its lens is useful; it takes
about 850 s of processor time. Another seed, processor or library version gives other weights.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import trange
from transformers import GPT2Config, GPT2LMHeadModel
from tuned_lens.nn.lenses import Lens, LogitLens, TunedLens

from replication.base.config import FAST
from replication.base.errors import UserError
from replication.engine import numerics
from replication.engine.tokenizer import Tokenizer
from replication.miniature import card, grammar
from replication.miniature.restricted_bpe import gpt2_bpe, restricted_bpe, write_tokenizer

NAME = "miniature"
CONTEXT = 128
IGNORED = -100
"""Target that counts for nothing: the padding behind shorter documents of a batch."""

THREADS = 1
DOCUMENTS = 48
STEPS, RATE = 1000, 2e-3
LENS_STEPS, LENS_RATE = 300, 3e-3
LENS_DOCUMENTS = 16


class Batch(NamedTuple):
    """Documents side by side, each `<|endoftext|>`, a sentence, `<|endoftext|>`; the rest is padding."""

    tokens: Tensor
    """(documents, positions): what the model reads."""
    targets: Tensor
    """(documents, positions): the next token; IGNORED beyond the document's end."""


def batches(tokenizer: Tokenizer, chance: Random, documents: int) -> Iterator[Batch]:
    """Endless batches of the grammar's documents."""
    while True:
        rows = []
        for _ in range(documents):
            sentence = [token for part in grammar.document(chance) for token in tokenizer.encode(part)]
            rows.append([tokenizer.bos, *sentence, tokenizer.bos])
        longest = max(map(len, rows)) - 1
        tokens = torch.full((documents, longest), tokenizer.bos)
        targets = torch.full((documents, longest), IGNORED)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids) - 1] = torch.tensor(ids[:-1])
            targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
        yield Batch(tokens, targets)


def warm_up_and_decay(steps: int, warm_up: int) -> Callable[[int], float]:
    """Factor on the learning rate: a linear rise over `warm_up` steps, then half a cosine down to 2 %."""
    return lambda step: min(1, (step + 1) / warm_up) * (0.51 + 0.49 * math.cos(math.pi * step / steps))


def train_model(tokenizer: Tokenizer, vocabulary: int, seed: int) -> tuple[GPT2LMHeadModel, float]:
    """Trains a GPT-2 on the grammar.

    Args:
        tokenizer: Its tokenizer.
        vocabulary: Number of tokens.
        seed: Seed of the first weights and of the sentences.

    Returns:
        The model, and its mean loss over the last 50 steps, in nats per token.
    """
    torch.manual_seed(seed)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=CONTEXT,
            n_embd=64,
            n_layer=48,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            # GPT-2's 0.02 is meant for wide models: 0.1 * sqrt(64) is the gain that 0.02 * sqrt(1600) gives.
            initializer_range=0.1,
            bos_token_id=tokenizer.bos,
            eos_token_id=tokenizer.bos,
            # The same function as GPT-2's "gelu_new", computed faster.
            activation_function="gelu_pytorch_tanh",
        )
    )
    # Faster than blocked attention at this size.
    gpt2.set_attn_implementation("eager")
    losses = []
    parameters = list(gpt2.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(STEPS, 60))
    source = batches(tokenizer, Random(seed), DOCUMENTS)
    for _ in (bar := trange(STEPS, desc="GPT-2", unit="step")):
        batch = next(source)
        logits = gpt2(batch.tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{loss.item():.3f}")
    gpt2.config.activation_function = "gelu_new"
    return gpt2, sum(losses[-50:]) / 50


def save_model(gpt2: GPT2LMHeadModel, folder: Path) -> None:
    """Writes weights and configuration in the hub's format; the configuration names the model."""
    gpt2.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({"_name_or_path": NAME, **json.loads(path.read_text())}, indent=2) + "\n")


def streams(gpt2: GPT2LMHeadModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Residual stream and output of a batch's real tokens.

    Returns:
        (layers, tokens, d_model), what enters each block, and (tokens, vocabulary), log-probabilities.
    """
    with torch.no_grad():
        output = gpt2(batch.tokens, output_hidden_states=True, use_cache=False)
    real = batch.targets != IGNORED
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


def train_lens(gpt2: GPT2LMHeadModel, tokenizer: Tokenizer, seed: int) -> TunedLens:
    """Trains a translator per layer to predict the model's output (Belrose et al. 2023, arXiv:2303.08112)."""
    lens = TunedLens.from_model(gpt2)
    lens.config.base_model_name_or_path = NAME
    optimizer = torch.optim.Adam(lens.layer_translators.parameters(), lr=LENS_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(LENS_STEPS, 20))
    source = batches(tokenizer, Random(seed), LENS_DOCUMENTS)
    for _ in (bar := trange(LENS_STEPS, desc="tuned lens", unit="step")):
        # The layers' losses are independent: their sum trains every translator on its own.
        loss = kl_by_layer(lens, *streams(gpt2, next(source))).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        bar.set_postfix(mean_kl=f"{loss.item() / len(lens):.4f}")
    return lens


def main() -> None:
    """Trains into a temporary folder; moves it into place when it is whole and passes."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument(
        "output",
        type=Path,
        nargs="?",
        default=Path("build/miniature"),
        help="folder for model/, lens/, card.json and README.md (default: build/miniature)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and sentences (default: 0)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".miniature.", dir=options.output) as name:
        try:
            train(Path(name), options.seed)
        except UserError as error:
            sys.exit(f"{error}")
        for part in Path(name).iterdir():
            target = options.output / part.name
            if target.is_dir():
                shutil.rmtree(target)
            part.replace(target)


def train(folder: Path, seed: int) -> None:
    """The whole recipe; raises UserError where the result does not meet the thresholds."""
    numerics.prepare(FAST, THREADS)
    wall, cpu = time.monotonic(), time.process_time()
    (folder / "model").mkdir()
    bpe = restricted_bpe([*grammar.POST_TEXTS, *grammar.fragments()], gpt2_bpe())
    write_tokenizer(folder / "model", bpe, CONTEXT)
    tokenizer = Tokenizer(folder / "model" / "tokenizer.json")
    gpt2, loss = train_model(tokenizer, len(bpe.vocabulary), seed)
    save_model(gpt2, folder / "model")
    # From here on the model is the one on disk, read as any other.
    gpt2 = GPT2LMHeadModel.from_pretrained(folder / "model")
    gpt2.train(False)
    gpt2.requires_grad_(False)
    lens = train_lens(gpt2, tokenizer, seed + 1)
    lens.save(folder / "lens")
    with torch.no_grad():
        held_out = streams(gpt2, next(batches(tokenizer, Random(seed + 2), 256)))
        kl = {
            "tuned_lens": kl_by_layer(lens, *held_out).tolist(),
            "logit_lens": kl_by_layer(LogitLens.from_model(gpt2), *held_out).tolist(),
        }
    training = {
        "seed": seed,
        "steps": {"gpt2": STEPS, "tuned_lens": LENS_STEPS},
        "documents_per_step": DOCUMENTS,
        "final_loss_nats_per_token": loss,
        "threads": THREADS,
        "seconds": {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu},
    }
    card.write(folder, training, kl)


if __name__ == "__main__":
    main()
