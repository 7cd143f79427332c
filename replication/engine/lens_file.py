"""A tuned lens' params.pt -> its translators, checked."""

from pathlib import Path

import torch
from torch import Tensor

from replication.base.errors import UserError, one_line

Translators = list[tuple[Tensor, Tensor]]
"""A tuned lens: per layer the weight (d_model, d_model) and bias (d_model,) of h -> h + W h + b."""


def read_lens(folder: Path) -> Translators:
    """The translators in a params.pt of the tuned-lens library; nothing in the file is executed.

    Raises:
        UserError: The file is damaged, holds anything but tensors, or is not a lens of float32 translators.
    """
    path = folder / "params.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises almost anything where bytes are damaged
        raise UserError(
            f"{path}: damaged, or holds something else than tensors, and was not loaded ({one_line(error)})"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: does not hold a dictionary of tensors")
    layers = len(state) // 2
    expected = {f"{i}.{part}" for i in range(layers) for part in ("weight", "bias")}
    if not layers or set(state) != expected:
        odd = sorted(set(state) ^ expected)[:1]
        raise UserError(f"{path}: expected tensors 0.weight, 0.bias, 1.weight, ...; {odd} is missing or unknown")
    for name, tensor in state.items():
        check_tensor(path, name, tensor)
    return [(state[f"{i}.weight"], state[f"{i}.bias"]) for i in range(layers)]


def check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """Raises UserError where a tensor is not float32, or holds NaN or infinity."""
    if tensor.dtype != torch.float32:
        raise UserError(f"{path}: {name} is {tensor.dtype}; only torch.float32 is supported, convert the file first")
    if not torch.isfinite(tensor).all():
        raise UserError(f"{path}: {name} holds NaN or infinity")
