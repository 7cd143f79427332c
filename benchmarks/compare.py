"""Time and memory of this package against a plain loop that does the same work, on random weights of GPT-2 XL's size.

    make compare

Runs everything of contenders.py as processes of their own, one after another in rounds, with the same numerics settings
and threads; before the rounds once each for memory and for the tables, which must be the same. Figures go to a JSON
file; rounds are added to those in it. Timings want a machine that does nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

import processes
from agreement import CLOSE, apart
from contenders import MODEL, PLAIN, REPOSITORY, SHAPES, Contender, Place, contenders, place, workflow

from replication.base import paths
from replication.base.config import FAST, PORTABLE
from replication.engine import numerics

GB = 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for weights (7 GB, kept) and tables")
    parser.add_argument("--size", choices=SHAPES, default="xl", help="GPT-2 XL's, or GPT-2 small's for a quick look")
    parser.add_argument("--numerics", choices=(PORTABLE, FAST), default=PORTABLE)
    parser.add_argument("--threads", type=int, default=2, help="threads of every process but the workflow's jobs")
    parser.add_argument("--runs", type=int, default=3, help="rounds to add")
    arguments = parser.parse_args()
    found = place(arguments.scratch, arguments.size)
    compared = contenders(found, arguments.numerics, arguments.threads)
    file = found.work / f"compare-{arguments.numerics}-{arguments.threads}.json"
    figures = json.loads(file.read_text()) if file.exists() else {}
    for name in numerics.SETTINGS:
        os.environ.pop(name, None)
    environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    environment |= numerics.SETTINGS if arguments.numerics == PORTABLE else {}
    verified = workflow(found, [paths.VERIFIED.format(model=MODEL)], "--cores", "1")
    run(found, "verifying", verified, processes.resident, environment)
    for name, contender in compared.items():
        if name not in figures:
            took = run(found, name, contender.command, processes.proportional, environment)
            figures[name] = {"memory": took.together, "largest": took.one, "walls": [], "cpus": [], "anonymous": []}
            figures[name] |= agreement(compared[PLAIN], contender)
            file.write_text(json.dumps(figures, indent=2))
    for _ in range(arguments.runs):
        for name, contender in compared.items():
            took = run(found, name, contender.command, processes.resident, environment)
            figures[name]["walls"].append(took.wall)
            figures[name]["cpus"].append(took.cpu)
            figures[name]["anonymous"].append(took.together["RssAnon"])
        file.write_text(json.dumps(figures, indent=2))
    print_table(figures)
    print(f"\n{file}")


def run(
    found: Place, name: str, command: list, sample: processes.Sample, environment: dict[str, str]
) -> processes.Took:
    """Runs one contender from nothing; ends the comparison if it fails."""
    shutil.rmtree(found.work / "results", ignore_errors=True)
    with (found.work / "log").open("w+", encoding="utf-8") as log:
        took = processes.run(command, sample, environment, found.work, log)
        if took.status:
            log.seek(0)
            sys.exit(f"error: {name} ended with status {took.status}\n{log.read()}")
    print(f"{name:26} {took.wall:7.1f} s wall {took.cpu:7.1f} s CPU", flush=True)
    return took


def agreement(plain: Contender, contender: Contender) -> dict[str, float]:
    """The largest difference from the plain loop's tables; ends the comparison if that is no rounding."""
    if contender is plain:
        return {}
    worst = max(apart(contender.tables / name, plain.tables / name) for name in contender.experiments)
    print(f"    largest difference from the plain loop {worst.largest:.1e} ({worst.where});")
    print(f"    {worst.other} of {worst.cells} ranks and tokens are others")
    if worst.largest > CLOSE:
        sys.exit(f"error: more than {CLOSE}: this is another calculation")
    return {"difference": float(worst.largest)}


def print_table(figures: dict) -> None:
    """Medians over the rounds, and what they are of the plain loop's."""
    print(f"\n{'medians':26} rounds  wall s  of plain   CPU s  of plain  own GB  PSS GB  mapped GB  differs by")
    plain = figures[PLAIN]
    for name, found in figures.items():
        if not found["walls"]:
            continue
        wall, cpu = statistics.median(found["walls"]), statistics.median(found["cpus"])
        of_wall, of_cpu = wall / statistics.median(plain["walls"]), cpu / statistics.median(plain["cpus"])
        own, pss = max(found["anonymous"]) / GB, found["memory"]["Pss"] / GB
        mapped, differs = found["memory"]["Pss_File"] / GB, found.get("difference", 0)
        print(
            f"{name:26} {len(found['walls']):6} {wall:7.1f} {of_wall:8.2f}x {cpu:7.1f} {of_cpu:8.2f}x "
            f"{own:7.2f} {pss:7.2f} {mapped:10.2f}  {differs:9.1e}"
        )


if __name__ == "__main__":
    main()
