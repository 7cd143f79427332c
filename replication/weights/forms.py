"""Which files a model and its lens are read from, where people have the same weights in several forms."""

import json
from collections.abc import Collection
from pathlib import Path

from replication.base.errors import UserError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
WEIGHTS = (WHOLE, INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json")
"""The forms of weights, in the order in which transformers takes them; an index says in which shard a tensor is."""

TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
LENS = ("config.json", "params.pt")

_ADAPTER = (
    "holds an adapter (LoRA or its kin), which is not a model by itself: merge it into its base model (peft's "
    "merge_and_unload) and save that with save_pretrained"
)
_GGUF = (
    "holds GGUF weights alone: have transformers read them (from_pretrained(..., gguf_file=NAME)) and save them with "
    "save_pretrained, or take the checkpoint they were made from"
)
_OTHERS = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "rust_model.ot")


def model_files(folder: Path, names: Collection[str]) -> list[str]:
    """The files that a GPT-2 and its tokenizer are read from: settings, weights, vocabulary.

    Args:
        folder: Where they are.
        names: The files there that may be taken.

    Raises:
        UserError: A file is missing, or the weights are of a kind that is not read; the sentence says what to do.
    """
    weights = weight_files(folder, names)
    if "config.json" not in names:
        raise UserError(f"{folder} lacks the file config.json")
    return ["config.json", *weights, *_tokenizer(folder, names)]


def lens_files(folder: Path, names: Collection[str]) -> list[str]:
    """The files that a tuned lens is read from; raises UserError where one is missing."""
    for name in LENS:
        if name not in names:
            raise UserError(f"{folder} lacks the file {name}")
    return list(LENS)


def weight_files(folder: Path, names: Collection[str]) -> list[str]:
    """The files that hold a model's tensors: one, or an index and its shards; errors are those of `model_files`."""
    if "adapter_config.json" in names:
        raise UserError(f"{folder} {_ADAPTER}")
    form = next((form for form in WEIGHTS if form in names), None)
    if form is None:
        raise UserError(f"{folder} {_missing_weights(names)}")
    if not form.endswith(".index.json"):
        return [form]
    shards = _shards(folder / form)
    if missing := [shard for shard in shards if shard not in names]:
        raise UserError(f"{folder} lacks the file {missing[0]}, which {form} names")
    return [form, *shards]


def _missing_weights(names: Collection[str]) -> str:
    if any(name.endswith(".gguf") for name in names):
        return _GGUF
    if others := [name for name in _OTHERS if name in names]:
        return f"has weights as {others[0]} alone: load them with transformers and save them with save_pretrained"
    return f"lacks the file {WHOLE} (or its shards with {INDEX}, or pytorch_model.bin)"


def _shards(index: Path) -> list[str]:
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{index}: cannot be read as an index of shards (weight_map: tensor to file)") from None
    if not shards or not all(isinstance(shard, str) and Path(shard).name == shard for shard in shards):
        raise UserError(f"{index}: must name files beside it, found {shards}")
    return shards


def _tokenizer(folder: Path, names: Collection[str]) -> tuple[str, ...]:
    for form in TOKENIZERS:
        if all(name in names for name in form):
            return form
    raise UserError(f"{folder} lacks the file tokenizer.json (or vocab.json and merges.txt)")
