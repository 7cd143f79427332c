"""What compare.py compares: command lines that make the same tables of the four experiments from the same weights."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

from replication.base import paths

REPOSITORY = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
MODEL = "random"
PLAIN = "plain loop"
LONGEST = "conspiracy"
"""The experiment with the longest prompt."""

HASHES = dict.fromkeys(("model/config.json", "model/model.safetensors", "model/tokenizer.json"), "")
"""Files of random weights, by name, whose hashes nobody asks for."""

SHAPES = {
    "xl": {"layers": 48, "d_model": 1600, "heads": 25},
    "small": {"layers": 12, "d_model": 768, "heads": 12},
}


class Contender(NamedTuple):
    """One of the things compared."""

    command: list
    tables: Path
    """Folder of its tables, one folder per experiment."""
    experiments: list[str]
    """The experiments that it measures."""


class Place(NamedTuple):
    """Where a comparison reads and writes."""

    model: Path
    lens: Path
    work: Path
    """Working directory of all runs; ours find the verified weights in it."""
    experiments: dict
    """The four experiments, by name."""


def place(scratch: Path, size: str) -> Place:
    """Random weights of a size under `scratch`, written if they are not there, and the experiments to run on them."""
    model, lens, work = scratch / size, scratch / f"{size}-lens", scratch / f"{size}-work"
    shape = SHAPES[size]
    if not model.exists() or not lens.exists():
        sys.path.insert(0, str(REPOSITORY / "tests"))
        from random_model import write_lens, write_model

        print(f"writing random weights to {model} and {lens}", flush=True)
        write_model(model, context=1024, scale=0.02, **shape)
        write_lens(lens, layers=shape["layers"], d_model=shape["d_model"], scale=1e-3)
    experiments = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["experiments"]
    for steering in (experiment["steering"] for experiment in experiments.values()):
        # The post's layers are of 48: in a smaller model, the same part of the way up.
        steering["layer"] = steering["layer"] * shape["layers"] // steering["scaled_from"]
        # Said, not left out: the workflow merges these experiments over those of config.yaml.
        steering["scaled_from"] = shape["layers"]
    work.mkdir(exist_ok=True)
    found = Place(model.resolve(), lens.resolve(), work.resolve(), experiments)
    (work / "experiments.json").write_text(json.dumps(experiments))
    note = "Random weights: they stand in for size, the numbers mean nothing."
    models = {MODEL: {"note": note, "folder": str(found.model), "lens_folder": str(found.lens)}}
    (work / "mine.yaml").write_text(json.dumps({"model": MODEL, "models": models, "experiments": experiments}))
    return found


def workflow(found: Place, targets: list[str], *options: str) -> list:
    """The command that runs this package's workflow for some files."""
    command = [SNAKEMAKE, "--snakefile", REPOSITORY / "Snakefile", "--directory", found.work, "--quiet", "all"]
    return [*command, "--configfile", found.work / "mine.yaml", *options, "--", *targets]


def contenders(found: Place, mode: str, threads: int) -> dict[str, Contender]:
    """Everything that is compared, by name, the plain loop first."""
    names = list(found.experiments)
    experiments = found.work / "experiments.json"
    ours, arithmetic = found.work / "results" / MODEL, ["--numerics", mode, "--threads", threads]
    files = [found.model, found.lens, experiments]
    settings = json.dumps(found.experiments[LONGEST])
    measure = [sys.executable, "-m", "replication", "step", "measure", MODEL, LONGEST, "--settings", settings]
    losses = [paths.LOSSES.format(model=MODEL, experiment=name) for name in names]
    options = ("--cores", "4", "--config", f"numerics={mode}")
    plain = found.work / "plain"
    return {
        PLAIN: Contender([sys.executable, HERE / "plain_loop.py", *files, plain], plain, names),
        "ours, one process": Contender(
            [sys.executable, HERE / "ours.py", MODEL, experiments, *arithmetic], ours, names
        ),
        f"ours, {LONGEST} alone": Contender([*measure, *arithmetic, "--device", "cpu"], ours, [LONGEST]),
        "ours, workflow of 4 jobs": Contender(workflow(found, losses, *options), ours, names),
    }
