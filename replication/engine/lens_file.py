"""A tuned lens' params.pt -> its translators, checked; and translators -> the files of a lens."""

import json
from pathlib import Path

import torch
from torch import Tensor

from replication.base.errors import UserError
from replication.base.files import put, write_text
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


def write_lens(folder: Path, translators: Translators, model: str, unembed_hash: str) -> None:
    """Writes config.json and params.pt as tuned-lens 0.2.0 does, byte for byte; params.pt is the last to appear.

    Args:
        folder: Where to.
        translators: The lens.
        model: Name of the model it was trained for.
        unembed_hash: `fit_checks.unembedding_hash` of that model.
    """
    width = len(translators[0][1])
    modules = torch.nn.ModuleList(torch.nn.Linear(width, width, device="meta") for _ in translators)
    for module, (weight, bias) in zip(modules, translators, strict=True):
        module.weight, module.bias = torch.nn.Parameter(weight.cpu()), torch.nn.Parameter(bias.cpu())
    config = {
        "base_model_name_or_path": model,
        "d_model": width,
        "num_hidden_layers": len(translators),
        "bias": True,
        "base_model_revision": None,
        "unembed_hash": unembed_hash,
        "lens_type": "linear_tuned_lens",
    }
    write_text(folder / "config.json", json.dumps(config))
    # torch writes the file's name into the file, so the temporary one has the same, in a folder that a kill may leave.
    scratch = folder / ".params"
    scratch.mkdir(exist_ok=True)
    torch.save(modules.state_dict(), scratch / "params.pt")
    put(scratch / "params.pt", folder / "params.pt")
    scratch.rmdir()
