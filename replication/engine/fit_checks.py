"""Whether model, tokenizer and lens are whole and fit each other."""

import hashlib
import re
from pathlib import Path

import numpy as np
from torch import Tensor

from replication.base.errors import UserError
from replication.engine.gpt2 import GPT2, shapes
from replication.engine.gpt2_config import Config, ignored_settings, read_config, read_object
from replication.engine.lens_file import Translators, read_lens
from replication.engine.tokenizer import BOS, Tokenizer
from replication.engine.weight_files import check_tensor, half_precisions, read_weights
from replication.weights.model_files import Files

NOT_CHECKED = "NOT checked"


def check(files: Files, base_name: str | None, revision: str | None = None) -> list[str]:
    """Checks that model, tokenizer and lens are whole and fit each other.

    Args:
        files: The files, hashes already right.
        base_name: Last part of the model's repository name; None for a local folder, whose config.json may name it.
        revision: Commit of the model's repository; None for a local folder.

    Returns:
        What was checked, and what could not be, one sentence each.

    Raises:
        UserError: The first thing that does not fit.
    """
    gpt2, lines, notes = check_model(files)
    if files.lens_folder is None:
        return [*lines, "NO tuned lens, as configured: the logit lens alone reads every layer", *notes]
    return [
        *lines,
        _check_lens_shape(files.lens_folder, gpt2.config),
        _check_lens_origin(files.folder, files.lens_folder, base_name, gpt2.unembedding),
        _check_lens_revision(files.lens_folder, revision),
        *notes,
    ]


def check_model(files: Files) -> tuple[GPT2, list[str], list[str]]:
    """Checks that a model and its tokenizer are whole and fit each other.

    Returns:
        The model with its tensors as stored, what was checked, and what is to be noted, one sentence each.

    Raises:
        UserError: The first thing that does not fit.
    """
    said = read_config(files.folder)
    config, tensors = read_weights(files.weights, said)
    tokenizer = Tokenizer(files.tokenizer)
    lines = [
        _check_weights(files.weights[0], config, tensors),
        _check_tokenizer(files.tokenizer[0], config, tokenizer),
    ]
    notes = []
    if config.tie_word_embeddings != said.tie_word_embeddings:
        notes.append("NOTE: config.json ties token embedding and unembedding, but both are stored and differ: not tied")
    ignored = {"config.json": ignored_settings(files.folder), files.tokenizer[0].name: tokenizer.ignored}
    notes += [f"NOTE: ignored in {file}: {', '.join(names)}" for file, names in ignored.items() if names]
    return GPT2(config, tensors), lines, notes


def _check_weights(path: Path, config: Config, tensors: dict[str, Tensor]) -> str:
    expected = shapes(config)
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            stored_shape = tuple(tensors[name].shape)
            raise UserError(f"{path}: {name} has shape {stored_shape}; config.json asks for {shape}")
        check_tensor(path, name, tensors[name])
    halves = half_precisions(tensors.values())
    stored = f"stored as {', '.join(halves)}, computed with in float32" if halves else "float32"
    return f"{len(expected)} weight tensors: names, shapes and finite values, {stored}"


def _check_tokenizer(path: Path, config: Config, tokenizer: Tokenizer) -> str:
    if len(tokenizer) > config.vocab_size:
        raise UserError(f"{path}: has {len(tokenizer)} tokens, the model's vocabulary only {config.vocab_size}")
    if tokenizer.bos != config.bos_token_id:
        raise UserError(f"{path}: {BOS} is token {tokenizer.bos}, config.json's bos_token_id is {config.bos_token_id}")
    return f"tokenizer: {len(tokenizer)} tokens, {BOS} is {tokenizer.bos} as in the model's config.json"


