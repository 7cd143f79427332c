"""Kills runs of the workflow at random moments and goes on: what stands in the end equals an undisturbed run's.

    python tests/kills.py             the long form: 5 rounds of 6 kills, one in every stage (make kills)

Every round starts in an empty folder, kills one run per stage, each time runs the same command again, and lets the
last one end. The model is the embedded miniature, downloaded from a hub on the loopback interface that stalls; there
are two experiments. After every kill, whatever has its final name must be whole. Everything random follows from the
seed, but for the machine's own speed.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from loopback_hub import LoopbackHub
from repository_copy import copied

from replication.base.hashes import digest_of
from replication.base.paths import CRATE, HASHES, PROVENANCE, REPOSITORY, STATES, path
from replication.base.strict_yaml import read_yaml

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
MODEL = "miniature"
EXPERIMENTS = ("love_hate", "anger")
COMMIT = "0" * 40

STAGES = {
    "start": "",
    "download": "",
    "measuring": "measure of",
    "judging": "second_opinion of|published_values of|controls of",
    "drawing": "figures of",
    "report": "report of",
}
"""A run's stages and the lines by which Snakemake announces them: a start has none, a download is seen at the hub."""

SECONDS = {"start": 4.0, "download": 4.0, "measuring": 8.0, "judging": 8.0, "drawing": 12.0, "report": 4.0}
"""The kill comes at a random moment of so many seconds from there."""

KINDS = ("plug", "interrupt", "snakemake alone")
"""SIGKILL to all processes; SIGINT to all, as Ctrl-C does; SIGKILL to Snakemake, whose jobs go on."""

# Two of the post's experiments are not its four: such a run has a folder of the configuration file's name.
RUN = f"{MODEL}/config"
VARYING = {str(path(PROVENANCE, RUN)), str(path(CRATE, RUN)), str(path(STATES, MODEL)), HASHES}
"""Files that differ from run to run; that they parse is all that can be asked."""


@dataclass
class Place:
    """A copy of the repository with two experiments, a folder to run in, and a hub."""

    folder: Path
    hub: LoopbackHub
    targets: tuple[str, ...] = ()
    """What is asked for; nothing: the whole workflow."""
    said: Counter[str] = field(default_factory=Counter)
    """How often the next run reported that it removed a lock, or asked for --unlock."""

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """The one command."""
        command = [SNAKEMAKE, *self.targets, "--cores", "2", *options]
        command += ["--snakefile", self.folder / "repository" / "Snakefile", "--directory", self.work]
        environment = {
            **os.environ, "HF_ENDPOINT": self.hub.endpoint, "HF_HOME": str(self.folder / "home"),
            "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "NO_COLOR": "1",
        }  # fmt: skip
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


