"""Published values: every kind of quantity against a second calculation, and faults that must not pass.

No real GPT-2 can be had here. So each set's numbers are replaced by what the numpy forward gives for a random model
of the same depth, in the way the set's source describes; the package's own path must then agree with all of them,
and stop agreeing when something in it is really broken.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy_gpt2 import NumpyGPT2, lens_log_p
from random_model import write_lens, write_tokenizer
from safetensors.torch import save_file
from stand_in_card import card as stand_in
from transformers import GPT2Config, GPT2LMHeadModel

from replication.base.addition import Addition
from replication.base.config import Model, checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.engine import quantities as kinds
from replication.engine import streams as runs
from replication.engine.loaded import Loaded, load
from replication.engine.published_values import measured_sets
from replication.engine.tokenizer import Tokenizer
from replication.verification import published_table
from replication.verification.cells import AGREES
from replication.verification.published_sets import MODELS, Check, PublishedSet, Tolerance, published_sets
from replication.weights import obtain as weights

LAYERS = {"gpt2-xl": 48, "gpt2-large": 36, "gpt2": 12}
FEW = 3  # of many checks or prompts, or of the tokens read by the lens of 36 layers: the others go the same way


class BatchedGPT2(NumpyGPT2):
    """The numpy forward for (..., positions, d_model) at once, to be quick enough for 576 patchings."""

    def __init__(self, folder, heads):
        super().__init__(folder, heads)
        self.kept: dict[tuple[int, ...], np.ndarray] = {}

    def attended(self, x, i):
        """What is between attention and MLP of block i."""
        h, size = f"h.{i}.", x.shape[-1] // self.heads
        qkv = self.norm(x, h + "ln_1") @ self.w[h + "attn.c_attn.weight"] + self.w[h + "attn.c_attn.bias"]
        query, key, value = (
            part.reshape(*x.shape[:-1], self.heads, size).swapaxes(-2, -3) for part in np.split(qkv, 3, axis=-1)
        )
        scores = query @ key.swapaxes(-1, -2) / np.sqrt(size)
        scores = np.where(np.tri(x.shape[-2], dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (p / p.sum(-1, keepdims=True) @ value).swapaxes(-2, -3).reshape(x.shape)
        return x + mixed @ self.w[h + "attn.c_proj.weight"] + self.w[h + "attn.c_proj.bias"]

    def block(self, x, i):
        h, x = f"h.{i}.", self.attended(x, i)
        inner = self.norm(x, h + "ln_2") @ self.w[h + "mlp.c_fc.weight"] + self.w[h + "mlp.c_fc.bias"]
        gelu = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner * inner * inner)))
        return x + gelu @ self.w[h + "mlp.c_proj.weight"] + self.w[h + "mlp.c_proj.bias"]

    def stream(self, ids, inject=None):
        key = tuple(ids)
        if inject is None and key not in self.kept:
            self.kept[key] = super().stream(ids)
        return super().stream(ids, inject) if inject else self.kept[key]

    def without_mlp(self, ids, layer):
        """The stream when block `layer` has no MLP."""
        below = self.stream(ids)[: layer + 1]
        return self.stream(ids, {layer + 1: lambda _: self.attended(below[layer], layer)})

    def both(self, ids, steering):
        """(unsteered, steered) streams; the same twice without steering."""
        if steering is None:
            return (self.stream(ids),) * 2
        sides = steering["added_ids"], steering["subtracted_ids"]
        return self.steered(ids, *sides, steering["layer"], steering["coefficient"])


def ids_of(pair):
    return [token["ids"][0] for token in pair]


def length(x, without_mean):
    """Norm over d_model, of x - mean(x) where the source had centred residuals."""
    x = x - x.sum(-1, keepdims=True) / x.shape[-1] if without_mean else x
    return np.sqrt((x**2).sum(-1))


class Twins:
    """Each kind's quantity from the formulas, named as in `kinds`; shares no code with the package."""

    def __init__(self, model: BatchedGPT2, lens_folder: Path) -> None:
        self.model, self.lens_folder = model, lens_folder

    def next_token(self, axes, prompt, positions, statistic, reduce=None, steering=None):
        ids = prompt["ids"]
        log_p = self.model.log_p(self.model.both(ids, steering)[1][-1][positions])
        target = np.array([row[ids[i + 1]] for row, i in zip(log_p, positions, strict=True)])
        if statistic == "rank":
            target = 1 + (log_p > target[:, None]).sum(-1)
        signed = -target if statistic == "loss" else target
        return {"mean": signed.mean(), "sum": signed.sum(), None: signed}[reduce]

    def next_token_distribution(self, axes, prompt, position, statistic, tokens=(), steering=None):
        before, after = (np.exp(self.model.log_p(s[-1, position])) for s in self.model.both(prompt["ids"], steering))
        ids = ids_of(tokens)
        if statistic == "largest_percent":
            return 100 * np.sort(before)[::-1][:5]
        p, q = before[ids], after[ids]
        logits = self.model.norm(self.model.stream(prompt["ids"])[-1, position], "ln_f") @ self.model.w["wte.weight"].T
        return {
            "probability": p,
            "percent": 100 * p,
            "ratio": q / p,
            "kl_contribution": q * np.log(q / p),
            "centred_logit": logits[ids] - logits.mean(),
            "logit_difference": logits[ids[0]] - logits[ids[-1]],
        }[statistic]

    def effect(self, axes, prompts, first, steering):
        columns = []
        for prompt in prompts:
            before, after = (self.model.log_p(s[-1, first:]) for s in self.model.both(prompt["ids"], steering))
            p = np.exp(before)
            columns.append([-(p * before).sum(-1).mean(), (p * (before - after)).sum(-1).mean()])
        return np.array(columns).T

    def residual_norms(self, axes, prompt, statistic, without_mean):
        stream = self.model.stream(prompt["ids"])
        norms = length(stream[np.ix_(axes["layer"], axes["position"])], without_mean)
        return np.log10(norms) if statistic == "log10" else norms

    def vector_norms(self, axes, steering, statistic, without_mean, prompt=None):
        added, subtracted = (self.model.stream(steering[side]) for side in ("added_ids", "subtracted_ids"))
        vector = steering["coefficient"] * (added - subtracted)
        if statistic == "largest_component":
            rows = vector[axes["layer"]]
            return (rows - rows.mean(-1, keepdims=True)).max((1, 2))
        vector = vector[np.ix_(axes["layer"], axes["position"])]
        norms = length(vector, without_mean)
        if statistic == "relative":
            return norms / self.residual_norms(axes, prompt, "norm", without_mean)
        return np.log10(norms) if statistic == "log10" else norms

    def last_token_difference(self, axes, first, second, layer, without_mean):
        one, other = (self.model.stream(text["ids"])[layer][len(text["ids"]) - 1] for text in (first, second))
        return length(one - other, without_mean)

    def greedy(self, axes, prompt, direction=None):
        inject = None
        if direction is not None:
            layer, texts = direction["layer"], (direction["first"]["ids"], direction["second"]["ids"])
            one, other = (self.model.stream(ids)[layer][-1] for ids in texts)
            unit = (one - other) / np.sqrt(((one - other) ** 2).sum())
            inject = {layer: lambda x: x + direction["coefficient"] * unit}
        ids = list(prompt["ids"])
        for _ in axes["place"]:
            ids.append(int(self.model.log_p(self.model.stream(ids, inject)[-1, -1]).argmax()))
        return np.array(ids[len(prompt["ids"]) :])

    def patching(self, axes, clean, corrupted, answers):
        good, bad = (np.stack([self.model.stream(p["ids"]) for p in side], 1) for side in (clean, corrupted))
        pairs = np.array([ids_of(pair) for pair in answers])

        unembedding = self.model.w["wte.weight"]

        def difference(residual):  # (prompts, d_model) at the last position
            directions = unembedding[pairs[:, 0]] - unembedding[pairs[:, 1]]
            return (self.model.norm(residual, "ln_f") * directions).sum(-1).mean()

        best, worst = difference(good[-1][:, -1]), difference(bad[-1][:, -1])
        found = np.zeros((len(axes["layer"]), len(axes["position"])))
        for row, layer in enumerate(axes["layer"]):
            x = np.repeat(bad[layer][None], len(axes["position"]), 0)  # (patched position, prompts, positions, d_model)
            for position in axes["position"]:
                x[position, :, position] = good[layer][:, position]
            for i in range(layer, self.model.layers):
                x = self.model.block(x, i)
            found[row] = [(difference(each[:, -1]) - worst) / (best - worst) for each in x]
        return found

    def accumulated_logit_difference(self, axes, prompts, answers):
        total = 0
        for prompt, pair in zip(prompts, answers, strict=True):
            stream = self.model.stream(prompt["ids"])
            rows = []
            for i, x in enumerate(stream[:-1]):
                rows += [x[-1], self.model.attended(x, i)[-1]]
            rows = np.array([*rows, stream[-1, -1]])
            rows = rows - rows.mean(-1, keepdims=True)
            scale = np.sqrt((rows[-1] ** 2).mean() + 1e-5)
            logits = rows / scale * self.model.w["ln_f.weight"] @ self.model.w["wte.weight"][ids_of(pair)].T
            total = total + (logits[:, 0] - logits[:, 1]) / len(prompts)
        return total

    def lens_entropy(self, axes, prompt, without_mean):
        log_p = lens_log_p(self.model, self.model.stream(prompt["ids"]), self.lens_folder, centre=without_mean)
        return -(np.exp(log_p) * log_p).sum(-1)[[*axes["layer"][:-1], self.model.layers]]

    def lens_kl(self, axes, prompt, without_mlp, without_mean):
        streams = self.model.without_mlp(prompt["ids"], without_mlp), self.model.stream(prompt["ids"])
        ablated, clean = (lens_log_p(self.model, s, self.lens_folder, centre=without_mean) for s in streams)
        return (np.exp(ablated) * (ablated - clean)).sum(-1)

    def lens_change(self, axes, prompts, answers, lens_name, without_mlp, clip, without_mean):
        rows = []
        for prompt, (target, anti_target) in zip(prompts, map(ids_of, answers), strict=True):
            ids = prompt["ids"]
            stream = self.model.stream(ids) if without_mlp is None else self.model.without_mlp(ids, without_mlp)
            folder = self.lens_folder if lens_name == "tuned" else None
            log_p = lens_log_p(self.model, stream[:, -1:], folder, centre=without_mean)[:, 0]
            rows.append(log_p[:, target] - log_p[:, anti_target])
        return np.clip(np.diff(rows).mean(0), -clip, clip)


