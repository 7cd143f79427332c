"""How far the numbers differ between ways of computing them that should not matter, as units of rounding.

    python tests/differences.py                       the miniature, and small models with the sizes of GPT-2 XL's
    python tests/differences.py 48,1600,25,-100       layers, width, heads and common offset of the logits
    python tests/differences.py 3,192,6,-100 Haswell  with emulated processors beside (qemu-user)

The base is what a job of the workflow does: one thread, portable arithmetic, our own forward, unsteered and steered in
one batch, in a fresh process. A unit is 2^-23 times the largest |logit| of the base; the tolerance of
`replication/verification/rounding.py` rests on these tables.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from replication.base.config import FAST, PORTABLE, Model, checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.engine.numerics import prepare
from replication.verification.rounding import EPSILON

STATISTICS = ("loss", "entropy", "kl_to_output", "top_probability")
DISCRETE = ("rank", "top_id")
KEYS = ["experiment", "protocol", "condition", "layer", "position", "target_id"]
MODELS = ("miniature", "3,192,6,0", "3,192,6,-35", "3,192,6,-110", "12,768,12,-35", "12,768,12,-110", "48,192,6,-100")
"""By default: the miniature, and random models by layers, width, heads and offset."""


@dataclass(frozen=True)
class Way:
    """A way of computing the same numbers."""

    says: str
    threads: int = 1
    mode: str = PORTABLE
    before: int = 0
    """How often all experiments are measured before, in the same process."""
    attention: str | None = None
    """None: as the package does; else transformers' own forward with this attention, one sequence at a time."""
    batch: bool = False
    """Whether that forward takes both conditions in one batch."""
    rows: int | None = None
    """How many rows share a product with the unembedding; None: as many as in the package."""
    tuned_lens: bool = False
    """Whether tuned-lens reads transformers' model: the second opinion."""


BASE = Way("a fresh process, as a job does")
WAYS = {
    "fresh": Way("another fresh process"),
    "long_lived": Way("a process that has measured everything twice before", before=2),
    "two_threads": Way("2 threads", threads=2),
    "rows_40": Way("40 rows of the read-out at a time", rows=40),
    "rows_1000": Way("1000 rows at a time", rows=1000),
    "single_sdpa": Way("transformers' forward, one sequence at a time, sdpa", attention="sdpa"),
    "single_eager": Way("transformers' forward, one sequence at a time, eager", attention="eager"),
    "batch_eager": Way("transformers' forward, both conditions in one batch, eager", attention="eager", batch=True),
    "fast": Way("fast arithmetic instead of portable", mode=FAST),
    "fast_two_threads": Way("fast arithmetic, 2 threads", mode=FAST, threads=2),
    "tuned_lens": Way("tuned-lens on transformers' model, raw cells", tuned_lens=True),
    "tuned_lens_fast": Way("the same in fast arithmetic, 2 threads", mode=FAST, threads=2, tuned_lens=True),
}


def folders(model: str, scratch: Path) -> tuple[Path, Path]:
    """Folders of a model and its lens: the miniature's, or random ones that are written to `scratch`."""
    if model == "miniature":
        configured = checked(read_yaml(REPOSITORY / "config.yaml")).models[model]
        return REPOSITORY / str(configured.folder), REPOSITORY / str(configured.lens_folder)
    from rehearsal_weights import Shape, write_lens, write_model

    layers, d_model, heads, offset = map(int, model.split(","))
    shape = Shape(layers, d_model, heads, context=1024 if d_model == 1600 else 64, offset=offset)
    return write_model(scratch / "model", shape), write_lens(scratch / "lens", shape, "rehearsal")


