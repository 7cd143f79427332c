"""The package from Python: a model from two folders, steered as the workflow would, without Snakemake.

    import replication

    model = replication.load("miniature")
    result = replication.steer(
        model, "I hate you because you're a wonderful person", added="Love", subtracted="Hate", layer=6, coefficient=5
    )
    result.losses, result.loss(" wonderful", layer=12), result.figure("lens")

The steps are the workflow's own functions, so the tables are the workflow's, bit for bit.
"""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import pandas as pd

from replication.base.config import NO_LENS, PORTABLE, checked_model
from replication.base.errors import UserError
from replication.base.paths import HASHES, REPOSITORY, RESOURCES, VERIFIED, in_checkout, path
from replication.base.sampling import Completions
from replication.base.strict_yaml import read_yaml
from replication.completion import Completion
from replication.engine import numerics
from replication.engine.cuda import full_in_one_sentence
from replication.keywords import Added, arguments_named, experiment_of
from replication.result import Result, plain

if TYPE_CHECKING:
    from replication.engine.loaded import Loaded
    from replication.weights.model_files import Files

__all__ = ["Completion", "Model", "Result", "UserError", "complete", "load", "steer", "sweep"]

_DEFAULT = Completions()


@dataclass(frozen=True, repr=False)
class Model:
    """A GPT-2 with its tuned lens, or without one, checked and loaded."""

    loaded: "Loaded"
    """Model, tokenizer and translators (None without a lens), as the workflow's steps use them."""
    checks: list[str]
    """What was checked of the files, and what could not be, one sentence each."""

    def __repr__(self) -> str:
        """Name, shape and device."""
        config = self.loaded.gpt2.config
        shape = f"{config.n_layer} layers of width {config.n_embd}, {config.vocab_size} tokens"
        return f"<{self.loaded.files.name}: {shape}, on {self.loaded.gpt2.device}>"


