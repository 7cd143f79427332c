"""The package from Python: a model from two folders, steered as the workflow would, without Snakemake.

    import replication

    model = replication.load("miniature")
    result = replication.steer(
        model, "I hate you because you're a wonderful person", added="Love", subtracted="Hate", layer=6, coefficient=5
    )
    result.losses, result.loss(" wonderful", layer=12), result.figure("lens")

The steps are the workflow's own functions, so that its tables are these, bit for bit.
"""

import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import pandas as pd

from replication.base.config import PORTABLE, Experiment, checked_model
from replication.base.config_errors import validated
from replication.base.errors import UserError
from replication.base.paths import HASHES, REPOSITORY, RESOURCES, VERIFIED, in_checkout, local_folder, path
from replication.base.recorded import SIDES
from replication.base.strict_yaml import read_yaml
from replication.engine import numerics
from replication.engine.cuda import full_in_one_sentence
from replication.engine.vector_file import said_of
from replication.result import Result, plain

if TYPE_CHECKING:
    from replication.engine.loaded import Loaded
    from replication.weights.model_files import Files

__all__ = ["Model", "Result", "UserError", "load", "steer", "sweep"]


@dataclass(frozen=True, repr=False)
class Model:
    """A GPT-2 with its tuned lens, checked and loaded."""

    loaded: "Loaded"
    """Model, tokenizer and translators, as the workflow's steps use them."""
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
        lens_folder: config.json and params.pt, as tuned-lens saves them.
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
    """The hashed files of two folders."""
    from replication.weights.obtain import obtain

    folders = {"folder": str(Path(folder).resolve()), "lens_folder": str(Path(lens_folder).resolve())}
    name = name or Path(folders["folder"]).name
    with _hash_memory() as memory:
        return obtain(name, checked_model(name, folders), path(RESOURCES, name), memory)


def _of_configured(model: str, name: str | None) -> "Files":
    """The hashed files of a model of config.yaml: those of its folders, or those that the workflow has fetched."""
    from replication.weights.model_files import verified

    models = read_yaml(in_checkout("config.yaml"))["models"]
    if model not in models:
        raise UserError(f"{model!r} is no model of config.yaml ({', '.join(models)}); of a folder name the lens' too")
    if "folder" in models[model]:
        folder, lens_folder = (local_folder(models[model][key]) for key in ("folder", "lens_folder"))
        return _of_folders(folder, lens_folder, name or model)
    stamp = REPOSITORY / path(VERIFIED, model)
    if not stamp.exists():
        raise UserError(f"{model} has not been fetched: snakemake --cores 1 {path(VERIFIED, model)} does that")
    with _hash_memory() as memory:
        return replace(verified(stamp, memory), name=name or model)


@contextmanager
def _hash_memory() -> Iterator[Path]:
    """Where hashes are kept: in a checkout alone, since an installed package is not written to."""
    with tempfile.TemporaryDirectory() as scratch:
        yield (REPOSITORY if (REPOSITORY / "Snakefile").exists() else Path(scratch)) / HASHES


class Added(TypedDict, total=False):
    """An addition, as keywords or in a list; docs/configuration.md says what each is, and its default."""

    layer: int
    """Block whose input is read and changed; 0 is the first. May be left out where the file of `vector` names it."""
    coefficient: float
    """Factor on the vector; may be 0 or negative. As `layer`."""
    added: str
    """Text of the added side; left out, the vector is the subtracted side alone."""
    subtracted: str
    """Text of the subtracted side; left out, the vector is the added side alone. An empty text stands for padding."""
    padding: str
    """Text of the token that the shorter side is padded with: a space."""
    position: str | int
    """Where it starts: "front", "middle", "back", or a position."""
    vector: str | Path
    """File of a vector, instead of texts: `Result.save_vector` makes one."""
    positions: Sequence[int]
    """Where a vector of one row is added."""


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
        additions: Several vectors, each a mapping of the keywords of `Added`; then none of these stands by itself.
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
        with _arguments_named():
            return Result(measure(loaded, _experiment(text, additions, addition, key_tokens)))

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
        layers: Blocks.
        coefficients: Factors on the difference.
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
    with _arguments_named():
        # Each is checked as `steer` would; coefficients are multiples of 1.
        for layer, coefficient in zip_longest(layers, coefficients, fillvalue=0):
            _experiment(prompt, (), addition | {"layer": layer, "coefficient": coefficient}, key_tokens)
        experiment = _experiment(prompt, (), addition | {"layer": max(layers), "coefficient": 1}, key_tokens)
        return cells(loaded, experiment, list(map(float, coefficients)), list(map(int, layers)))


def _loaded(model: Model) -> "Loaded":
    if not isinstance(model, Model):
        raise UserError(f"model: should be what replication.load returns, found {model!r}")
    return model.loaded


def _experiment(
    prompt: str, additions: Sequence[Added], addition: Added, key_tokens: str | Sequence[str | int]
) -> Experiment:
    if additions and addition:
        raise UserError(f"{next(iter(addition))}: belongs into each of the additions")
    named = [key_tokens] if isinstance(key_tokens, str) else [plain(token) for token in key_tokens]
    every = [_settings(each) for each in additions or [addition]]
    settings = {
        "title": ", then ".join(_title(each) for each in every),
        "prompt": prompt,
        "steering": every,
        "key_tokens": named,
    }
    return validated(Experiment, settings, "", of_file=False)


def _settings(addition: Added) -> dict[str, Any]:
    """An addition as the configuration has it: numbers Python's own, and what a vector's file says of it."""
    settings = {key: plain(value) for key, value in addition.items()}
    if "positions" in settings:
        settings["positions"] = [plain(position) for position in settings["positions"]]
    if "vector" in settings:
        settings["vector"] = str(Path(settings["vector"]).resolve())
        settings = said_of(Path(settings["vector"])) | settings
    return settings


def _title(settings: dict[str, Any]) -> str:
    if "vector" in settings:
        return Path(settings["vector"]).name
    sides = [str(settings[side]).strip() or "nothing" for side in SIDES if settings.get(side) is not None]
    return ("" if "added" in settings else "- ") + " - ".join(sides)


@contextmanager
def _arguments_named() -> Iterator[None]:
    """What is wrong with a vector names the argument, where a configuration has it below `steering`."""
    try:
        yield
    except UserError as error:
        sentence = re.sub(r"(^|; )steering\.(\d)", r"\1additions.\2", str(error))
        raise UserError(re.sub(r"(^|; )steering\b[.:] ?", r"\1", sentence)) from None
