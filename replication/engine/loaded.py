"""A folder of verified files -> model, tokenizer and lens, ready to measure with."""

from dataclasses import dataclass

from replication.engine import cuda
from replication.engine.gpt2 import GPT2
from replication.engine.gpt2_config import read_config
from replication.engine.lens_file import Translators, read_lens
from replication.engine.tokenizer import Tokenizer
from replication.engine.weight_files import half_precisions, read_weights, widened
from replication.weights.model_files import Files


@dataclass(frozen=True)
class Loaded:
    """A model ready to measure with."""

    files: Files
    gpt2: GPT2
    tokenizer: Tokenizer
    translators: Translators | None
    """The tuned lens; None where there is none, and the logit lens reads every layer."""
    widened_from: list[str]
    """Half precisions in which weights are stored, if any."""


def load(files: Files, device: str = "cpu") -> Loaded:
    """Model, tokenizer and lens from verified files, in float32.

    On the CPU float32 weights stay mapped from their files; those of half precision are copied, exactly.

    Raises:
        UserError: A file is damaged, or `device` cannot be used.
    """
    gpt2, tokenizer, halves = load_model(files, device)
    stored = read_lens(files.lens_folder) if files.lens_folder else None
    lens = stored and [(weight.to(device), bias.to(device)) for weight, bias in stored]
    return Loaded(files, gpt2, tokenizer, lens, halves)


def load_model(files: Files, device: str = "cpu") -> tuple[GPT2, Tokenizer, list[str]]:
    """`load` without the lens: model, tokenizer, and the half precisions in which weights are stored."""
    cuda.check(device)
    tokenizer = Tokenizer(files.tokenizer)
    config, stored = read_weights(files.weights, read_config(files.folder))
    gpt2 = GPT2(config, {name: widened(tensor).to(device) for name, tensor in stored.items()})
    return gpt2, tokenizer, half_precisions(stored.values())