@full_in_one_sentence()
def load(
    folder: str | Path,
    lens_folder: str | Path | None = None,
    *,
    name: str | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Model:
    """A GPT-2 and its tuned lens, hashed, and checked that they fit each other.

    Settles the arithmetic of this process first: one thread, no TF32, and, unless torch has been imported already, the
    portable settings. Where torch has, they cannot be had any more, and results say "fast".

    Args:
        folder: A GPT-2 as transformers saves it (docs/models.md). Or, with no `lens_folder`, the name of a model of
            config.yaml: "miniature", or one that the workflow has fetched.
        lens_folder: config.json and params.pt, as tuned-lens saves them; "none" for the logit lens alone.
        name: What figures and tables call the model; the folder's name if left out.
        device: "cpu", or "cuda", where numbers are never portable.

    Raises:
        UserError: A file is missing or damaged, model and lens do not fit, or `device` cannot be used.
    """
    numerics.prepare(PORTABLE, threads=1)
    with warnings.catch_warnings():
        # huggingface_hub's progress bars would like ipywidgets; we show none.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from replication.engine import fit_checks, loaded

        files = _of_configured(str(folder), name) if lens_folder is None else _of_folders(folder, lens_folder, name)
    checks = fit_checks.check(files, None)
    return Model(loaded.load(files, device), checks)


def _of_folders(folder: str | Path, lens_folder: str | Path, name: str | None) -> "Files":
    """The hashed files of two folders, or of one and no lens."""
    here = {"folder": str(Path(folder).resolve())}
    here |= {"lens": NO_LENS} if lens_folder == NO_LENS else {"lens_folder": str(Path(lens_folder).resolve())}
    return _of_entry(name or Path(here["folder"]).name, here)


def _of_entry(name: str, entry: dict[str, Any]) -> "Files":
    """The hashed files of what could stand under a name in config.yaml, all on this machine."""
    from replication.weights.obtain import obtain

    with _hash_memory() as memory:
        return obtain(name, checked_model(name, entry), path(RESOURCES, name), memory)


def _of_configured(model: str, name: str | None) -> "Files":
    """The hashed files of a model of config.yaml: those of its folders, or those that the workflow has fetched."""
    from replication.weights.model_files import verified

    models = read_yaml(in_checkout("config.yaml"))["models"]
    if model not in models:
        known = ", ".join(models)
        raise UserError(f"{model!r} is no model of config.yaml ({known}); of a folder name the lens' too, or 'none'")
    if not any(isinstance(models[model].get(source), dict) for source in ("weights", "lens")):  # nothing of the hub
        return _of_entry(name or model, models[model])
    stamp = REPOSITORY / path(VERIFIED, model)
    if not stamp.exists():
        raise UserError(f"{model} has not been fetched: snakemake --cores 1 {path(VERIFIED, model)} does that")
    with _hash_memory() as memory:
        return replace(verified(stamp, memory), name=name or model)


@contextmanager
def _hash_memory() -> Iterator[Path]:
    """Where hashes are kept: in a checkout; an installed package is not written to, so there for one call only."""
    with tempfile.TemporaryDirectory() as scratch:
        yield (REPOSITORY if (REPOSITORY / "Snakefile").exists() else Path(scratch)) / HASHES


@overload
def steer(
    model: Model,
    prompt: str,
    *,
    additions: Sequence[Added] = (),
    key_tokens: str | Sequence[str | int] = (),
    **addition: Unpack[Added],
) -> Result: ...


@overload
def steer(
    model: Model,
    prompt: list[str] | tuple[str, ...],
    *,
    additions: Sequence[Added] = (),
    key_tokens: str | Sequence[str | int] = (),
    **addition: Unpack[Added],
) -> list[Result]: ...


@full_in_one_sentence()
def steer(
    model: Model,
    prompt: str | list[str] | tuple[str, ...],
    *,
    additions: Sequence[Added] = (),
    key_tokens: str | Sequence[str | int] = (),
    **addition: Unpack[Added],
) -> Result | list[Result]:
    """Reads a prompt through the tuned lens, without and with coefficient * (added - subtracted).

    Args:
        model: What `load` returned.
        prompt: Text on which the effect is read, or several; none may be shorter than the vector.
        additions: Several vectors, each a mapping of the keywords of `Added`, instead of these keywords themselves.
        key_tokens: Tokens of the prompt, leading space included, or their places, that figures single out.
        **addition: One vector: `layer`, `coefficient`, `added`, `subtracted`, and the others of `Added`.

    Returns:
        A result, or for several prompts a list of one each.

    Raises:
        UserError: One sentence: which argument, its value, and what would be right.
    """
    from replication.engine.measure import measure

    loaded = _loaded(model)

    def one(text: str) -> Result:
        with arguments_named():
            return Result(measure(loaded, experiment_of(text, additions, addition, key_tokens)))

    return [one(text) for text in prompt] if isinstance(prompt, list | tuple) else one(prompt)


@full_in_one_sentence()
def sweep(
    model: Model,
    prompt: str,
    *,
    layers: Sequence[int],
    coefficients: Sequence[float],
    key_tokens: str | Sequence[str | int] = (),
    **addition: Unpack[Added],
) -> pd.DataFrame:
    """Loss at the model's output with the vector read at and added to several layers, with several coefficients.

    The unsteered model runs once for many cells.

    Args:
        model: What `load` returned.
        prompt: As for `steer`, and so are `key_tokens` and the rest of the vector.
        layers: Blocks at whose input the vector is read and added.
        coefficients: Factors on the vector.
        key_tokens: Tokens of the prompt that the column `key` marks.
        **addition: `added`, `subtracted`, and the others of `Added`.

    Returns:
        A row per layer, coefficient and position: the columns of sweep.csv (docs/results.md), losses in nats.

    Raises:
        UserError: One sentence: which argument, its value, and what would be right.
    """
    from replication.engine.controls import sweep as cells

    loaded = _loaded(model)
    if not len(layers) or not len(coefficients):
        raise UserError("layers, coefficients: at least one of each is needed")
    with arguments_named():
        # Each is checked as `steer` would; coefficients are multiples of 1.
        for layer, coefficient in zip_longest(layers, coefficients, fillvalue=0):
            experiment_of(prompt, (), addition | {"layer": layer, "coefficient": coefficient}, key_tokens)
        experiment = experiment_of(prompt, (), addition | {"layer": max(layers), "coefficient": 1}, key_tokens)
        return cells(loaded, experiment, list(map(float, coefficients)), list(map(int, layers)))


@full_in_one_sentence()
def complete(
    model: Model,
    prompt: str,
    *,
    number: int = _DEFAULT.number,
    tokens: int = _DEFAULT.tokens,
    temperature: float = _DEFAULT.temperature,
    top_p: float = _DEFAULT.top_p,
    frequency_penalty: float = _DEFAULT.frequency_penalty,
    seed: int = _DEFAULT.seed,
    additions: Sequence[Added] = (),
    **addition: Unpack[Added],
) -> Completion:
    """Lets the unsteered and the steered model complete a prompt, and reads each token's loss under both.

    Args:
        model: What `load` returned.
        prompt: Text that both go on with; no shorter than the vector, which is added once, while it is read.
        number: Number of texts of each model; only one at a temperature of 0, which takes the most probable token.
        tokens: Most tokens of a text.
        temperature: Divisor of the logits.
        top_p: Tokens are drawn from the fewest most probable ones whose probabilities sum to more than this.
        frequency_penalty: Subtracted from a token's logit for each time that it occurs in the prompt or the text.
        seed: Seed of the draws; a text depends on it and on its number, not on how many there are.
        additions: As for `steer`, and so is `addition`.
        **addition: `layer`, `coefficient`, `added`, `subtracted`, and the others of `Added`.

    Raises:
        UserError: One sentence: which argument, its value, and what would be right.
    """
    from replication.engine.completed import complete as completed

    settings = {"number": number, "tokens": tokens, "temperature": temperature, "top_p": top_p}
    settings |= {"frequency_penalty": frequency_penalty, "seed": seed}
    settings = {name: plain(value) for name, value in settings.items()}
    with arguments_named():
        return Completion(completed(_loaded(model), experiment_of(prompt, additions, addition, completions=settings)))


def _loaded(model: Model) -> "Loaded":
    if not isinstance(model, Model):
        raise UserError(f"model: should be what replication.load returns, found {model!r}")
    return model.loaded
