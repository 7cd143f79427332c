"""How far the miniature's numbers differ between ways of computing them that should not matter.

    python tests/differences.py       prints the table; each way is a process of its own

The base is what a job of the workflow does: one thread, portable arithmetic, our own forward, unsteered and
steered in one batch, in a fresh process.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from replication.base.config import FAST, PORTABLE, checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.engine.numerics import prepare

MODEL = "miniature"
STATISTICS = ("loss", "entropy", "kl_to_output", "top_probability")
DISCRETE = ("rank", "top_id")


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


BASE = Way("a fresh process, as a job does")
WAYS = {
    "fresh": Way("another fresh process"),
    "long_lived": Way("a process that has measured everything twice before", before=2),
    "two_threads": Way("2 threads", threads=2),
    "single_sdpa": Way("transformers' forward, one sequence at a time, sdpa", attention="sdpa"),
    "single_eager": Way("transformers' forward, one sequence at a time, eager", attention="eager"),
    "batch_eager": Way("transformers' forward, both conditions in one batch, eager", attention="eager", batch=True),
    "fast": Way("fast arithmetic instead of portable", mode=FAST),
    "fast_two_threads": Way("fast arithmetic, 2 threads", mode=FAST, threads=2),
}


def measured(way: Way) -> pd.DataFrame:
    """Losses of all experiments, in this process; nothing may have imported torch before."""
    prepare(way.mode, way.threads)
    from replication.engine import measure
    from replication.engine.loaded import load
    from replication.weights import obtain as weights

    config = checked(read_yaml(REPOSITORY / "config.yaml"))
    with tempfile.TemporaryDirectory() as scratch:
        files = weights.obtain(MODEL, config.models[MODEL], Path(scratch), Path(scratch) / "hashes.json")
    loaded = load(files)
    if way.attention:
        measure.both_streams = lambda _, ids, vector: plain_streams(files.folder, ids, vector, way)
    order = list(config.experiments) * way.before
    for name in reversed(order):
        measure.measure(loaded, config.experiments[name])
    tables = {name: measure.measure(loaded, experiment).losses for name, experiment in config.experiments.items()}
    return pd.concat(tables, names=["experiment"]).reset_index(level=0)


def plain_streams(folder: Path, ids: list[int], vector: Any, way: Way) -> Any:
    """What `both_streams` gives, by transformers' own forward with hooks."""
    import torch
    from transformers import GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel.from_pretrained(folder, attn_implementation=way.attention).eval()
    both = [[False, True]] if way.batch else [[False], [True]]
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


def in_a_fresh_process(name: str, folder: Path) -> pd.DataFrame:
    """The losses of a way, or of the base, from a process of its own."""
    file = folder / f"{name}.pickle"
    subprocess.run([sys.executable, __file__, name, str(file)], check=True, cwd=REPOSITORY)
    return pd.read_pickle(file)


def differences(ways: list[str], folder: Path) -> pd.DataFrame:
    """Largest differences of each way from the base, in nats (probabilities without a unit), and numbers of others."""
    base = in_a_fresh_process("base", folder)
    rows = []
    for name in ways:
        other = in_a_fresh_process(name, folder)
        keys = ["experiment", "protocol", "condition", "layer", "position", "target_id"]
        pd.testing.assert_frame_equal(base[keys], other[keys])
        row: dict[str, Any] = {"way": WAYS[name].says, "cells": len(base)}
        row |= {column: (base[column].astype(float) - other[column]).abs().max() for column in STATISTICS}
        rows.append(row | {f"other {column}": (base[column] != other[column]).sum() for column in DISCRETE})
    return pd.DataFrame(rows, index=ways)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measured({"base": BASE, **WAYS}[sys.argv[1]]).to_pickle(sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as folder:
            print(differences(list(WAYS), Path(folder)).to_string(index=False, float_format="{:.1e}".format))
