"""GPT-2's byte-level BPE: text -> token ids, and tokens as text."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from replication.base.errors import UserError, one_line

BOS = "<|endoftext|>"


class Tokenizer:
    """GPT-2's byte-level BPE from a tokenizer.json, or from vocab.json and merges.txt.

    A literal `<|endoftext|>` in a text is that special token, as in transformers and TransformerLens. Truncation and
    padding that an earlier use stored in the file never reach a prompt: they are switched off and named in `ignored`.
    """

    ignored: list[str]
    """Settings in the file that have no effect here."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Reads the files; raises UserError where they are not a tokenizer with `<|endoftext|>`."""
        path = files[0]
        try:
            self._tokenizer = _read(files)
        except Exception as error:  # the Rust side raises bare Exception
            raise UserError(f"{path}: cannot be read as a tokenizer: {one_line(error)}") from None
        self.ignored = _switched_off(self._tokenizer)
        bos = self._tokenizer.token_to_id(BOS)
        if bos is None:
            raise UserError(f"{path}: has no token {BOS}")
        self.bos: int = bos
        self._bytes = {symbol: byte for byte, symbol in _byte_symbols().items()}
        # Tables need the same few hundred tokens tens of thousands of times.
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
        """One token as text; bytes that are not UTF-8 as escapes."""
        if token_id not in self._texts:
            self._texts[token_id] = self._text(token_id)
        return self._texts[token_id]

    def joined(self, ids: Iterable[int]) -> str:
        """Several tokens as one text: characters that are split over tokens are whole again."""
        return token_text(b"".join(map(self._encoded, ids)))

    def _text(self, token_id: int) -> str:
        return token_text(self._encoded(token_id))

    def _encoded(self, token_id: int) -> bytes:
        symbols = self._tokenizer.id_to_token(token_id)
        if symbols is None:
            # Some models pad their vocabulary beyond the tokenizer's.
            return f"<unused {token_id}>".encode()
        if any(symbol not in self._bytes for symbol in symbols):
            return str(symbols).encode()
        return bytes(self._bytes[symbol] for symbol in symbols)


def _read(files: Sequence[Path]) -> tokenizers.Tokenizer:
    if len(files) == 1:
        return tokenizers.Tokenizer.from_file(str(files[0]))
    vocabulary, merges = map(str, files)
    tokenizer = tokenizers.Tokenizer(BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([BOS])
    return tokenizer


def _switched_off(tokenizer: tokenizers.Tokenizer) -> list[str]:
    """Switches off truncation, padding and dropout; returns the names of the settings that have no effect."""
    settings = {
        "truncation": tokenizer.truncation,
        "padding": tokenizer.padding,
        "dropout": getattr(tokenizer.model, "dropout", None),
        # `encode` adds no special tokens.
        "a post-processor that adds tokens": tokenizer.num_special_tokens_to_add(is_pair=False),
    }
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if settings["dropout"]:
        tokenizer.model.dropout = None
    return [name for name, value in settings.items() if value]


def token_text(data: bytes) -> str:
    """A token's bytes as text; bytes that are not UTF-8, and NUL, which no CSV reader keeps, as escapes."""
    return data.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")


def _byte_symbols() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where printable, else the next from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def texts(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Tokens as text, one per id."""
    return [tokenizer.text(token_id) for token_id in ids]