def write_small_model(folder: Path, layers: int) -> None:
    """A random GPT-2 of width 16 in which far tokens matter and logits differ, so that no effect drowns in rounding."""
    folder.mkdir()
    width, generator = 16, torch.Generator().manual_seed(0)
    # Name and shape of a block's tensors, and how far its values spread.
    block = {
        "ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,), "ln_2.bias": (width,),
        "attn.c_attn.weight": (width, 3 * width), "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width), "attn.c_proj.bias": (width,),
        "mlp.c_fc.weight": (width, 4 * width), "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (4 * width, width), "mlp.c_proj.bias": (width,),
    }  # fmt: skip
    shapes = {f"h.{i}.{name}": shape for i in range(layers) for name, shape in block.items()}
    shapes |= {"wte.weight": (50257, width), "wpe.weight": (64, width), "ln_f.weight": (width,), "ln_f.bias": (width,)}
    tensors = {}
    for name, shape in shapes.items():
        spread = 1.0 if name == "wte.weight" else 0.8 if ".attn.c_" in name and len(shape) == 2 else 0.2
        tensors[name] = spread * torch.randn(shape, generator=generator) + float(
            ".ln_" in f".{name}" and len(shape) == 1
        )
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    sizes = {"n_layer": layers, "n_embd": width, "n_head": 2, "n_positions": 64}
    GPT2Config(**sizes, bos_token_id=50256, eos_token_id=50256).save_pretrained(folder)
    write_tokenizer(folder)


