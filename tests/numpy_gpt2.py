"""GPT-2 with steering and a tuned lens in plain numpy float64, from the formulas alone.

Written against Radford et al. 2019 (pre-norm blocks, tanh-gelu, tied unembedding), Turner et al. 2023 (activation
addition) and Belrose et al. 2023 (tuned lens). Shares no code with the package.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

EPSILON = 1e-5


class NumpyGPT2:
    """Weights of a folder in the hub's format, in float64."""

    def __init__(self, folder: Path, heads: int) -> None:
        stored = load_file(folder / "model.safetensors")
        self.w = {name.removeprefix("transformer."): value.astype(np.float64) for name, value in stored.items()}
        self.heads = heads
        self.layers = 1 + max(int(name.split(".")[1]) for name in self.w if name.startswith("h."))

    def norm(self, x, name):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + EPSILON) * self.w[name + ".weight"] + self.w[name + ".bias"]

    def block(self, x, i):
        w, positions = self.w, len(x)
        h = f"h.{i}."
        qkv = self.norm(x, h + "ln_1") @ w[h + "attn.c_attn.weight"] + w[h + "attn.c_attn.bias"]
        query, key, value = np.split(qkv, 3, axis=1)
        size = x.shape[1] // self.heads
        attended = np.zeros_like(x)
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / np.sqrt(size)
            for row in range(positions):
                weights = np.exp(scores[row, : row + 1] - scores[row, : row + 1].max())
                attended[row, part] = weights / weights.sum() @ value[: row + 1, part]
        x = x + attended @ w[h + "attn.c_proj.weight"] + w[h + "attn.c_proj.bias"]
        inner = self.norm(x, h + "ln_2") @ w[h + "mlp.c_fc.weight"] + w[h + "mlp.c_fc.bias"]
        gelu = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        return x + gelu @ w[h + "mlp.c_proj.weight"] + w[h + "mlp.c_proj.bias"]

    def stream(self, ids, inject=None):
        """What enters every block and leaves the last, (layers + 1, positions, d_model).

        `inject` maps a block to a function that changes what enters it.
        """
        x = self.w["wte.weight"][ids] + self.w["wpe.weight"][: len(ids)]
        rows = []
        for i in range(self.layers):
            if inject and i in inject:
                x = inject[i](x)
            rows.append(x)
            x = self.block(x, i)
        return np.stack([*rows, x])

    def steered(self, ids, added, subtracted, layer, coefficient):
        """(unsteered, steered) streams of an activation addition."""
        vector = coefficient * (self.stream(added)[layer] - self.stream(subtracted)[layer])

        def inject(x):
            x = x.copy()
            x[: len(vector)] += vector
            return x

        return self.stream(ids), self.stream(ids, {layer: inject})

    def added(self, ids, sides):
        """The stream of `ids` with every side added by itself, in order, as hooks of the original authors do.

        A side is (ids, coefficient, layer, place); its rows go to positions as hook_fn_from_activations of
        montemac/activation_additions (main, activation_additions/hook_utils.py) has them for "front", "mid" and
        "back", or start at a number.
        """
        inject = {}
        for side, coefficient, layer, place in sides:
            rows = coefficient * self.stream(side)[layer]
            middle, half = len(ids) // 2, len(rows) // 2
            where = {
                "front": slice(0, len(rows)),
                "mid": slice(middle - half, middle + (len(rows) - half)),
                "back": slice(-len(rows), None),
            }.get(place) or slice(place, place + len(rows))

            inject.setdefault(layer, []).append((where, rows))

        def change(x, additions):
            x = x.copy()
            for where, rows in additions:
                x[where] = rows + x[where]
            return x

        return self.stream(ids, {layer: partial(change, additions=each) for layer, each in inject.items()})

    def log_p(self, hidden):
        """Log-softmax of the unembedded final norm, (..., vocabulary)."""
        logits = self.norm(hidden, "ln_f") @ self.w["wte.weight"].T
        logits = logits - logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def lens_log_p(model: NumpyGPT2, stream, lens_folder: Path | None, centre: bool, layers=None):
    """Log-probabilities of every lens row, or of some, the output last; `lens_folder` None is the logit lens."""
    state = None if lens_folder is None else torch.load(lens_folder / "params.pt", weights_only=True)
    rows = []
    for i in range(len(stream)) if layers is None else layers:
        h = stream[i]
        h = h - h.mean(-1, keepdims=True) if centre else h
        if state is not None and i < model.layers:
            h = h + h @ state[f"{i}.weight"].numpy().astype(np.float64).T + state[f"{i}.bias"].numpy()
        rows.append(model.log_p(h))
    return np.stack(rows)
