"""A folder of verified files -> model, tokenizer and lens, ready to measure with."""

from dataclasses import dataclass
from pathlib import Path

import safetensors
from torch import Tensor

from replication.base.errors import UserError, one_line
from replication.engine import cuda
from replication.engine.gpt2 import GPT2, shapes
from replication.engine.gpt2_config import read_config
from replication.engine.lens_file import Translators, read_lens
from replication.engine.tokenizer import Tokenizer
from replication.weights.model_files import Files


@dataclass(frozen=True)
class Loaded:
    """A model ready to measure with."""

    files: Files
    gpt2: GPT2
    tokenizer: Tokenizer
    translators: Translators


def load(files: Files, device: str = "cpu") -> Loaded:
    """Model, tokenizer and lens from verified files, in float32; on the CPU weights stay memory-mapped.

    Raises:
        UserError: A file is damaged, or `device` cannot be used.
    """
    cuda.check(device)
    tokenizer = Tokenizer(files.folder / "tokenizer.json")
    config, path = read_config(files.folder), files.folder / "model.safetensors"
    stored = stored_tensors(path)
    if absent := [name for name in shapes(config) if name not in stored]:
        raise UserError(f"{path}: lacks the tensor {absent[0]}")
    gpt2 = GPT2(config, {name: stored[name].to(device) for name in shapes(config)})
    lens = read_lens(files.lens_folder)
    return Loaded(files, gpt2, tokenizer, [(weight.to(device), bias.to(device)) for weight, bias in lens])


def stored_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, mapped from it, so that processes share their memory.

    Files on the hub have names with and without the prefix `transformer.`; here they have none.

    Raises:
        UserError: The file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name.removeprefix("transformer."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged: {one_line(error)}") from None
