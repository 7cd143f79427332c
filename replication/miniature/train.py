"""Trains the miniature again and checks it: tokenizer, GPT-2, tuned lens, card. Run by `make miniature`.

    python -m replication.miniature.train build/miniature --seed 0

Nothing is written unless the new miniature shows the post's four effects and its lens is useful; it takes
about 850 s of processor time. Another seed, processor or library version gives other weights.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from math import inf
from pathlib import Path
from random import Random

from replication.base.config import FAST
from replication.base.errors import UserError
from replication.engine import numerics, train_gpt2, train_lens
from replication.engine.fit_checks import unembedding_hash
from replication.engine.gpt2_config import Config
from replication.engine.lens_file import write_lens
from replication.engine.lens_recipe import Recipe
from replication.engine.loaded import load_model
from replication.engine.tokenizer import Tokenizer
from replication.engine.train_gpt2 import Training
from replication.miniature import card, grammar
from replication.miniature.restricted_bpe import gpt2_bpe, restricted_bpe, write_tokenizer
from replication.weights.obtain import without_lens

NAME = "miniature"
SHAPE = Config(n_layer=48, n_head=4, n_embd=64, n_positions=128)
INITIALIZER_RANGE = 0.1
"""GPT-2's 0.02 is meant for wide models: 0.1 * sqrt(64) is the gain that 0.02 * sqrt(1600) gives."""

THREADS = 1
MODEL_TRAINING = Training(steps=1000, documents=48, rate=2e-3, warm_up=60)
LENS_RECIPE = Recipe(
    batch=16, steps=300, optimizer="adam", rate=3e-3, schedule="cosine", warm_up=20, weight_decay=0, clip=inf
)
HELD_OUT = 256
"""Documents that the finished lens is judged on."""


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[list[int]]:
    """Endless documents of the grammar as token ids: `<|endoftext|>`, a sentence, `<|endoftext|>`."""
    chance = Random(seed)
    while True:
        sentence = [token for part in grammar.document(chance) for token in tokenizer.encode(part)]
        yield [tokenizer.bos, *sentence, tokenizer.bos]


def read(documents: Iterator[list[int]]) -> Iterator[list[int]]:
    """What the model reads of each document: not the last token, which it only predicts."""
    return (ids[:-1] for ids in documents)


def main() -> None:
    """Trains into a temporary folder, and moves the result into place only if it meets the thresholds."""
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
    model, lens = folder / "model", folder / "lens"
    model.mkdir()
    bpe = restricted_bpe([*grammar.POST_TEXTS, *grammar.fragments()], gpt2_bpe())
    write_tokenizer(model, bpe, SHAPE.n_positions)
    tokenizer = Tokenizer([model / "tokenizer.json"])
    config = SHAPE.model_copy(update={"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos})
    gpt2, loss = train_gpt2.train(config, INITIALIZER_RANGE, documents(tokenizer, seed), MODEL_TRAINING, seed)
    train_gpt2.save(gpt2, model, NAME)
    # From here on the model is the one on disk, read as any other.
    with tempfile.TemporaryDirectory() as scratch:
        on_disk = load_model(without_lens(model, Path(scratch) / "hashes.json"))[0]
    translators = train_lens.train(on_disk, read(documents(tokenizer, seed + 1)), LENS_RECIPE)
    write_lens(lens, translators, NAME, unembedding_hash(on_disk.unembedding))
    held_out = list(islice(read(documents(tokenizer, seed + 2)), HELD_OUT))
    kl = train_lens.held_out_kl(on_disk, translators, held_out)
    training = {
        "seed": seed,
        "steps": {"gpt2": MODEL_TRAINING.steps, "tuned_lens": LENS_RECIPE.steps},
        "documents_per_step": MODEL_TRAINING.documents,
        "final_loss_nats_per_token": loss,
        "threads": THREADS,
        "seconds": {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu},
    }
    card.write(folder, training, kl)


if __name__ == "__main__":
    main()
