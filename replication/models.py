"""A folder of files -> model, tokenizer and lens, checked and ready; and the checks that they fit each other."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import tokenizers
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from replication.errors import UserError
from replication.verified import Files

GPT2 = GPT2LMHeadModel
Translators = list[tuple[Tensor, Tensor]]
"""A tuned lens: per layer the weight (d_model, d_model) and bias (d_model,) of h -> h + W h + b."""

BOS = "<|endoftext|>"

LARGEST = {"n_layer": 1000, "n_head": 10_000, "n_embd": 100_000, "n_positions": 1_000_000, "vocab_size": 10_000_000}
"""Sizes in a config.json beyond which something is damaged; even planning 10^9 layers would take for ever."""


class Tokenizer:
    """GPT-2's byte-level BPE from a tokenizer.json.

    A literal `<|endoftext|>` in a text is that special token, as in transformers and TransformerLens.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file; raises UserError where it is no tokenizer with `<|endoftext|>`."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise UserError(f"{path}: cannot be read as a tokenizer: {_one_line(error)}") from None
        bos = self._tokenizer.token_to_id(BOS)
        if bos is None:
            raise UserError(f"{path}: has no token {BOS}")
        self.bos: int = bos
        self._bytes = {symbol: byte for byte, symbol in _byte_symbols().items()}
        # Tables ask for the same few hundred tokens tens of thousands of times.
        self._texts: dict[int, str] = {}

    def __len__(self) -> int:
        """Number of tokens."""
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, nothing added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def with_bos(self, text: str) -> list[int]:
        """Token ids of `text` with `<|endoftext|>` put in front."""
        return [self.bos, *self.encode(text)]

    def text(self, token_id: int) -> str:
        """One token as text; bytes that are no UTF-8 as escapes."""
        if token_id not in self._texts:
            self._texts[token_id] = self._text(token_id)
        return self._texts[token_id]

    def _text(self, token_id: int) -> str:
        symbols = self._tokenizer.id_to_token(token_id)
        if symbols is None:
            # Some models pad their vocabulary beyond the tokenizer's.
            return f"<unused {token_id}>"
        if any(symbol not in self._bytes for symbol in symbols):
            return str(symbols)
        return token_text(bytes(self._bytes[symbol] for symbol in symbols))


def token_text(data: bytes) -> str:
    """A token's bytes as text; bytes that are no UTF-8, and NUL, which no CSV reader keeps, as escapes."""
    return data.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")


def _byte_symbols() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where printable, else the next from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


@dataclass(frozen=True)
class Loaded:
    """A model ready to measure with."""

    files: Files
    gpt2: GPT2
    tokenizer: Tokenizer
    translators: Translators


