"""Runs a command and says what it and everything below it took: time, processor time, memory."""

import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

SAMPLE_SECONDS = 0.2
Sample = Callable[[int], dict[str, int]]
"""A process id -> its memory by kind, in bytes."""


class Took(NamedTuple):
    """What a command took."""

    status: int
    wall: float
    """Seconds from start to end."""
    cpu: float
    """Processor seconds of all its processes, user and system."""
    together: dict[str, int]
    """Peak of the sum over its processes, bytes by kind of memory."""
    one: dict[str, int]
    """Peak of a single process, bytes by kind of memory."""


def resident(process: int | str) -> dict[str, int]:
    """RssAnon (a process' own) and RssFile (mapped files) of a process; costs nothing to ask."""
    return _kilobytes(f"/proc/{process}/status", ("RssAnon", "RssFile"))


def proportional(process: int) -> dict[str, int]:
    """Rss, Pss, Pss_Anon and Pss_File of a process; a page shared by n processes is 1/n in each, so sums are true.

    The kernel walks every page for it: over 0.1 s for 6 GB of weights, so no run that is timed is asked.
    """
    return _kilobytes(f"/proc/{process}/smaps_rollup", ("Rss", "Pss", "Pss_Anon", "Pss_File"))


def _kilobytes(path: str, names: tuple[str, ...]) -> dict[str, int]:
    try:
        lines = [line.split() for line in Path(path).read_text().splitlines()]
    except OSError:  # the process has ended
        return {}
    return {line[0][:-1]: 1024 * int(line[1]) for line in lines if line and line[0][:-1] in names}


def run(command: list, sample: Sample, environment: dict[str, str], folder: Path, output: IO | None = None) -> Took:
    """Runs `command` in `folder`; what it prints goes to `output`, by default where ours goes."""
    began = time.monotonic()
    environment = os.environ | environment
    process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, cwd=folder, env=environment)
    memory = _Memory(process.pid, sample)
    memory.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.stopped.set()
    memory.join()
    return Took(process.returncode, wall, usage.ru_utime + usage.ru_stime, memory.together, memory.one)


class _Memory(threading.Thread):
    """Samples the memory of a process and all below it until it is stopped."""

    def __init__(self, root: int, sample: Sample) -> None:
        super().__init__(daemon=True)
        self.root, self.sample, self.stopped = root, sample, threading.Event()
        self.together: dict[str, int] = defaultdict(int)
        self.one: dict[str, int] = defaultdict(int)

    def run(self) -> None:
        while not self.stopped.wait(SAMPLE_SECONDS):
            sums: dict[str, int] = defaultdict(int)
            for process in descendants(self.root):
                for name, value in self.sample(process).items():
                    sums[name] += value
                    self.one[name] = max(self.one[name], value)
            for name, value in sums.items():
                self.together[name] = max(self.together[name], value)


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
