"""Files of weights -> a GPT-2's tensors in float32, whatever form and precision they are stored in."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from replication.base.errors import UserError, one_line
from replication.engine.gpt2 import shapes
from replication.engine.gpt2_config import Config

HALVES = (torch.float16, torch.bfloat16)
"""Precisions whose values float32 represents exactly."""


def read_weights(files: Iterable[Path], config: Config) -> tuple[Config, dict[str, Tensor]]:
    """A GPT-2's tensors, as stored, under the names of `gpt2.shapes`.

    Args:
        files: One file, or shards, .safetensors or .bin.
        config: What config.json says.

    Returns:
        The tensors, and the settings that hold for them: where token embedding and unembedding are both stored and
        differ, they are not tied, whatever config.json says (transformers decides so too).

    Raises:
        UserError: A file is damaged, or tensors are missing.
    """
    files = list(files)
    stored: dict[str, Tensor] = {}
    for file in files:
        stored |= stored_tensors(file)
    embedding, unembedding = stored.get("wte.weight"), stored.get("lm_head.weight")
    if config.tie_word_embeddings and unembedding is not None:
        if embedding is None:
            stored["wte.weight"] = unembedding
        elif not torch.equal(embedding, unembedding):
            config = config.model_copy(update={"tie_word_embeddings": False})
    if absent := [name for name in shapes(config) if name not in stored]:
        raise UserError(f"{files[0]}: lacks the tensor {absent[0]}")
    return config, {name: stored[name] for name in shapes(config)}


def stored_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, mapped from it, so that processes share their memory; nothing in the file is executed.

    Files on the hub have names with and without the prefix `transformer.`; here they have none.

    Raises:
        UserError: The file is damaged, or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        stored = _safetensors(path)
    else:  # files of old versions of torch cannot be mapped
        stored = tensors_of_pickle(path, mapped=zipfile.is_zipfile(path))
    return {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged: {one_line(error)}") from None


def tensors_of_pickle(path: Path, mapped: bool = False) -> dict[str, Tensor]:
    """The dictionary of tensors in a file of torch.save.

    Raises:
        UserError: The file is damaged, or holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch's unpickler raises almost anything where bytes are damaged
        raise UserError(
            f"{path}: damaged, or holds something other than tensors, so it was not loaded ({one_line(error)})"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: does not hold a dictionary of tensors")
    return state


def half_precisions(tensors: Iterable[Tensor]) -> list[str]:
    """The half precisions among tensors, by name."""
    return sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors if tensor.dtype in HALVES})


def widened(tensor: Tensor) -> Tensor:
    """A tensor in float32, exactly: a copy of a half-precision one, any other as it is."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """Raises UserError where a tensor is not a float of at most 32 bits, or holds NaN or infinity."""
    if tensor.dtype not in (torch.float32, *HALVES):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(
            f"{path}: {name} is stored as {kind}; only float32, float16 and bfloat16 are read: convert the file, or "
            "take the checkpoint that it was quantized from"
        )
    if not torch.isfinite(tensor).all():
        raise UserError(f"{path}: {name} holds NaN or infinity")