class Run:
    """A run under way, and what it has printed."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.process = place.start()
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def reached(self, stage: str) -> bool:
        """Whether the run has come to a stage."""
        if stage == "download":
            return any(request.sent > 0 for request in self.place.hub.gets("model.safetensors"))
        return any(line in self.text for line in STAGES[stage].split("|"))

    def wait(self, until: Callable[[], bool] = lambda: False, seconds: float = 600) -> bool:
        """Waits until something is so, and says whether it is; False when the run ends or time is up before."""
        end = time.monotonic() + seconds
        while not until():
            if self.process.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def ended(self) -> int:
        """The exit status, once the run has ended."""
        status = self.process.wait(600)
        self._reader.join(60)
        return status

    def kill(self, kind: str) -> None:
        """Ends the run the hard way."""
        if kind == "snakemake alone":
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL if kind == "plug" else signal.SIGINT)
        self.process.wait(120)

    def jobs_ended(self) -> None:
        """Waits for jobs that outlived their Snakemake."""
        end = time.monotonic() + 300
        while time.monotonic() < end:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
        raise AssertionError(f"a job outlived its run by 300 seconds:\n{self.text}")


def prepared(folder: Path, targets: tuple[str, ...] = ()) -> Place:
    """A place to run in: the repository's code, two of its experiments, the miniature at the hub."""
    repository = copied(folder / "repository")
    config = read_yaml(repository / "config.yaml")
    sources = {"weights": ("model", "owner/miniature", "model"), "lens": ("lens", "spaces/owner/lenses", "space")}
    pins: dict[str, object] = {"note": config["models"][MODEL]["note"]}
    for key, (name, place, kind) in sources.items():
        files = shutil.copytree(REPOSITORY / "replication" / "miniature" / name, folder / "hub" / place)
        hashes = {file.name: digest_of(file) for file in sorted(files.iterdir())}
        repo = place.removeprefix("spaces/")
        pins[key] = {"repo": repo, "repo_type": kind, "revision": COMMIT, "sha256": hashes}
    experiments = {name: config["experiments"][name] for name in EXPERIMENTS}
    controls = {"random_vectors": 5, "sweep": False}
    config |= {"model": MODEL, "models": {MODEL: pins}, "experiments": experiments, "controls": controls}
    (repository / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return Place(folder, LoopbackHub(folder / "hub"), targets)


def outputs(work: Path) -> dict[str, str]:
    """SHA-256 of every file that has its final name; hidden ones are temporary, and logs are not results."""
    digests = {}
    for top in ("results", "figures", "report", "resources"):
        for file in sorted((work / top).rglob("*")):
            name = str(file.relative_to(work))
            try:
                if file.name.startswith(".") or not file.is_file():
                    continue
                if name in VARYING:
                    json.loads(file.read_text())
                digests[name] = "" if name in VARYING else digest_of(file)
            except FileNotFoundError:
                continue  # A job that still runs has just taken it away.
    return digests


def undisturbed(place: Place) -> dict[str, str]:
    """What a run leaves that nobody kills."""
    run = Run(place)
    assert run.ended() == 0, run.text
    whole = outputs(place.work)
    shutil.rmtree(place.work)
    return whole


def killed(place: Place, stage: str, kind: str, chance: random.Random) -> Run:
    """A run that was killed in `stage`; one that ends before its moment is undone, and killed earlier."""
    place.hub.requests.clear()
    if stage == "download":
        place.hub.fault("model.safetensors", "stall", times=2, after=chance.randrange(1, 9_000_000))
    seconds = chance.uniform(0, SECONDS[stage])
    while True:
        run = arrived(place, stage)
        run.wait(seconds=seconds)
        if run.process.poll() is None:
            break
        undo(place, stage)
        seconds /= 2
    run.kill(kind)
    note(place, run)
    return run


def arrived(place: Place, stage: str) -> Run:
    """A run that has come to a stage; one that the lock of an earlier one stops is unlocked and started again."""
    run = Run(place)
    if run.wait(lambda: run.reached(stage)):
        return run
    if run.ended() == 0:
        undo(place, stage)  # An earlier run was past the stage when it was killed, or its jobs went on.
    else:
        unlocked(place, run)
    run = Run(place)
    assert run.wait(lambda: run.reached(stage)), f"{stage} was not reached:\n{run.text}"
    return run


def undo(place: Place, stage: str) -> None:
    """Removes what the stages from `stage` on have made, and some before it."""
    for top in ("results", "figures", "report", *(["resources"] if stage == "download" else [])):
        shutil.rmtree(place.work / top, ignore_errors=True)


def unlocked(place: Place, run: Run) -> None:
    """Runs `snakemake --unlock`, which a run has asked for."""
    assert run.ended() != 0, f"ended before the stage:\n{run.text}"
    assert "--unlock" in run.text, run.text
    place.said["asked for --unlock"] += 1
    assert place.start("--unlock").wait(120) == 0


def finished(place: Place) -> Run:
    """The same command again, to its end."""
    run = Run(place)
    if run.ended():
        unlocked(place, run)
        run = Run(place)
        assert run.ended() == 0, run.text
    note(place, run)
    return run


def note(place: Place, run: Run) -> None:
    place.said["removed a dead run's lock by itself"] += "its lock is removed" in run.text


def compared(digests: dict[str, str], whole: dict[str, str], after: str) -> None:
    """Asserts that every file is what an undisturbed run makes."""
    wrong = [name for name, digest in digests.items() if whole.get(name) != digest]
    assert not wrong, f"after {after}: not as in an undisturbed run: {wrong}"


def one_round(place: Place, whole: dict[str, str], kills: list[tuple[str, str]], chance: random.Random) -> None:
    """Kills one run after the other, then lets one end, in a folder that is empty before and after.

    Args:
        place: Where to run.
        whole: What an undisturbed run leaves.
        kills: Stage and kind of every kill.
        chance: Decides the moments.
    """
    runs = []
    for stage, kind in kills:
        runs.append(killed(place, stage, kind, chance))
        compared(outputs(place.work), whole, f"{kind} while {stage}")
    runs.append(finished(place))
    for run in runs:
        run.jobs_ended()
    digests = outputs(place.work)
    compared(digests, whole, f"all of {kills}")
    assert set(digests) == set(whole), f"missing: {set(whole) - set(digests)}"
    left = [str(file) for file in place.work.rglob(".*partial*")]
    assert not left, f"left behind: {left}"
    shutil.rmtree(place.work)


def main(rounds: int = 5, seed: int = 14) -> None:
    """The long form; prints what was killed, and fails at the first difference."""
    chance, counts = random.Random(seed), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory(prefix="kills ") as folder:
        place = prepared(Path(folder))
        with place.hub:
            began = time.monotonic()
            whole = undisturbed(place)
            print(f"undisturbed: {len(whole)} files in {time.monotonic() - began:.0f} s", flush=True)
            kinds = list(KINDS) * (rounds * len(STAGES) // len(KINDS))
            chance.shuffle(kinds)
            for i in range(rounds):
                kills = [(stage, kinds.pop()) for stage in STAGES]
                one_round(place, whole, kills, chance)
                counts.update(kills)
                print(f"round {i + 1}: {', '.join(': '.join(kill) for kill in kills)}; all as undisturbed", flush=True)
        for (stage, kind), count in sorted(counts.items()):
            print(f"{count:3d}  {stage}: {kind}")
        print(f"{sum(counts.values())} kills; the next run", dict(place.said))


if __name__ == "__main__":
    main()
