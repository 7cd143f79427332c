"""A tuned lens' params.pt -> its translators, checked."""

from pathlib import Path

from torch import Tensor

from replication.base.errors import UserError
from replication.engine.weight_files import check_tensor, tensors_of_pickle, widened

Translators = list[tuple[Tensor, Tensor]]
"""A tuned lens: per layer the weight (d_model, d_model) and bias (d_model,) of h -> h + W h + b."""


def read_lens(folder: Path) -> Translators:
    """The translators in a params.pt of the tuned-lens library, in float32; nothing in the file is executed.

    Raises:
        UserError: The file is damaged, holds anything but tensors, or is not a lens of translators.
    """
    path = folder / "params.pt"
    state = tensors_of_pickle(path)
    layers = range(sum(name.endswith(".weight") for name in state))
    weights, biases = ([f"{i}.{part}" for i in layers] for part in ("weight", "bias"))
    if state and set(state) == set(weights):
        raise UserError(
            f"{path}: has no biases, and tuned-lens, which every run asks for a second opinion, cannot read such a "
            "lens; add biases of zeros (0.bias, 1.bias, ...) and say bias: true in its config.json"
        )
    if not state or set(state) != {*weights, *biases}:
        odd = sorted(set(state) ^ {*weights, *biases})[:1]
        raise UserError(f"{path}: expected tensors 0.weight, 0.bias, 1.weight, ...; {odd} is missing or unknown")
    for name, tensor in state.items():
        check_tensor(path, name, tensor)
    return [(widened(state[w]), widened(state[b])) for w, b in zip(weights, biases, strict=True)]
