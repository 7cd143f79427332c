"""Proves that the workflow runs on Slurm as it does locally, on a real Slurm on this machine.

    apt-get install slurm-wlm munge
    .venv/bin/python -m pip install --editable '.[slurm]'
    .venv/bin/python tests/slurm/prove.py               the whole demo
    .venv/bin/python tests/slurm/prove.py --sweep-jobs 4 sweep all     two targets, sweeps in four parts

Every target is run locally and through profiles/slurm, each in a folder of its own; the first measuring job on Slurm
is killed once. It fails unless that job was tried again and every file is the same, byte for byte.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from cluster import slurm

REPOSITORY = Path(__file__).resolve().parents[2]
# What says when and where a run was made differs between runs by its purpose.
VARIES = {"provenance.json", "ro-crate-metadata.json"}
KILLED_RULE = "measure"
# By Slurm's clock: the node's snakemake has started the step, which takes longer than this on any machine we know.
KILLED_AFTER = "00:00:04"


def main() -> None:
    """Runs the targets both ways and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=["all"], help="targets of the workflow")
    parser.add_argument("--sweep-jobs", type=int, default=1, help="parts that every sweep is split into")
    arguments = parser.parse_args()
    targets = arguments.targets
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    # In a file: Snakemake reads all that is nested on its command line as text.
    (folder / "settings.yaml").write_text(f"model: miniature\ncontrols: {{sweep_jobs: {arguments.sweep_jobs}}}\n")
    settings = ("--configfile", str(folder / "settings.yaml"))
    print(f"working in {folder}, which is deleted if all goes well", flush=True)
    local = {
        target: snakemake(folder / "local", target, *settings, "--cores", str(os.cpu_count())) for target in targets
    }
    killer = Killer()
    with slurm(folder / "slurm"):
        killer.start()
        remote = {target: snakemake(folder / "remote", target, *settings, *SLURM) for target in targets}
        killer.stopped.set()
        print_jobs(folder / "remote")
    for target in targets:
        print(f"{target}: {local[target][0]:.0f} s locally, {remote[target][0]:.0f} s on Slurm")
    files = compare(folder / "local", folder / "remote")
    print(f"{files} files are the same, byte for byte")
    if killer.killed is None or not any("Trying to restart job" in log for _, log in remote.values()):
        raise SystemExit("error: no killed job was tried again")
    print(f"Slurm's job {killer.killed} was killed and tried again")
    shutil.rmtree(folder)


SLURM = ("--profile", str(REPOSITORY / "profiles" / "slurm"))


def snakemake(folder: Path, target: str, *arguments: str) -> tuple[float, str]:
    """Runs one target on the miniature; seconds and what was said."""
    command = [sys.executable, "-m", "snakemake", target, *arguments, "--directory", str(folder)]
    command += ["--snakefile", str(REPOSITORY / "Snakefile")]
    folder.mkdir(exist_ok=True)
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nerror: {target} failed in {folder}")
    return time.monotonic() - start, done.stdout


class Killer(threading.Thread):
    """Kills the first measuring job that runs, once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.killed: str | None = None

    def run(self) -> None:
        """Asks Slurm twice a second."""
        while not self.stopped.wait(0.5):
            running = [job for job in jobs() if job["JobState"] == "RUNNING" and KILLED_RULE in job.get("Comment", "")]
            ripe = [job["JobId"] for job in running if job["RunTime"] >= KILLED_AFTER]
            if ripe:
                subprocess.run(["scancel", "--full", "--signal=KILL", ripe[0]], check=True)
                self.killed = ripe[0]
                return


def jobs() -> list[dict[str, str]]:
    """All jobs that Slurm remembers."""
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=False)
    return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.stdout.splitlines() if line.startswith("JobId=")]


def print_jobs(folder: Path) -> None:
    """What each of Slurm's jobs was and took, beside the seconds of the step itself where they were measured."""
    print(f"{'job':>4} {'waited':>7} {'ran':>5} {'step':>6}  state, rule")
    for job in jobs():
        submitted, start, end = (datetime.fromisoformat(job[key]) for key in ("SubmitTime", "StartTime", "EndTime"))
        waited, ran = (start - submitted).total_seconds(), (end - start).total_seconds()
        name = job.get("Comment", "").removeprefix("rule_")
        print(
            f"{job['JobId']:>4} {waited:5.0f} s {ran:3.0f} s {step_seconds(folder, name):>6}  {job['JobState']}, {name}"
        )


def step_seconds(folder: Path, name: str) -> str:
    """Seconds of the step by Snakemake's own benchmark; empty for a group, and for a step that measures none."""
    rule, _, wildcards = name.partition("_wildcards_")
    for file in folder.glob("logs/**/*.benchmark.tsv"):
        # logs/<model>/<experiment>/sweep-<part>-of-<parts>.benchmark.tsv is of sweep_part, with four wildcards.
        step, *numbers = re.split("-of-|-", file.name.split(".")[0])
        if rule.startswith(step) and wildcards == "_".join([*file.relative_to(folder / "logs").parent.parts, *numbers]):
            return f"{float(file.read_text().splitlines()[1].split()[0]):.1f}"
    return ""


def compare(local: Path, remote: Path) -> int:
    """Compares all outputs; their number."""
    outputs = [
        {
            file.relative_to(folder): file.read_bytes()
            for part in ("results", "figures", "report")
            for file in (folder / part).rglob("*")
            if file.is_file() and file.name not in VARIES
        }
        for folder in (local, remote)
    ]
    differ = [str(name) for name in sorted(outputs[0] | outputs[1]) if outputs[0].get(name) != outputs[1].get(name)]
    if differ or not outputs[0]:
        raise SystemExit(f"error: local and Slurm differ in {', '.join(differ) or 'everything: there are no files'}")
    return len(outputs[0])


if __name__ == "__main__":
    main()