def shortened(check: Check) -> Check:
    """A check on the first few of many prompts or tokens, or on some of many layers."""
    inputs = check.inputs | {
        name: check.inputs[name][:FEW]
        for name in ("prompts", "clean", "corrupted", "answers")
        if len(check.inputs.get(name, ())) > FEW
    }
    axes, expected = check.axes, check.expected
    if check.kind == "effect":
        axes, expected = axes | {"prompt": axes["prompt"][:FEW]}, expected[:, :FEW]
    if check.kind == "patching":
        rows = [i for i, layer in enumerate(axes["layer"]) if layer % 7 in (0, 3, 5)]
        axes, expected = axes | {"layer": rows}, expected[rows]
    if check.kind == "lens_entropy":
        inputs["prompt"] = {"text": None, "ids": inputs["prompt"]["ids"][:FEW]}
        axes, expected = axes | {"position": axes["position"][:FEW]}, expected[:, :FEW]
    return replace(check, axes=axes, inputs=inputs, expected=expected)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Loaded, list[PublishedSet]]]:
    """For each published model a random one of its depth, and its sets with the numpy values in place of theirs."""
    made: dict[str, tuple[Loaded, list[PublishedSet]]] = {}

    def make(name: str) -> tuple[Loaded, list[PublishedSet]]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            write_small_model(folder / "model", LAYERS[name])
            write_lens(folder / "lens", layers=LAYERS[name], d_model=16)
            source = Model(folder=str(folder / "model"), lens_folder=str(folder / "lens"))
            loaded = load(weights.obtain(name, source, folder, folder / "hashes.json"))
            twins = Twins(BatchedGPT2(folder / "model", heads=2), folder / "lens")
            sets = []
            for published in published_sets(name):
                checks = []
                for check in map(shortened, published.checks[:FEW]):
                    expected = np.asarray(getattr(twins, check.kind)(check.axes, **check.inputs), dtype=np.float64)
                    assert expected.shape == check.expected.shape
                    checks.append(replace(check, expected=expected))
                sets.append(replace(published, sha256=loaded.files.sha256, checks=tuple(checks)))
            made[name] = loaded, sets
        return made[name]

    return make


