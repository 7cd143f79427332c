"""Random GPT-2s whose activations have the sizes of GPT-2 XL's, in the hub's layout, with a lens: for the rehearsal.

Rounding errors grow with the numbers that are rounded, so a tolerance that is to hold on GPT-2 XL must be tried on
weights with its sizes. Those of the residual stream were published (published_numbers/gpt2-xl.json): 2 to 4 entering
block 0, about 100 after it, over 300 at the end, and thousands at position 0. Logits of GPT-2 have a common offset that
no probability sees; of gpt2 it is known to be between -35 and -112, of GPT-2 XL it is not published.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from random_model import BOS_ID, save_lens, write_tokenizer
from torch import Tensor

DEPTHS = (0, 1 / 48, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1)
"""Relative depths at which the norms below are entered."""
NORMS = (1.8, 72, 78, 98, 125, 165, 215, 290, 375, 420)
"""Norm of the residual stream at positions 1, 2, ..., at those depths."""
FIRST_NORMS = (4.1, 90, 100, 2565, 3876, 4093, 4140, 4124, 3596, 3000)
"""The same at position 0."""

OWN = 1.3
"""Norm of what a token's embedding does not share with all others."""

SPREAD = 3.5
"""Standard deviation of the logits: an entropy of ln(50257) - SPREAD^2 / 2, some 5 nats, at the output."""


@dataclass(frozen=True)
class Shape:
    """The size of a GPT-2, and the common offset of its logits."""

    layers: int = 48
    d_model: int = 1600
    heads: int = 25
    context: int = 1024
    offset: float = -100.0
    vocabulary: int = 50257


def write_model(folder: Path, shape: Shape, seed: int = 0) -> Path:
    """Writes config.json, model.safetensors and tokenizer.json as openai-community/gpt2-xl has them."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new",
        "n_layer": shape.layers, "n_embd": shape.d_model, "n_head": shape.heads, "vocab_size": shape.vocabulary,
        "n_ctx": shape.context, "n_positions": shape.context, "layer_norm_epsilon": 1e-05,
        "bos_token_id": BOS_ID, "eos_token_id": BOS_ID,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(_embeddings(shape, generator))
    for layer in range(shape.layers):
        tensors |= {f"h.{layer}.{name}": tensor for name, tensor in _block(shape, layer, tensors, generator)}
    tensors |= _final_norm(shape, tensors, generator)
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder)
    return folder


def write_lens(folder: Path, shape: Shape, name: str, seed: int = 1) -> Path:
    """Writes a lens in the tuned-lens library's format, whose translators move a residual by a tenth of its norm."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer in range(shape.layers):
        norm = _at(NORMS, layer / shape.layers)
        state[f"{layer}.weight"] = _normal(generator, shape.d_model, shape.d_model, norm=0.1)
        state[f"{layer}.bias"] = _normal(generator, shape.d_model, norm=0.05 * norm)
    return save_lens(folder, state, shape.layers, shape.d_model, name)


def _embeddings(shape: Shape, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Token embeddings share a direction, which gives the logits their offset; position 0 has one of its own."""
    shared = _normal(generator, shape.d_model, norm=1.1)
    own = _normal(generator, shape.vocabulary, shape.d_model, norm=OWN)
    yield "wte.weight", own + (1 - own @ shared / shared.square().sum())[:, None] * shared
    positions = _normal(generator, shape.context, shape.d_model, norm=0.5)
    positions[0] *= FIRST_NORMS[0] / 0.5
    yield "wpe.weight", positions


def _block(
    shape: Shape, layer: int, tensors: dict[str, Tensor], generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """A block that adds a random vector of the length that the norms ask for, and at position 0 a fixed one.

    Of the MLP one neuron sees position 0 by its direction, and lengthens it.
    """
    d, d_mlp = shape.d_model, 4 * shape.d_model
    depth, above = layer / shape.layers, (layer + 1) / shape.layers
    grows = math.sqrt(_at(NORMS, above) ** 2 - _at(NORMS, depth) ** 2)
    # In block 0 all of it by the MLP, which still sees position 0 as it was embedded.
    shares = (0.01, 1.0) if layer == 0 else (math.sqrt(0.5), math.sqrt(0.5))
    attention, mlp = (share * grows for share in shares)
    for name in ("ln_1", "ln_2"):
        yield f"{name}.weight", 1 + 0.2 * torch.randn(d, generator=generator)
        yield f"{name}.bias", 0.1 * torch.randn(d, generator=generator)
    yield "attn.bias", torch.ones(1, 1, shape.context, shape.context).tril()
    yield "attn.c_attn.weight", _normal(generator, d, 3 * d, norm=1.4 * math.sqrt(3))
    yield "attn.c_attn.bias", 0.1 * torch.randn(3 * d, generator=generator)
    # Values have a norm of about 1.4 sqrt(d), and are averaged over the positions that attention looks back at.
    yield "attn.c_proj.weight", _normal(generator, d, d, norm=attention / (1.2 * math.sqrt(d)))
    yield "attn.c_proj.bias", _normal(generator, d, norm=0.1 * attention)
    first = torch.nn.functional.normalize(tensors["wpe.weight"][0], dim=0)
    reads = _normal(generator, d, d_mlp, norm=math.sqrt(d_mlp / d))
    bias = 0.1 * torch.randn(d_mlp, generator=generator)
    reads[:, 0], bias[0] = first, -math.sqrt(d) / 2
    writes = _normal(generator, d_mlp, d, norm=mlp / (0.65 * math.sqrt(d_mlp)))
    cosine = 1 / math.hypot(1, _at(NORMS, depth) / _at(FIRST_NORMS, depth))
    writes[0] = first * (_at(FIRST_NORMS, above) - _at(FIRST_NORMS, depth)) / ((cosine - 0.5) * math.sqrt(d))
    yield "mlp.c_fc.weight", reads
    yield "mlp.c_fc.bias", bias
    yield "mlp.c_proj.weight", writes
    yield "mlp.c_proj.bias", _normal(generator, d, norm=0.1 * mlp)


def _final_norm(shape: Shape, tensors: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Its gain gives the logits their spread, and its bias, along what the tokens share, their common offset."""
    shared = tensors["wte.weight"].mean(0)
    gain = SPREAD / OWN * (1 + 0.2 * torch.randn(shape.d_model, generator=generator))
    bias = shape.offset / shared.square().sum() * shared + 0.05 * torch.randn(shape.d_model, generator=generator)
    return {"ln_f.weight": gain, "ln_f.bias": bias}


def _normal(generator: torch.Generator, *shape: int, norm: float) -> Tensor:
    """Normal numbers whose rows have about that norm."""
    return norm / math.sqrt(shape[-1]) * torch.randn(*shape, generator=generator)


def _at(norms: tuple[float, ...], depth: float) -> float:
    """A norm at a relative depth, between those entered by geometric interpolation."""
    return float(np.exp(np.interp(depth, DEPTHS, np.log(norms))))
