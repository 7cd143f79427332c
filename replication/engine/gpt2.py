"""GPT-2's forward pass (Radford et al. 2019), one formula a line, in float32.

    h_0     = E[tokens] + P[0 .. positions - 1]
    h'      = h + attention(norm_1(h))              within block i, TransformerLens' hook_resid_mid
    h_{i+1} = h' + mlp(norm_2(h'))              what leaves block i and enters block i + 1
    logits  = U norm_f(h_L)

Shapes: b sequences, t positions, d = n_embd, n heads of width d / n. Tensors have the names of model.safetensors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, relu, scaled_dot_product_attention, silu

from replication.engine.gpt2_config import Config


def _gelu_new(x: Tensor) -> Tensor:
    """GELU by its tanh approximation (Hendrycks and Gimpel 2016), in the order of operations of GPT-2's own code."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_fast": partial(gelu, approximate="tanh"),
    "gelu_new": _gelu_new,
    "gelu_pytorch_tanh": partial(gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": relu,
    "silu": silu,
    "swish": silu,
    "tanh": torch.tanh,
}


Cache = dict[int, tuple[Tensor, Tensor]]
"""Keys and values of the positions read so far, for each block, (b, n, positions, d / n)."""


@dataclass(frozen=True, repr=False)
class GPT2:
    """A GPT-2: what config.json says, and its tensors."""

    config: Config
    tensors: dict[str, Tensor]
    """Those of `shapes`; matrices of blocks are (in, out), embeddings (tokens or positions, d)."""

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.unembedding.device

    def embedding(self, tokens: Tensor, first: int = 0) -> Tensor:
        """What enters block 0 for token ids (b, t), the first at position `first`: token plus position, (b, t, d)."""
        return self.tensors["wte.weight"][tokens] + self.tensors["wpe.weight"][first : first + tokens.shape[1]]

    def block(self, layer: int, entering: Tensor, cache: Cache | None = None) -> Tensor:
        """What leaves block `layer`, (b, t, d), for what enters it.

        Keys and values are appended to a `cache`; one position that follows it, t = 1, attends to everything in it.
        """
        within = self.attended(layer, entering, cache)
        return within + self._mlp(layer, self._norm(f"h.{layer}.ln_2", within))

    def attended(self, layer: int, entering: Tensor, cache: Cache | None = None) -> Tensor:
        """The residual stream between attention and MLP of block `layer`, (b, t, d); `cache` as for `block`."""
        return entering + self._attention(layer, self._norm(f"h.{layer}.ln_1", entering), cache)

    def logits(self, residuals: Tensor) -> Tensor:
        """Final layer norm and unembedding of residuals, (..., d) -> (..., tokens)."""
        return linear(self._norm("ln_f", residuals), self.unembedding)

    @property
    def unembedding(self) -> Tensor:
        """(tokens, d)."""
        return self.tensors["wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"]

    def _attention(self, layer: int, x: Tensor, cache: Cache | None) -> Tensor:
        """Causal self-attention, (b, t, d) -> (b, t, d)."""
        b, t, d = x.shape
        split = self._affine(f"h.{layer}.attn.c_attn", x).split(d, dim=-1)
        queries, keys, values = (part.view(b, t, self.config.n_head, -1).transpose(1, 2) for part in split)  # b n t d/n
        if cache is not None:
            if layer in cache:
                keys, values = (torch.cat(pair, dim=2) for pair in zip(cache[layer], (keys, values), strict=True))
            cache[layer] = keys, values
        scale = queries.shape[-1] ** -0.5 if self.config.scale_attn_weights else 1.0
        scale /= layer + 1 if self.config.scale_attn_by_inverse_layer_idx else 1
        from_the_start = keys.shape[2] == t
        mixed = scaled_dot_product_attention(queries, keys, values, is_causal=from_the_start, scale=scale)
        return self._affine(f"h.{layer}.attn.c_proj", mixed.transpose(1, 2).reshape(b, t, d))

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        """The MLP, (b, t, d) -> (b, t, d)."""
        hidden = ACTIVATIONS[self.config.activation_function](self._affine(f"h.{layer}.mlp.c_fc", x))
        return self._affine(f"h.{layer}.mlp.c_proj", hidden)

    def _affine(self, name: str, x: Tensor) -> Tensor:
        """X W + b, (b, t, in) -> (b, t, out)."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], -1)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        """Layer norm over the last dimension, with gain and bias."""
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return layer_norm(x, weight.shape, weight, bias, self.config.layer_norm_epsilon)


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a GPT-2."""
    d, d_mlp = config.n_embd, config.d_mlp
    tensors: dict[str, tuple[int, ...]] = {"wte.weight": (config.vocab_size, d), "wpe.weight": (config.n_positions, d)}
    affine = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, d_mlp), "mlp.c_proj": (d_mlp, d)}
    for layer in range(config.n_layer):
        for name, shape in affine.items():
            tensors |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[1:]}
        for name in ("ln_1", "ln_2"):
            tensors |= {f"h.{layer}.{name}.weight": (d,), f"h.{layer}.{name}.bias": (d,)}
    tensors |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    return tensors if config.tie_word_embeddings else tensors | {"lm_head.weight": (config.vocab_size, d)}
