"""What a competent user would write with transformers and tuned-lens alone: the yardstick of compare.py.

One pass per sequence, steering by a forward pre-hook, tuned-lens' own modules read layer by layer, the same four tables
with the same columns. It uses nothing of this package.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast
from tuned_lens import TunedLens

BOS = "<|endoftext|>"
Read = Callable[[Tensor, int], Tensor]
"""(positions, d_model) entering a block, and the block's number -> logits (positions, vocabulary)."""


def residuals(model: GPT2LMHeadModel, ids: list[int], layer: int = -1, vector: Tensor | None = None) -> list[Tensor]:
    """What enters every block and what leaves the last, each (positions, d_model); `vector` is added at `layer`."""
    stream: list[Tensor] = []

    def hook(module: torch.nn.Module, args: tuple) -> tuple:
        hidden = args[0]
        if vector is not None and len(stream) == layer:
            hidden = hidden.clone()
            hidden[0, : len(vector)] += vector
        stream.append(hidden[0])
        return (hidden, *args[1:])

    places = [*model.transformer.h, model.transformer.ln_f]
    handles = [place.register_forward_pre_hook(hook) for place in places]
    try:
        model.transformer(torch.tensor([ids]))
    finally:
        for handle in handles:
            handle.remove()
    return stream


class Vocabulary:
    """Text to ids and back."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self.text = cache(lambda token: self.tokenizer.decode([token], clean_up_tokenization_spaces=False))

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(BOS + text, add_special_tokens=False)

    def sides(self, added: str, subtracted: str) -> tuple[list[int], list[int]]:
        """Both sides, the shorter one followed by spaces."""
        sides = self.ids(added), self.ids(subtracted)
        space = self.tokenizer.encode(" ", add_special_tokens=False)
        length = max(map(len, sides))
        return tuple(side + space * (length - len(side)) for side in sides)


def centred(stream: list[Tensor]) -> list[Tensor]:
    return [hidden - hidden.mean(-1, keepdim=True) for hidden in stream]


def read_out(read: Read, streams: dict[str, list[Tensor]], ids: list[int], protocol: str, vocabulary: Vocabulary):
    """Reads the residuals of both conditions; returns the rows of losses, of top10 and of effect."""
    targets = [*ids[1:], ids[0]]
    labels = {"context_id": ids, "context_token": [vocabulary.text(i) for i in ids]}
    labels |= {"target_id": targets, "target_token": [vocabulary.text(i) for i in targets]}
    index = torch.tensor(targets)[:, None]
    output = {name: read(stream[-1], len(stream) - 1).log_softmax(-1) for name, stream in streams.items()}
    cells, tops, effects = [], [], []
    for layer in range(len(streams["unsteered"])):
        name = "output" if layer == len(streams["unsteered"]) - 1 else str(layer)
        log_p = {}
        for condition, stream in streams.items():
            logits = read(stream[layer], layer)
            log_p[condition] = log_q = logits.log_softmax(-1)
            top = log_q.topk(10)
            where = {"protocol": protocol, "condition": condition, "layer": name, "position": range(len(ids))}
            statistics = {
                "loss": -log_q.gather(-1, index)[:, 0],
                "rank": 1 + (logits > logits.gather(-1, index)).sum(-1),
                "rank_margin": (logits - logits.gather(-1, index)).abs().scatter(-1, index, torch.inf).amin(-1),
                "entropy": -(log_q.exp() * log_q).sum(-1),
                "kl_to_output": (output[condition].exp() * (output[condition] - log_q)).sum(-1),
                "top_id": top.indices[:, 0],
                "top_token": [vocabulary.text(i) for i in top.indices[:, 0].tolist()],
                "top_probability": top.values[:, 0].exp(),
            }
            cells.append(pd.DataFrame(where | labels | statistics))
            best = {"place": list(range(1, 11)) * len(ids), "id": top.indices.flatten()}
            best |= {"token": [vocabulary.text(i) for i in top.indices.flatten().tolist()]}
            best |= {"probability": top.values.exp().flatten()}
            tops.append(pd.DataFrame(where | {"position": [i for i in range(len(ids)) for _ in range(10)]} | best))
        kl = (log_p["unsteered"].exp() * (log_p["unsteered"] - log_p["steered"])).sum(-1)
        cell = {"protocol": protocol, "layer": name, "position": range(len(ids))}
        effects.append(pd.DataFrame(cell | {"kl_to_unsteered": kl}))
    return cells, tops, effects


def write(folder: Path, cells: list, tops: list, effects: list, logit: list) -> None:
    """Writes the four tables of one experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(cells).to_csv(folder / "losses.csv", index=False)
    pd.concat(tops).to_csv(folder / "top10.csv", index=False)
    pd.concat(effects).to_csv(folder / "effect.csv", index=False)
    pd.concat(logit).drop(columns="protocol").to_csv(folder / "logit_lens.csv", index=False)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "lens", "experiments", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    vocabulary = Vocabulary(arguments.model)
    model = GPT2LMHeadModel.from_pretrained(arguments.model).eval()
    lens = TunedLens.from_model_and_pretrained(model, str(arguments.lens), map_location="cpu", weights_only=True)

    def tuned(hidden: Tensor, layer: int) -> Tensor:
        return lens(hidden, layer) if layer < len(lens) else lens.unembed(hidden)

    def untuned(hidden: Tensor, layer: int) -> Tensor:
        return lens.unembed(hidden)

    for name, experiment in json.loads(arguments.experiments.read_text()).items():
        steering, ids = experiment["steering"], vocabulary.ids(experiment["prompt"])
        layer = steering["layer"]
        added, subtracted = vocabulary.sides(steering["added"], steering["subtracted"])
        vector = steering["coefficient"] * (residuals(model, added)[layer] - residuals(model, subtracted)[layer])
        raw = {"unsteered": residuals(model, ids), "steered": residuals(model, ids, layer, vector)}
        posted = {condition: centred(stream) for condition, stream in raw.items()}
        first = read_out(tuned, raw, ids, "raw", vocabulary)
        second = read_out(tuned, posted, ids, "centred", vocabulary)
        logit, _, _ = read_out(untuned, raw, ids, "logit", vocabulary)
        write(arguments.out / name, *(a + b for a, b in zip(first, second, strict=True)), logit)


if __name__ == "__main__":
    main()