def published_values(loaded: Loaded, sets: list[PublishedSet]) -> pd.DataFrame:
    """The table of some sets, measured and compared."""
    sha256 = loaded.files.sha256
    measured = measured_sets(loaded, published_table.sets_to_run(sets, sha256))
    return published_table.comparison(sets, sha256, measured)


def verdicts(loaded: Loaded, sets: list[PublishedSet], *names: str) -> dict[str, str]:
    """One verdict per set: differs if any of its rows does."""
    chosen = [each for each in sets if each.name in names] if names else sets
    found = published_values(loaded, chosen)
    return {name: "differs" if "differs" in set(rows["verdict"]) else rows["verdict"].iloc[0]
            for name, rows in found.groupby("set")}  # fmt: skip


# The twins


def test_batched_forward_equals_the_plain_one(models):
    loaded, _ = models("gpt2")
    plain, batched = (kind(loaded.files.folder, heads=2) for kind in (NumpyGPT2, BatchedGPT2))
    ids = [50256, 40, 5465, 345]
    assert np.abs(plain.stream(ids) - batched.stream(ids)).max() < 1e-10


@pytest.mark.parametrize("name", MODELS)
def test_every_set_agrees_with_the_second_calculation(models, name):
    loaded, sets = models(name)
    found = published_values(loaded, sets)
    off = found[found["verdict"] != AGREES]
    assert not len(off), off[["set", "quantity", "published", "measured", "tolerance", "note"]].to_string()
    assert set(found["set"]) == {each.name for each in published_sets(name)}
    assert {check.kind for each in sets for check in each.checks} <= set(kinds.KINDS)
    assert len(found) < 400


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "xl" in name else name for name in MODELS]
)
def test_every_quantity_on_a_card_leaves_nothing_on_the_cpu(models, name):
    loaded, sets = models(name)
    with stand_in():
        on_card = measured_sets(load(loaded.files, "cuda"), sets)
    for name, on_cpu in measured_sets(loaded, sets).items():
        assert all(map(np.array_equal, on_card[name].values, on_cpu.values)), name