def load(files: Files, device: str = "cpu") -> Loaded:
    """Model, tokenizer and lens from verified files, in float32 and eval mode; on the CPU weights stay memory-mapped.

    Raises:
        UserError: A file is damaged, or there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: 'cuda' was asked for, but torch finds no GPU here; set it to 'cpu'")
    tokenizer = Tokenizer(files.folder / "tokenizer.json")
    # The progress bar of loading is noise in a job's log.
    transformers_logging.disable_progress_bar()
    loaded: Any = GPT2LMHeadModel.from_pretrained(
        files.folder, dtype=torch.float32, local_files_only=True, attn_implementation="sdpa", output_loading_info=True
    )
    gpt2, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"{files.folder / 'model.safetensors'}: lacks the tensor {missing[0]}")
    gpt2.eval().requires_grad_(False).to(device)
    lens = read_lens(files.lens_folder)
    return Loaded(files, gpt2, tokenizer, [(weight.to(device), bias.to(device)) for weight, bias in lens])


def read_config(folder: Path) -> GPT2Config:
    """The model's config.json; raises UserError where it is damaged or no GPT-2's."""
    values = _read_json(folder / "config.json")
    if values.get("model_type") != "gpt2":
        raise UserError(
            f"{folder / 'config.json'}: model_type is {values.get('model_type')!r}; only 'gpt2' is supported"
        )
    for key, most in LARGEST.items():
        value = values.get(key, 1)
        if not isinstance(value, int) or not 1 <= value <= most:
            raise UserError(f"{folder / 'config.json'}: {key} is {value!r}; expected a whole number from 1 to {most}")
    try:
        return GPT2Config(**values)
    except Exception as error:  # transformers checks types and raises exceptions of its own
        raise UserError(f"{folder / 'config.json'}: {_one_line(error)}") from None


def read_lens(folder: Path) -> Translators:
    """The translators in a params.pt of the tuned-lens library; nothing in the file is executed.

    Raises:
        UserError: The file is damaged, holds anything but tensors, or is no lens of float32 translators.
    """
    path = folder / "params.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises almost anything where bytes are damaged
        raise UserError(
            f"{path}: damaged, or holds something else than tensors, and was not loaded ({_one_line(error)})"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no dictionary of tensors")
    layers = len(state) // 2
    wanted = {f"{i}.{part}" for i in range(layers) for part in ("weight", "bias")}
    if not layers or set(state) != wanted:
        odd = sorted(set(state) ^ wanted)[:1]
        raise UserError(f"{path}: expected tensors 0.weight, 0.bias, 1.weight, ...; {odd} is missing or unknown")
    for name, tensor in state.items():
        _check_tensor(path, name, tensor)
    return [(state[f"{i}.weight"], state[f"{i}.bias"]) for i in range(layers)]


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


def _check_weights(path: Path, config: GPT2Config) -> str:
    try:
        with torch.device("meta"):
            parameters = dict(GPT2LMHeadModel(config).named_parameters())
    except Exception as error:  # an unknown activation, a width that the heads do not divide, ...
        raise UserError(f"{path.with_name('config.json')}: no GPT-2 is made like this: {_one_line(error)}") from None
    wanted = {name.removeprefix("transformer."): parameter.shape for name, parameter in parameters.items()}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            # Files on the hub have names with and without the prefix.
            stored = {name.removeprefix("transformer."): name for name in file.keys()}  # noqa: SIM118
            for name, shape in wanted.items():
                if name not in stored:
                    raise UserError(f"{path}: lacks the tensor {name}")
                tensor = file.get_tensor(stored[name])
                if tensor.shape != shape:
                    raise UserError(
                        f"{path}: {name} has shape {tuple(tensor.shape)}; config.json asks for {tuple(shape)}"
                    )
                _check_tensor(path, name, tensor)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged: {_one_line(error)}") from None
    return f"{len(wanted)} weight tensors: names, shapes, float32 and finite values"


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    if tensor.dtype != torch.float32:
        raise UserError(f"{path}: {name} is {tensor.dtype}; only torch.float32 is supported, convert the file first")
    if not torch.isfinite(tensor).all():
        raise UserError(f"{path}: {name} holds NaN or infinity")


def _check_tokenizer(path: Path, config: GPT2Config) -> str:
    tokenizer = Tokenizer(path)
    if len(tokenizer) > config.vocab_size:
        raise UserError(f"{path}: has {len(tokenizer)} tokens, the model's vocabulary only {config.vocab_size}")
    if tokenizer.bos != config.bos_token_id:
        raise UserError(f"{path}: {BOS} is token {tokenizer.bos}, config.json's bos_token_id is {config.bos_token_id}")
    return f"tokenizer: {len(tokenizer)} tokens, {BOS} is {tokenizer.bos} as in the model's config.json"


def _check_lens_shape(folder: Path, config: GPT2Config) -> str:
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
    lens_config = _read_json(files.lens_folder / "config.json")
    named = lens_config.get("base_model_name_or_path")
    own = base_name or _read_json(files.folder / "config.json").get("_name_or_path")
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
    named = _read_json(folder / "config.json").get("base_model_revision")
    if not named:
        return "NOT checked: for which revision of the model the lens was trained (its config.json does not say)"
    if revision is None:
        return f"NOT checked: the lens was trained for revision {named}, this model is a folder without one"
    if named != revision:
        return f"NOTE: the lens was trained for revision {named}, this model is revision {revision}"
    return f"lens: trained for this revision of the model, {named}"


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def _one_line(error: Exception) -> str:
    """What a library's exception says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no JSON object")
    return values


def texts(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Tokens as text, one per id."""
    return [tokenizer.text(token_id) for token_id in ids]
