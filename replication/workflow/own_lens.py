"""The command `train-lens`: a tuned lens for a GPT-2 that has none."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import pandas as pd
import typer

from replication.base import tables
from replication.base.config import PORTABLE
from replication.base.errors import UserError
from replication.base.hashes import sha256
from replication.base.paths import FORMATS, HASHES
from replication.base.progress import say
from replication.engine import numerics as arithmetic
from replication.engine.cuda import full_in_one_sentence
from replication.engine.lens_recipe import LONGEST, RATES, TOKENS, Optimizer, Recipe, Schedule
from replication.weights.forms import LENS
from replication.workflow.arguments import Device, Numerics, Threads

if TYPE_CHECKING:
    from torch import Tensor

    from replication.engine.gpt2 import GPT2
    from replication.engine.lens_file import Translators

CORES = os.cpu_count() or 1

UNFINISHED = ".unfinished.pt"
"""In the lens' folder: what has been learned so far."""


@full_in_one_sentence()
def train_lens(
    model_folder: Annotated[Path, typer.Argument(help="A GPT-2 as transformers saves it.")],
    text: Annotated[Path, typer.Option(help="UTF-8 text to train on; <|endoftext|> between documents.")],
    out: Annotated[Path, typer.Option(help="Folder for the lens, its table and its figure.")],
    steps: Annotated[int, typer.Option(min=1, help="Number of optimizer steps.")] = Recipe.steps,
    batch: Annotated[int, typer.Option(min=1, help="Tokens of one step.")] = TOKENS,
    optimizer: Annotated[Optimizer, typer.Option(help="sgd: with Nesterov's momentum of 0.9.")] = Recipe.optimizer,
    rate: Annotated[
        float | None, typer.Option(help="Largest learning rate.", show_default="1.0 for sgd, 0.001 for adam")
    ] = None,
    schedule: Annotated[Schedule, typer.Option(help="How the rate falls: to 0, or to 2 %.")] = Recipe.schedule,
    warm_up: Annotated[int, typer.Option(min=0, help="Steps in which the rate rises.")] = Recipe.warm_up,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="How strongly the lens is drawn towards the logit lens.")
    ] = Recipe.weight_decay,
    clip: Annotated[float, typer.Option(min=0, help="Largest norm of the gradient; inf: no limit.")] = Recipe.clip,
    held_out: Annotated[float, typer.Option(min=0, max=0.5, help="Part of the text, its end, to evaluate on.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the order in which the text is read.")] = 0,
    numerics: Numerics = PORTABLE,
    device: Device = "cpu",
    threads: Threads = CORES,
) -> None:
    """Trains a tuned lens for a GPT-2 of your own, on a text of your own.

    It is trained to predict the model's own output from every layer, by default as the tuned lens' authors trained
    theirs (Belrose et al. 2023): 250 steps of 262,144 tokens, weeks without a graphics card; docs/models.md says more.
    After a kill the same command resumes where it was.

    Example: python -m replication train-lens replication/miniature/model --text README.md --out my-lens --batch 512
    """
    arithmetic.prepare(numerics, threads)
    from replication.engine.checkpoint import Checkpoint
    from replication.engine.train_lens import held_out_kl, train
    from replication.engine.training_text import shuffled

    _refuse_a_lens(out)
    given = _read(model_folder, text, device, held_out)
    length = given.to_train_on.shape[1]
    if batch < length:
        raise UserError(f"--batch: must be at least one sequence, which is {length} tokens here, found {batch}")
    rate = RATES[optimizer] if rate is None else rate
    recipe = Recipe(batch // length, rate, steps, optimizer, schedule, warm_up, weight_decay, clip)
    settings = asdict(recipe) | {"batch": batch, "held_out": held_out, "seed": seed, "device": device}
    settings |= {"threads": threads, "numerics": arithmetic.mode(), **arithmetic.build(), **given.hashes}
    unfinished = Checkpoint(out / UNFINISHED, settings)
    _announce(recipe, given)
    translators = train(given.gpt2, shuffled(given.to_train_on, seed), recipe, unfinished)
    kl = held_out_kl(given.gpt2, translators, given.to_judge_by.tolist())
    _write(out, given, translators, kl)
    unfinished.path.unlink()


class _Given(NamedTuple):
    """What a lens is trained on."""

    name: str
    """Name of the model: that of its folder."""
    gpt2: "GPT2"
    to_train_on: "Tensor"
    """(sequences, tokens of each)."""
    to_judge_by: "Tensor"
    """The same, held out."""
    hashes: dict[str, str]
    """The first digits of the SHA-256 of every file that was read."""


def _refuse_a_lens(out: Path) -> None:
    """Raises UserError where a folder has a lens, or another model's files, and no training that goes on."""
    there = [name for name in LENS if (out / name).exists()]
    if there and not (out / UNFINISHED).exists():
        raise UserError(f"{out}: holds a {there[0]} already; name a new folder for the lens with --out")


def _read(folder: Path, text: Path, device: str, held_out: float) -> _Given:
    """The model, checked, and the text in sequences."""
    from replication.engine.fit_checks import check_model
    from replication.engine.loaded import load_model
    from replication.engine.training_text import split
    from replication.weights.obtain import without_lens

    files = without_lens(folder, Path(HASHES))
    _, checked, notes = check_model(files)
    for line in [*checked, *notes]:
        say(line)
    gpt2, tokenizer, _ = load_model(files, device)
    sequences = split(text, tokenizer, min(LONGEST, gpt2.config.n_positions), held_out)
    hashes = {**files.sha256, "text": sha256(text, Path(HASHES))}
    return _Given(files.name, gpt2, *sequences, {name: digest[:16] for name, digest in hashes.items()})


def _announce(recipe: Recipe, given: _Given) -> None:
    """Says what will be read, before the hours that it may take."""
    count, length = given.to_train_on.shape
    times = recipe.batch * recipe.steps / count
    say(
        f"{recipe.steps} steps of {recipe.batch} sequences of {length} tokens; the text has {count} to train on, each "
        f"read {times:.3g} times, and {len(given.to_judge_by)} held out"
    )


def _write(out: Path, given: _Given, translators: "Translators", kl: dict[str, list[float]]) -> None:
    """Writes table, figures and lens; the lens last, so that where there is one all of it is there."""
    from replication.engine.fit_checks import unembedding_hash
    from replication.engine.lens_file import write_lens
    from replication.figures.canvas import save
    from replication.figures.held_out import held_out

    table = pd.DataFrame({"layer": range(len(translators)), **kl})
    tables.write(table, tables.HELD_OUT, out / "held_out.csv")
    tokens = given.to_judge_by.numel()
    figure = held_out(table, given.name, tokens)
    for suffix in FORMATS:
        save(figure, out / f"held_out.{suffix}")
    write_lens(out, translators, given.name, unembedding_hash(given.gpt2.unembedding))
    tuned, logit = (table[name].mean() for name in kl)
    print(
        f"wrote {out}: KL to the output, mean over layers and {tokens} held-out tokens, {tuned:.4g} nats (logit lens "
        f"{logit:.4g}); by layer in held_out.csv and held_out.png"
    )