def _check_lens_shape(folder: Path, config: Config) -> str:
    translators = read_lens(folder)
    if len(translators) != config.n_layer:
        raise UserError(f"{folder}: the lens has {len(translators)} translators, the model {config.n_layer} layers")
    square = (config.n_embd, config.n_embd)
    for i, (weight, bias) in enumerate(translators):
        if weight.shape != square or bias.shape != square[:1]:
            shape = tuple(weight.shape)
            raise UserError(f"{folder}: translator {i} has shape {shape}; the model's d_model asks for {square}")
    _check_lens_config(folder, translators)
    return f"lens: {len(translators)} translators of {square[0]} x {square[1]}, finite, as the model needs"


def _check_lens_config(folder: Path, translators: Translators) -> None:
    """Raises UserError where the lens' config.json contradicts its tensors: tuned-lens could not read it."""
    stored = {"d_model": translators[0][0].shape[0], "num_hidden_layers": len(translators)}
    says = read_object(folder / "config.json")
    for key, value in stored.items():
        if says.get(key, value) != value:
            raise UserError(f"{folder / 'config.json'}: {key} is {says[key]!r}; the tensors in params.pt have {value}")


def _check_lens_origin(folder: Path, lens_folder: Path, base_name: str | None, unembedding: Tensor) -> str:
    """Whether the lens was trained for this model: its hash of the unembedding decides, or else the names do."""
    path = lens_folder / "config.json"
    hashed = read_object(path).get("unembed_hash")
    if hashed == unembedding_hash(unembedding):
        return "lens: its unembed_hash is that of this model (corners of the unembedding, rounded to one decimal)"
    names = _check_lens_base(folder, lens_folder, base_name)
    if not hashed:
        return names
    if names.startswith(NOT_CHECKED):
        raise UserError(
            f"{path}: this lens was trained for another model: its unembed_hash is not that of these weights; to read "
            "them through it all the same, take unembed_hash out of a copy of that file"
        )
    return f"NOTE: {names}, but its unembed_hash is not that of these weights: they may be another version of the model"


def unembedding_hash(unembedding: Tensor) -> str:
    """tuned-lens' hash of an unembedding, (tokens, d_model): SHA-256 of how numpy prints it with one decimal.

    numpy leaves out the middle of what has more than 1000 elements, so the hash knows three rows and columns at each
    edge: it tells models apart, hardly a model from its fine-tuned copy.
    """
    with np.printoptions(threshold=1000, edgeitems=3, linewidth=75, suppress=False):  # whatever a notebook has set
        printed = np.array_str(unembedding.float().cpu().numpy(), precision=1)
    return hashlib.sha256(printed.encode()).hexdigest()


def _check_lens_base(folder: Path, lens_folder: Path, base_name: str | None) -> str:
    named = _repository_name(read_object(lens_folder / "config.json").get("base_model_name_or_path"))
    own = base_name or _repository_name(read_object(folder / "config.json").get("_name_or_path"))
    if not named or not own:
        side = "lens" if not named else "model"
        return f"{NOT_CHECKED}: whether the lens was trained for this model (the {side}'s config.json names no model)"
    if _last_part(named) != _last_part(own):
        raise UserError(f"{lens_folder / 'config.json'}: this lens was trained for {named!r}, the model is {own!r}")
    return f"lens: its config.json names the model {named}"


def _repository_name(text: object) -> str | None:
    """A name as the hub has them, `gpt2` or `owner/name`; None for a path, which says nothing about the model."""
    name = str(text or "")
    return (
        name
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name)
        and not _last_part(name).startswith("checkpoint-")
        else None
    )


def _check_lens_revision(folder: Path, revision: str | None) -> str:
    """The lens may be for another commit of the same model; only few lenses say which."""
    named = read_object(folder / "config.json").get("base_model_revision")
    if not named:
        return "NOT checked: for which revision of the model the lens was trained (its config.json does not say)"
    if revision is None:
        return f"NOT checked: the lens was trained for revision {named}, this model is a folder without one"
    if named != revision:
        return f"NOTE: the lens was trained for revision {named}, this model is revision {revision}"
    return f"lens: trained for this revision of the model, {named}"


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]
