"""The whole workflow at GPT-2 XL's true size, on random weights from a loopback hub: time and memory.

    make true-size

Writes a random GPT-2 XL and lens in the true formats (about 7 GB) to a scratch folder, serves them on 127.0.0.1, runs
`snakemake` on them by the production path (HF_ENDPOINT only) and prints what it took. The scratch folder is deleted.
Its losses mean nothing: random weights stand in for size, never for GPT-2 XL's numbers.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

import processes  # noqa: E402
from loopback_hub import LoopbackHub  # noqa: E402
from random_model import write_hub, write_lens, write_model  # noqa: E402

MODEL = "gpt2-xl"
GB = 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", default="4", help="jobs at once (default: 4)")
    parser.add_argument("--scratch", type=Path, help="folder for the 14 GB of scratch files (default: a temporary one)")
    arguments = parser.parse_args()
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    scratch = Path(tempfile.mkdtemp(prefix="true-size-", dir=arguments.scratch))
    try:
        print(f"Writing a random GPT-2 XL and lens to {scratch}", flush=True)
        shape = {"layers": 48, "d_model": 1600, "name": MODEL}
        pins = write_hub(
            scratch / "hub",
            config["models"][MODEL],
            partial(write_model, **shape, heads=25, context=1024, scale=0.02),
            partial(write_lens, **shape, scale=1e-3),
        )
        mine = scratch / "random.yaml"
        note = {"note": "Random weights of GPT-2 XL's size: the numbers mean nothing."}
        mine.write_text(json.dumps({"models": {MODEL: pins | note}}))
        run(scratch, mine, arguments.cores)
    finally:
        shutil.rmtree(scratch)


def run(scratch: Path, mine: Path, cores: str) -> None:
    """Runs the workflow, download included, and prints what it took."""
    work = scratch / "work"
    work.mkdir()
    with LoopbackHub(scratch / "hub") as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "home")}
        command = [Path(sys.executable).parent / "snakemake", "--cores", cores, "--directory", work]
        command += ["--snakefile", REPOSITORY / "Snakefile", "--quiet", "rules", "progress", "--configfile", mine]
        took = processes.run(command, processes.resident, environment, work)
    if took.status:
        sys.exit(f"error: the workflow failed with status {took.status}")
    print(f"\nwhole workflow, {cores} cores asked for, {os.cpu_count()} there: {took.wall:.0f} s")
    together, one = took.together["RssAnon"] / GB, took.one["RssAnon"] / GB
    print(f"peak anonymous memory in sum {together:.2f} GB, of one process {one:.2f} GB")
    for table in sorted(work.glob("logs/**/*.benchmark.tsv")):
        seconds, *_ = table.read_text().splitlines()[1].split("\t")
        print(f"{table.relative_to(work / 'logs')!s:60} {float(seconds):7.1f} s")


if __name__ == "__main__":
    main()
