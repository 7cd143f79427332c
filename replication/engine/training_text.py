"""A text file -> sequences of tokens to train a lens on, and others to judge it by."""

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from replication.base.errors import UserError
from replication.engine.tokenizer import BOS, Tokenizer

CHUNK = 1 << 20
"""Characters tokenized together: the tokenizer takes some hundred bytes of memory for each of their tokens."""

_BOUNDARY = re.compile(r"(?<=\S)(?= \S)|(?<=\S\n)(?=\S)")
"""Where a text may be cut: before a space, or after a line break, that stands alone between two other characters. No
token of GPT-2's spans such a place, because its tokenizer begins a new word there."""


def split(path: Path, tokenizer: Tokenizer, length: int, held_out: float) -> tuple[Tensor, Tensor]:
    """The sequences of a text, (sequences, length): those to train on, and the last ones, held out.

    The file is one stream of tokens with `<|endoftext|>` in front, cut every `length` tokens; the rest at its end is
    dropped. Several documents must be separated by `<|endoftext|>` in the file: a blank line may be part of one.

    Args:
        path: UTF-8.
        tokenizer: The model's.
        length: Tokens of a sequence.
        held_out: The part of all sequences that is held out; it is one sequence at least.

    Raises:
        UserError: The file is missing, is not UTF-8, or is too short for one sequence of each kind.
    """
    tokens = _tokens(path, tokenizer)
    if len(tokens) < 2 * length:
        raise UserError(
            f"{path}: has {len(tokens)} tokens with the {BOS} in front; a lens of this model takes at least "
            f"{2 * length}, one sequence of {length} to train on and one to judge it by"
        )
    sequences = tokens[: len(tokens) // length * length].view(-1, length)
    last = min(max(1, round(held_out * len(sequences))), len(sequences) - 1)
    return sequences[:-last], sequences[-last:]


def shuffled(sequences: Tensor, seed: int) -> Iterator[list[int]]:
    """Endless sequences: all of them in a random order, then all in another."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for place in torch.randperm(len(sequences), generator=generator).tolist():
            yield sequences[place].tolist()


def _tokens(path: Path, tokenizer: Tokenizer) -> Tensor:
    """All tokens of a file, (tokens,), in int32: half the memory of a long text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"is not UTF-8 ({error.reason})"
        raise UserError(f"{path}: cannot be read as text: {reason}") from None
    parts = [torch.tensor([tokenizer.bos], dtype=torch.int32)]
    return torch.cat([*parts, *(torch.tensor(tokenizer.encode(p), dtype=torch.int32) for p in _chunks(text))])


def _chunks(text: str) -> Iterator[str]:
    """A text in chunks whose tokens, one after the other, are those of the whole."""
    start = 0
    while start < len(text):
        cut = _BOUNDARY.search(text, start + CHUNK)
        end = cut.end() if cut else len(text)
        yield text[start:end]
        start = end
