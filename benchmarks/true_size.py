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
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from loopback_hub import LoopbackHub  # noqa: E402
from random_model import write_hub  # noqa: E402

MODEL = "gpt2-xl"
SAMPLE_SECONDS = 0.5
GB = 1e9


class Memory(threading.Thread):
    """Samples the memory of a process and all below it, from /proc/<pid>/smaps_rollup.

    Pss counts a page shared by n processes as 1/n in each, so sums count shared pages once.
    """

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.stopped = root, threading.Event()
        self.sum_peak: dict[str, int] = defaultdict(int)
        self.process_peak: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        while not self.stopped.wait(SAMPLE_SECONDS):
            sums: dict[str, int] = defaultdict(int)
            for process in descendants(self.root):
                for name, value in rollup(process).items():
                    sums[name] += value
                    self.process_peak[name] = max(self.process_peak[name], value)
            for name, value in sums.items():
                self.sum_peak[name] = max(self.sum_peak[name], value)


def descendants(root: int) -> list[int]:
    """A process and all below it."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children[int(stat.rsplit(")", 1)[1].split()[1])].append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children[found[-1]]
    return found


def rollup(process: int) -> dict[str, int]:
    """Rss, Pss, Pss_Anon and Pss_File of one process, in bytes."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    values = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    return {name: values.get(name, 0) for name in ("Rss", "Pss", "Pss_Anon", "Pss_File")}


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
            model=shape | {"heads": 25, "context": 1024, "scale": 0.02},
            lens=shape | {"scale": 1e-3},
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
        environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "home")}
        command = [Path(sys.executable).parent / "snakemake", "--cores", cores, "--directory", work]
        command += ["--snakefile", REPOSITORY / "Snakefile", "--quiet", "rules", "progress", "--configfile", mine]
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, cwd=work)
        memory = Memory(process.pid)
        memory.start()
        status = process.wait()
        memory.stopped.set()
    wall = time.monotonic() - began
    if status:
        sys.exit(f"error: the workflow failed with status {status}")
    print(f"\nwhole workflow, {cores} cores asked for, {os.cpu_count()} there: {wall:.0f} s")
    for name in ("Pss", "Pss_Anon", "Pss_File"):
        together, one = memory.sum_peak[name] / GB, memory.process_peak[name] / GB
        print(f"peak {name:9} in sum {together:6.2f} GB, one process {one:6.2f} GB")
    for table in sorted(work.glob("logs/**/*.benchmark.tsv")):
        seconds, *_ = table.read_text().splitlines()[1].split("\t")
        print(f"{table.relative_to(work / 'logs')!s:60} {float(seconds):7.1f} s")


if __name__ == "__main__":
    main()
