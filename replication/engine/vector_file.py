"""Steering vectors in files: one float32 tensor `vector`, without the coefficient, as safetensors."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from replication.base.errors import UserError, one_line
from replication.base.files import written_whole
from replication.base.paths import local_folder

NAME = "vector"
"""Name of the tensor."""


@dataclass(frozen=True)
class VectorFile:
    """A vector that was read from a file."""

    rows: NDArray[np.float32]
    """(rows, d_model), row 0 for `<|endoftext|>` if it was made from texts; (1, d_model) for a file of one row."""
    one_row: bool
    """Whether the file's tensor is (d_model,): the same row for every position."""
    sha256: str
    """SHA-256 of the file."""


def read_vector(name: str, d_model: int) -> VectorFile:
    """The vector in a file that the configuration names.

    Raises:
        UserError: There is no such file, or it does not hold a vector for a model of this width.
    """
    path = local_folder(name)
    if not path.is_file():
        raise UserError(f"steering.vector: {path} does not exist")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            names = list(file.keys())
            tensor = file.get_tensor(NAME) if NAME in names else None
    except (safetensors.SafetensorError, TypeError) as error:  # numpy has no bfloat16
        raise UserError(f"steering.vector: {path} cannot be read: {one_line(error)}") from None
    if tensor is None:
        raise UserError(f"steering.vector: {path} holds {', '.join(names) or 'nothing'}, and no tensor {NAME!r}")
    if tensor.dtype != np.float32 or tensor.shape[-1:] != (d_model,) or tensor.ndim > 2 or not tensor.size:
        raise UserError(
            f"steering.vector: {path} holds a {tensor.dtype} of shape {tensor.shape}; this model needs float32 of "
            f"shape (rows, {d_model}) or ({d_model},)"
        )
    if not np.isfinite(tensor).all():
        raise UserError(f"steering.vector: {path} holds NaN or infinity")
    return VectorFile(tensor.reshape(-1, d_model), tensor.ndim == 1, hashlib.sha256(path.read_bytes()).hexdigest())


def stored_settings(path: Path) -> dict[str, Any]:
    """Layer and coefficient of a vector, as far as its file's metadata has them; empty if it cannot be read."""
    kinds = {"layer": int, "coefficient": float}
    with suppress(OSError, ValueError, safetensors.SafetensorError):
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        return {key: kind(metadata[key]) for key, kind in kinds.items() if key in metadata}
    return {}


def write_vector(path: Path, rows: NDArray[np.float32], metadata: Mapping[str, Any]) -> None:
    """Writes a vector without its coefficient, (rows, d_model), and the metadata as text."""
    with written_whole(path) as temporary:
        save_file({NAME: np.ascontiguousarray(rows)}, temporary, {key: str(value) for key, value in metadata.items()})