def measured(way: Way, model: Path, lens: Path) -> tuple[pd.DataFrame, float]:
    """Losses of all experiments, and the largest |logit|, in this process; nothing may have imported torch before."""
    prepare(way.mode, way.threads)
    from replication.engine import lens as read_out
    from replication.engine import measure
    from replication.engine.loaded import load
    from replication.engine.second_opinion import second_opinion
    from replication.weights.obtain import obtain

    experiments = checked(read_yaml(REPOSITORY / "config.yaml")).experiments
    with tempfile.TemporaryDirectory() as scratch:
        own = Model(folder=str(model), lens_folder=str(lens))
        loaded = load(obtain("model", own, Path(scratch), Path(scratch) / "hashes.json"))
    read_out.ROWS = way.rows or read_out.ROWS
    if way.attention:
        measure.both_streams = lambda _, ids, vectors: plain_streams(model, ids, vectors, way)
    for name in reversed(list(experiments) * way.before):
        measure.measure(loaded, experiments[name])
    results = {name: measure.measure(loaded, experiment) for name, experiment in experiments.items()}
    losses = pd.concat({name: each.losses for name, each in results.items()}, names=["experiment"]).reset_index(level=0)
    if way.tuned_lens:
        opinion = second_opinion(model, lens, {name: each.record for name, each in results.items()})
        opinion["protocol"] = "raw"
        losses = losses[KEYS].merge(opinion, on=[key for key in KEYS if key != "target_id"])
    return losses, max(each.record["largest_logit"] for each in results.values())


def plain_streams(folder: Path, ids: list[int], vectors: Any, way: Way) -> Any:
    """What `both_streams` gives, by transformers' own forward with hooks."""
    import torch
    from transformers import GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel.from_pretrained(folder, attn_implementation=way.attention).eval()
    both = [[False, True]] if way.batch else [[False], [True]]
    (vector,) = vectors  # the post's experiments have one each
    return torch.cat([_stream(gpt2, ids, vector, steered) for steered in both])


def _stream(gpt2: Any, ids: list[int], vector: Any, steered: list[bool]) -> Any:
    import torch

    stream: list[Any] = []

    def entering(layer: int) -> Any:
        def hook(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden = arguments[0].clone()
            if layer == vector.layer:
                for row, wanted in enumerate(steered):
                    hidden[row, : len(vector.values)] += wanted * vector.values
            stream.append(hidden)
            return (hidden, *arguments[1:])

        return hook

    blocks = gpt2.transformer.h
    handles = [block.register_forward_pre_hook(entering(layer)) for layer, block in enumerate(blocks)]
    handles.append(gpt2.transformer.ln_f.register_forward_pre_hook(lambda _, arguments: stream.append(arguments[0])))
    try:
        gpt2(torch.tensor([ids] * len(steered)), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(stream, dim=1)


def in_a_fresh_process(name: str, model: tuple[Path, Path], scratch: Path) -> tuple[pd.DataFrame, float]:
    """What a way gives, or the base, or fast arithmetic on an emulated processor, in a process of its own."""
    file = scratch / f"{name}.pickle"
    emulated = [] if name in ("base", *WAYS) else [shutil.which("qemu-x86_64"), "-cpu", name]
    way = "fast" if emulated else name
    command = [*emulated, sys.executable, __file__, "--way", way, *map(str, model), str(file)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, check=True, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL)
    return pd.read_pickle(file)


def differences(ways: list[str], model: tuple[Path, Path], scratch: Path) -> Iterator[dict[str, Any]]:
    """Largest differences of each way from the base, in units of rounding, and how many ranks and top tokens differ."""
    base, largest_logit = in_a_fresh_process("base", model, scratch)
    unit = EPSILON * largest_logit
    for name in ways:
        other, _ = in_a_fresh_process(name, model, scratch)
        ours = base if len(other) == len(base) else base[base["protocol"] == "raw"].reset_index(drop=True)
        pd.testing.assert_frame_equal(ours[KEYS], other[KEYS])
        row: dict[str, Any] = {"way": WAYS[name].says if name in WAYS else f"fast arithmetic, {name}"}
        for column in (column for column in STATISTICS if column in other):
            row[column] = (ours[column].astype(float) - other[column]).abs().max() / unit
        for column in (column for column in DISCRETE if column in other):
            row[f"other {column}"] = f"{(ours[column] != other[column]).sum()} of {len(ours)}"
        yield row | {"largest |logit|": largest_logit}


def main(models: list[str], processors: list[str]) -> None:
    """Prints a table for each model."""
    for model in models:
        with tempfile.TemporaryDirectory() as scratch:
            print(f"\n{model}", flush=True)
            rows = list(differences([*WAYS, *processors], folders(model, Path(scratch)), Path(scratch)))
            print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format, na_rep=""), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        _, _, way, model, lens, file = sys.argv
        pd.to_pickle(measured({"base": BASE, **WAYS}[way], Path(model), Path(lens)), file)
    else:
        main(sys.argv[1:2] or list(MODELS), sys.argv[2:])
