"""The first run on GPT-2 XL, rehearsed on random weights whose activations have its sizes.

    make rehearsal                                            at GPT-2 XL's size: 22 GB of scratch files
    python benchmarks/rehearsal.py --width 192 --heads 6      small

A copy of this checkout in a scratch folder, a git repository of its own, takes the weights from a hub on the loopback
interface, under the name and in the layout of the real ones. Published sets are made for these weights, by two threads
in fast arithmetic. Then: `snakemake pin` as docs/first-run.md has it; all results deleted, and the run repeated, which
must have the same bits; and once more in fast arithmetic, which must stay within the tolerance. Each run's time and
memory are printed. The scratch folder is deleted. The numbers mean nothing: they stand in for size, not for GPT-2 XL.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import processes
import yaml
from contenders import HASHES

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from loopback_hub import LoopbackHub  # noqa: E402
from repository_copy import copied  # noqa: E402

from replication.engine import numerics  # noqa: E402

MODEL = "gpt2-xl"
SETS = f"replication/verification/published_numbers/{MODEL}.json"
NOTE = "This is a rehearsal on random weights: nothing here is a number of GPT-2 XL."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1600, help="d_model (default: 1600)")
    parser.add_argument("--heads", type=int, default=25, help="attention heads (default: 25)")
    parser.add_argument("--cores", default="4", help="jobs at once (default: 4)")
    parser.add_argument("--no-controls", action="store_true", help="without random vectors, more prompts and sweep")
    parser.add_argument("--scratch", type=Path, help="folder for the scratch files (default: a temporary one)")
    arguments = parser.parse_args()
    numerics.prepare("fast", threads=2)
    scratch = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=arguments.scratch))
    try:
        checkout = prepared(scratch, arguments.width, arguments.heads, not arguments.no_controls)
        rehearse(scratch, checkout, arguments.cores)
    finally:
        shutil.rmtree(scratch)


def prepared(scratch: Path, width: int, heads: int, controls: bool) -> Path:
    """Weights, published sets made for them, and a checkout that has both; returns the checkout."""
    from random_model import write_hub
    from rehearsal_weights import Shape, write_lens, write_model

    checkout = copied(scratch / "checkout")
    config = yaml.safe_load((checkout / "config.yaml").read_text())
    shape = Shape(d_model=width, heads=heads)
    say(f"writing random weights to {scratch / 'hub'}")
    model, lens = partial(write_model, shape=shape), partial(write_lens, shape=shape, name=MODEL)
    pins = write_hub(scratch / "hub", config["models"][MODEL], model, lens)
    config["models"][MODEL] = pins | {"note": NOTE}
    if not controls:
        config["controls"] |= {"random_vectors": 0, "more_prompts": False, "sweep": False}
    (checkout / "config.yaml").write_text(json.dumps(config))
    say("measuring the published sets on them, two threads, fast arithmetic")
    publish(scratch / "hub", checkout / SETS, pins)
    (checkout / ".gitignore").write_text(
        "/results/\n/figures/\n/report/\n/resources/\n/logs/\n.snakemake/\n__pycache__/\n"
    )
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", NOTE]):
        author = ["-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.org"]
        subprocess.run(["git", *author, *command], cwd=checkout, check=True)
    return checkout


def publish(hub: Path, file: Path, pins: dict[str, Any]) -> None:
    """Gives the published sets the numbers of these weights, and says how far the real ones' norms are from them."""
    import numpy as np

    from replication.engine.loaded import load
    from replication.engine.published_values import measured_sets
    from replication.verification.published_sets import LENS, WEIGHTS, published_sets
    from replication.weights.model_files import Files

    folders = hub / pins["weights"]["repo"], hub / "spaces" / pins["lens"]["repo"] / pins["lens"]["path"]
    sets = published_sets(MODEL)
    measured = measured_sets(load(Files(MODEL, *folders, HASHES)), sets)
    ratios = [
        (ours / check.expected).ravel()
        for each in sets
        for check, ours in zip(each.checks, measured[each.name].values, strict=True)
        if check.kind == "residual_norms"
    ]
    low, middle, high = np.percentile(np.concatenate(ratios), [5, 50, 95])
    say(f"norms of the residual stream: {middle:.2f} of GPT-2 XL's published ones (5 to 95 %: {low:.2f} to {high:.2f})")
    contents = json.loads(file.read_text())
    contents["sha256"] = {
        WEIGHTS: pins["weights"]["sha256"]["model.safetensors"],
        LENS: pins["lens"]["sha256"]["params.pt"],
    }
    for entry in contents["sets"]:
        for check, ours in zip(entry["checks"], measured[entry["name"]].values, strict=True):
            check["expected"] = ours.tolist()
    file.write_text(json.dumps(contents))


def rehearse(scratch: Path, checkout: Path, cores: str) -> None:
    """The first run, a second one, and one in fast arithmetic."""
    with LoopbackHub(scratch / "hub") as hub:
        run = partial(snakemake, checkout, cores, {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "home")})
        run("the first run", "pin")
        print_steps(checkout)
        for folder in ("results", "figures", "report"):
            shutil.rmtree(checkout / folder)
        run("a second run of everything", "verify")
        verdict(checkout, exact=True)
        run("the same in fast arithmetic", "verify", "--config", "numerics=fast")
        verdict(checkout, exact=False, run="config/")


def snakemake(checkout: Path, cores: str, environment: dict[str, str], says: str, *arguments: str) -> None:
    say(f"{says}: snakemake --cores {cores} {' '.join(arguments)}")
    command = [Path(sys.executable).parent / "snakemake", *arguments, "--cores", cores]
    command += ["--quiet", "rules", "reason", "host"]
    took = processes.run(command, processes.resident, environment, checkout)
    together, one = took.together["RssAnon"] / 1e9, took.one["RssAnon"] / 1e9
    say(f"{says}: {took.wall:.0f} s; memory of its own at most {together:.1f} GB together, {one:.1f} GB one process")
    if took.status:
        sys.exit(f"error: {says} ended with status {took.status}")


def print_steps(checkout: Path) -> None:
    """Prints the time of each step, as Snakemake measured it."""
    for log in sorted(checkout.glob("logs/**/*.benchmark.tsv")):
        seconds = float(log.read_text().splitlines()[1].split("\t")[0])
        step = str(log.relative_to(checkout / "logs" / MODEL)).removesuffix(".benchmark.tsv")
        print(f"    {step:40} {seconds:7.1f} s", flush=True)


def verdict(checkout: Path, exact: bool, run: str = "") -> None:
    """Ends where the pins do not agree, or were compared in another way than they should be; `run` is its folder."""
    verification = json.loads((checkout / f"results/{MODEL}/{run}verification.json").read_text())
    pins = {name: checks["pins"] for name, checks in verification["experiments"].items()}
    if not all(pin["status"] == "agrees" and pin["exact"] == exact for pin in pins.values()):
        sys.exit(f"error: the pins should agree, {'bit for bit' if exact else 'within the tolerance'}: {pins}")
    if verification["published"]["status"] != "agrees":
        sys.exit(f"error: the published sets should agree: {verification['published']}")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    main()
