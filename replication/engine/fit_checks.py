"""Whether model, tokenizer and lens are whole and fit each other."""

from pathlib import Path

from replication.base.errors import UserError
from replication.engine.gpt2 import shapes
from replication.engine.gpt2_config import Config, read_config, read_object
from replication.engine.lens_file import check_tensor, read_lens
from replication.engine.loaded import stored_tensors
from replication.engine.tokenizer import BOS, Tokenizer
from replication.weights.model_files import Files


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
    config = read_config(files.folder)
    return [
        _check_weights(files.folder / "model.safetensors", config),
        _check_tokenizer(files.folder / "tokenizer.json", config),
        _check_lens_shape(files.lens_folder, config),
        _check_lens_base(files, base_name),
        _check_lens_revision(files.lens_folder, revision),
    ]


def _check_weights(path: Path, config: Config) -> str:
    expected = shapes(config)
    stored = stored_tensors(path)
    for name, shape in expected.items():
        if name not in stored:
            raise UserError(f"{path}: lacks the tensor {name}")
        if stored[name].shape != shape:
            stored_shape = tuple(stored[name].shape)
            raise UserError(f"{path}: {name} has shape {stored_shape}; config.json asks for {shape}")
        check_tensor(path, name, stored[name])
    return f"{len(expected)} weight tensors: names, shapes, float32 and finite values"


def _check_tokenizer(path: Path, config: Config) -> str:
    tokenizer = Tokenizer(path)
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
    return f"lens: {len(translators)} translators of {square[0]} x {square[1]}, float32 and finite, as the model needs"


def _check_lens_base(files: Files, base_name: str | None) -> str:
    lens_config = read_object(files.lens_folder / "config.json")
    named = lens_config.get("base_model_name_or_path")
    own = base_name or read_object(files.folder / "config.json").get("_name_or_path")
    if not named or not own:
        side = "lens" if not named else "model"
        return f"NOT checked: whether the lens was trained for this model (the {side}'s config.json names no model)"
    if _last_part(str(named)) != _last_part(str(own)):
        raise UserError(
            f"{files.lens_folder / 'config.json'}: this lens was trained for {named!r}, the model is {own!r}"
        )
    return f"lens: its config.json names the model {named}"


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