@pytest.mark.parametrize("left", ["_ids", "whole", "vector"])
def test_what_a_quantity_leaves_on_the_cpu_is_found(models, monkeypatch, left):
    loaded, sets = models("gpt2-xl")
    real = getattr(runs, left)

    def on_cpu(*given):
        made = real(*given)
        return replace(made, values=made.values.cpu()) if left == "vector" else made.cpu()

    monkeypatch.setattr(runs, left, on_cpu)
    with stand_in(), pytest.raises(RuntimeError, match="is not on cuda:0"):
        measured_sets(load(loaded.files, "cuda"), sets)


@pytest.mark.parametrize("name", ["gpt2-xl", "gpt2"])
def test_the_numbers_of_a_random_model_are_no_published_ones(models, name):
    """The verdict is not always "agrees": the sets of many checks, whole and with their own numbers, differ."""
    loaded, _ = models(name)
    sets = [replace(each, sha256=loaded.files.sha256) for each in published_sets(name) if len(each.checks) > FEW]
    assert len(sets) >= 3
    assert set(verdicts(loaded, sets).values()) == {"differs"}


def test_a_replaced_residual_is_what_a_hook_replaces(models):
    """A third way for one cell: transformers' own forward, the input of one block changed by a hook."""
    loaded, sets = models("gpt2-xl")
    (published,) = [each for each in sets if each.name == "tl-factual-recall-resid-patching"]
    (check,) = published.checks
    clean, corrupted = (torch.tensor([check.inputs[side][0]["ids"]]) for side in ("clean", "corrupted"))
    one, other = (token["ids"][0] for token in check.inputs["answers"][0])
    layer, position = 31, 5
    theirs = GPT2LMHeadModel.from_pretrained(loaded.files.folder).eval()
    block = theirs.transformer.h[layer]
    kept: list[torch.Tensor] = []

    def difference(ids: torch.Tensor, hook: Any) -> float:
        handle = block.register_forward_pre_hook(hook)
        try:
            with torch.inference_mode():
                logits = theirs(ids).logits[0, -1].double()
        finally:
            handle.remove()
        return float(logits[one] - logits[other])

    def replacing(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        changed = arguments[0].clone()
        changed[0, position] = kept[0][0, position]
        return (changed, *arguments[1:])

    best = difference(clean, lambda _, arguments: kept.append(arguments[0].clone()))
    worst = difference(corrupted, lambda *_: None)
    patched = difference(corrupted, replacing)
    assert (patched - worst) / (best - worst) == pytest.approx(
        check.expected[check.axes["layer"].index(layer), position], abs=1e-4
    )


# Faults: the pipeline is broken for real, and a set says so

UNSTEERED = ("mini-unsteered-loss", "payground-logprobs")
STEERED = ("mini-steered-loss-love-hate-L6-c2", "weddings-next-token-zoom")
VECTORS = ("anger-calm-L20-c10-magnitudes", "love-hate-and-anger-calm-L20-c2000")
BY_LAYER = ("anger-calm-magnitude-by-layer", "resid-norm-dog-died-L20")
PATCHING = ("tl-factual-recall-resid-patching",)


def all_verdicts(models, caught: tuple[str, ...], passed: tuple[str, ...], name: str = "gpt2-xl") -> None:
    loaded, sets = models(name)
    found = verdicts(loaded, sets, *caught, *passed)
    assert found == dict.fromkeys(caught, "differs") | dict.fromkeys(passed, "agrees")


def test_a_wrong_weight_is_caught(models):
    loaded, _ = models("gpt2-xl")
    tensor = loaded.gpt2.tensors["h.5.mlp.c_proj.weight"]
    before = tensor.clone()
    try:
        with torch.no_grad():
            tensor *= 1.02  # one tensor of 580
        all_verdicts(models, (*UNSTEERED, *STEERED, *VECTORS, *BY_LAYER), ())
    finally:
        with torch.no_grad():
            tensor.copy_(before)


def test_a_vector_read_one_block_too_high_is_caught(models, monkeypatch):
    real = runs.steering_vector

    def higher(gpt2, sides, layer, coefficient):
        return replace(real(gpt2, sides, layer + 1, coefficient), layer=layer)

    monkeypatch.setattr(runs, "steering_vector", higher)
    all_verdicts(models, (*STEERED, *VECTORS), (*UNSTEERED, *BY_LAYER))


def test_an_injection_one_block_too_high_is_caught(models, monkeypatch):
    real = runs.both_streams
    monkeypatch.setattr(
        runs, "both_streams", lambda gpt2, ids, added: real(gpt2, ids, [replace(v, layer=v.layer + 1) for v in added])
    )
    all_verdicts(models, STEERED, (*UNSTEERED, *VECTORS, *BY_LAYER))


def test_residuals_leaving_a_block_instead_of_entering_are_caught(models, monkeypatch):
    real = runs.residual_stream

    def leaving(gpt2, entering, first, last):
        stream = real(gpt2, entering, first, min(last + 1, 48))
        return torch.cat([stream[:, 1:], stream[:, -1:]], dim=1)[:, : last - first + 1]

    monkeypatch.setattr(runs, "residual_stream", leaving)
    all_verdicts(models, (*BY_LAYER, *PATCHING, "annah-love-hate-raw-norm"), (*UNSTEERED, *STEERED))


def test_a_replacement_at_the_next_position_is_caught(models, monkeypatch):
    real = kinds.replaced_at_each
    monkeypatch.setattr(kinds, "replaced_at_each", lambda stream, other: real(stream, other).roll(1, 0))
    all_verdicts(models, PATCHING, ("tl-factual-recall-logits",))


def test_forgotten_centring_is_caught(models, monkeypatch):
    monkeypatch.setattr(runs, "centred", lambda residuals: residuals)
    all_verdicts(models, (*VECTORS, *BY_LAYER), (*UNSTEERED, *STEERED, "annah-love-hate-raw-norm"))


def test_centring_where_the_published_norm_is_raw_is_caught(models, monkeypatch):
    monkeypatch.setattr(runs, "as_published", lambda residuals, _: runs.centred(residuals))
    monkeypatch.setattr(kinds, "as_published", lambda residuals, _: runs.centred(residuals))
    all_verdicts(models, ("annah-love-hate-raw-norm",), BY_LAYER)


def test_swapped_sides_are_caught(models, monkeypatch):
    real = runs.steering_vector

    def swapped(gpt2, sides, layer, coefficient):
        return real(gpt2, replace(sides, added=sides.subtracted, subtracted=sides.added), layer, coefficient)

    monkeypatch.setattr(runs, "steering_vector", swapped)
    # A norm cannot see the sign; the largest component, the loss and the ratios can.
    all_verdicts(models, (*STEERED, VECTORS[0]), (*VECTORS[1:], *UNSTEERED))


def test_a_missing_bos_is_caught(models):
    """The texts run without `<|endoftext|>`, for the sets whose numbers have a place without it."""
    loaded, sets = models("gpt2-xl")

    def bare(inputs: Any) -> Any:
        if isinstance(inputs, list):
            return [bare(part) for part in inputs]
        if not isinstance(inputs, dict):
            return inputs
        inputs = {key: bare(part) for key, part in inputs.items()}
        if "ids" in inputs:
            inputs["ids"] = [i for i in inputs["ids"] if i != 50256]
        if "position" in inputs:
            inputs["position"] -= 1
        if "positions" in inputs:
            inputs["positions"] = [i - 1 for i in inputs["positions"] if i]
        return inputs

    for name in ("mini-unsteered-loss", "tl-factual-recall-logits"):
        (published,) = [each for each in sets if each.name == name]
        broken = replace(published, checks=tuple(replace(c, inputs=bare(c.inputs)) for c in published.checks))
        found = published_values(loaded, [broken])
        assert found["quantity"][1] in ("mean loss", "logit(Paris) - logit(Rome), clean")
        assert found["verdict"][1] == "differs"


@pytest.mark.parametrize("fault", ["bos", "padding"])
def test_a_tokenizer_path_without_bos_or_with_another_padding_is_caught(models, monkeypatch, fault):
    loaded, sets = models("gpt2-xl")
    if fault == "bos":
        monkeypatch.setattr(Tokenizer, "with_bos", Tokenizer.encode)
    else:
        other = partial(Addition, padding="\n")
        monkeypatch.setattr("replication.engine.published_values.Addition", other)
    found = published_values(loaded, [each for each in sets if each.name in STEERED])
    off = found[found["verdict"] == "differs"]
    assert set(off["quantity"]) == {"token ids of its texts"}
    assert set(off["set"]) == set(STEERED)
    assert off["note"].str.startswith("other ids for").all()


@pytest.mark.parametrize("fault", ["next translator", "no translator", "centred residuals"])
def test_a_wrong_lens_read_out_is_caught(models, monkeypatch, fault):
    loaded, sets = models("gpt2-large")
    if fault == "next translator":
        loaded = replace(loaded, translators=[*loaded.translators[1:], loaded.translators[0]])
    elif fault == "no translator":
        monkeypatch.setattr("replication.engine.lens.translated", lambda rows, *_: rows)
    else:
        monkeypatch.setattr(kinds, "as_published", lambda residuals, _: runs.centred(residuals))
    found = published_values(loaded, sets).set_index("quantity")["verdict"]
    assert found["entropy, layer 34"] == "differs"
    assert found["entropy, layer output"] == "agrees"


def test_raw_residuals_in_the_centred_lens_sets_are_caught(models, monkeypatch):
    monkeypatch.setattr(runs, "centred", lambda residuals: residuals)
    lens = "small-tuned-lens-greater-than", "small-tuned-lens-kl-mlp9-ablated"
    all_verdicts(models, (*lens, "small-anger-calm-prompt-norms"), ("small-ioi-logit-diffs",), "gpt2")


# Which sets belong to which weights


def test_unknown_weights_compute_nothing_and_fail_nothing(random_loaded):
    known = [each for name in MODELS for each in published_sets(name)]
    assert published_table.sets_to_run(known, random_loaded.files.sha256) == []
    found = published_table.comparison(known, random_loaded.files.sha256, {})
    assert list(found["set"]) == [each.name for each in published_sets("gpt2-xl")]
    assert set(found["verdict"]) == {"not run"}
    assert found[published_table.NUMBERS].isna().all().all()
    assert found["note"].str.contains("0f8b28eb05a8").all()
    assert published_table.outcome(found) == {"status": "not run", "reason": found["note"].iloc[0]}


def test_another_lens_leaves_out_the_lens_sets_only(models):
    loaded, sets = models("gpt2")
    sets = [replace(each, sha256=each.sha256 | {"lens/params.pt": "0" * 64}) for each in sets]
    found = verdicts(loaded, sets)
    lens = {each.name for each in sets if each.lens}
    assert lens == {name for name, verdict in found.items() if verdict == "not run"} != set()
    assert {verdict for name, verdict in found.items() if name not in lens} == {"agrees"}


def test_published_weights_are_those_the_configuration_pins():
    configuration = checked(read_yaml(REPOSITORY / "config.yaml"))
    compared = 0
    for name in MODELS:
        model = configuration.models.get(name)
        if model is None or model.weights is None or model.lens is None:
            continue
        sha256 = published_sets(name)[0].sha256
        assert sha256["model/model.safetensors"] == model.weights.sha256["model.safetensors"]
        assert sha256["lens/params.pt"] == model.lens.sha256["params.pt"]
        compared += 1
    assert compared


# The data and the table


@pytest.mark.parametrize("name", MODELS)
def test_every_set_says_where_it_is_from_and_why_its_tolerance(name):
    sets = published_sets(name)
    assert len({each.name for each in sets}) == len(sets)
    for each in sets:
        assert each.measures
        assert each.environment
        assert each.sources
        assert all(
            source.startswith("https://github.com/") and len(source.split("/")[6]) == 40 for source in each.sources
        )
        for check in each.checks:
            assert np.isfinite(check.expected).all()
            assert check.tolerance.reason
            exact = check.kind == "greedy" or check.inputs.get("statistic") == "rank"
            assert check.tolerance.absolute + check.tolerance.relative > 0 or exact


def hand_made(expected: list[float], **tolerance: float) -> tuple[PublishedSet, Check]:
    check = Check(
        "loss", "next_token", {}, {"position": list(range(len(expected)))}, "each", np.array(expected),
        Tolerance(**({"absolute": 0.0, "relative": 0.0} | tolerance), reason="by hand"),
    )  # fmt: skip
    return PublishedSet("set", "gpt2", {}, False, "losses", "none", ("https://example.org",), (check,)), check


def test_a_number_agrees_within_absolute_plus_relative_tolerance():
    published, check = hand_made([10.0, 10.0, 0.0, 10.0], absolute=0.25, relative=0.025)
    found = published_table.compared(published, check, np.array([10.5, 9.25, -0.25, np.nan]))
    assert list(found["verdict"]) == ["agrees", "differs", "agrees", "differs"]
    assert list(found["difference"])[:3] == [0.5, -0.75, -0.25]
    assert list(found["tolerance"]) == [0.5, 0.5, 0.25, 0.5]


def test_a_row_of_many_numbers_shows_the_one_furthest_off_for_its_tolerance():
    published, check = hand_made([1.0, 100.0, 1.0], relative=0.01)
    found = published_table.compared(published, replace(check, rows="all"), np.array([1.0, 100.5, 1.02]))
    assert found.iloc[0][["values", "published", "measured", "verdict"]].to_list() == [3, 1.0, 1.02, "differs"]
    assert found["note"].iloc[0] == "largest of 3 differences, at position 2"


def test_a_tolerance_of_zero_asks_for_the_exact_number():
    published, check = hand_made([1.0, 1.0])
    assert list(published_table.compared(published, check, np.array([1.0, 2.0]))["verdict"]) == ["agrees", "differs"]


def test_the_table_reads_back_as_it_was_written(models, tmp_path):
    loaded, sets = models("gpt2-xl")
    run = published_values(loaded, [each for each in sets if each.name in UNSTEERED])
    whole = pd.concat([run, published_table.not_run(sets[0], "other weights")], ignore_index=True)
    published_table.write(whole, tmp_path / "published.csv")
    pd.testing.assert_frame_equal(
        published_table.read(tmp_path / "published.csv"), whole.astype(published_table.PUBLISHED)
    )
    found = published_table.outcome(whole)
    assert (found["status"], found["sets"], found["sets_not_run"], found["off"]) == ("agrees", len(UNSTEERED), 1, [])


def test_the_outcome_names_what_is_off(models):
    published, check = hand_made([1.0, 2.0], absolute=0.1)
    found = published_table.outcome(published_table.compared(published, check, np.array([1.0, 3.0])))
    assert found["status"] == "differs"
    assert [(row["quantity"], row["measured"]) for row in found["off"]] == [("loss, position 1", 3.0)]
