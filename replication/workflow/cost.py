"""What jobs cost: download, disk, memory and time. Works where only Snakemake is installed."""

from collections.abc import Iterable
from typing import NamedTuple

GB, MB = 10**9, 10**6
XL = 6_430_000_000
"""Bytes of GPT-2 XL's weights."""
MINIATURE = 9_872_560
"""Bytes of the embedded miniature's weights."""
PRIOR = 20.0
"""Weight of the measured times, in seconds of one core, against the times of this machine's own finished jobs."""
MACHINE = "2 cores of an AMD EPYC"
"""Where the times were measured, with both cores busy."""


class Step(NamedTuple):
    """What one job of a rule was measured to take, on the miniature and on random weights of GPT-2 XL's size."""

    seconds: tuple[float, float] | None
    own: tuple[float, float]
    """MB of its own memory (anonymous, at its peak); the weights are mapped beside it, and shared by all jobs."""
    written: float = 0
    """MB of its outputs."""


WITH_MODEL = {
    "weights": Step((2, 77), (200, 780)),
    "measure": Step((5, 27), (220, 1000), 0.8),
    "completions": Step((3, 200), (220, 1600), 0.1),
    "controls": Step((8, 510), (220, 1000), 0.8),
    "sweep_part": Step(None, (220, 1000), 0.2),
    "second_opinion": Step((16, 53), (330, 1700)),
    "published_values": Step((2, 643), (220, 2300)),
}
ON_TABLES = {
    "figures": Step((11, 11), (200, 200), 7),
    "control_figures": Step((18, 18), (180, 180), 8),
    "figure_for_print": Step(None, (200, 200), 1),
    "join_sweep": Step(None, (100, 100), 0.2),
    "report": Step((3, 3), (110, 110), 5),
} | dict.fromkeys(
    ["summary", "claims", "judge_controls", "verification", "verdict", "provenance", "crate"],
    Step((2, 2), (80, 80), 0.1),
)
STEPS = WITH_MODEL | ON_TABLES


class Job(NamedTuple):
    """A job that will run."""

    rule: str
    model: str
    weights: int
    """Bytes of its model's weights; 0 if they are not known."""
    half: bool = False
    """Whether these are of half precision: each job computes with a copy of its own in float32, twice their size."""

    @property
    def own(self) -> float:
        """Bytes of its own memory, interpolated between the two measured models by the weights' size in float32."""
        least, most = STEPS[self.rule].own
        copied = self.half and self.rule in WITH_MODEL and self.rule != "weights"
        float32 = self.weights * (2 if self.half else 1)
        return MB * (least + (most - least) * float32 / XL) + (float32 if copied else 0)

    @property
    def seconds(self) -> float | None:
        """Seconds of one core; None where it was not measured."""
        taken = STEPS[self.rule].seconds
        for size, measured in zip((MINIATURE, XL), taken or (), strict=False):
            if 0.95 < self.weights / size < 1.05:
                return measured
        return None


class Machine(NamedTuple):
    """What this machine has for a run."""

    cores: int
    """Jobs that may run at once."""
    memory: int
    """Bytes that are available."""
    disk: int
    """Bytes that are free."""


def memory(jobs: Iterable[Job], cores: int) -> tuple[float, int, int]:
    """Most bytes that up to `cores` jobs at once need, how many of them are weights, and the number of jobs.

    The job that verifies a model's files runs alone: all others of the model wait for it.
    """
    jobs = list(jobs)
    own = sorted((job.own for job in jobs if job.rule != "weights"), reverse=True)[:cores]
    most = max(sum(own), *(job.own for job in jobs if job.rule == "weights"), 0)
    weights = sum({job.model: job.weights for job in jobs if job.rule in WITH_MODEL}.values())
    return most + weights, weights, max(len(own), 1)


def cores_that_fit(jobs: Iterable[Job], machine: Machine) -> int:
    """Largest number of cores, up to as many jobs as may run at once, whose jobs fit into memory.

    One job fits if its own memory does: the weights are mapped, and what does not fit is read again.
    """
    jobs = list(jobs)
    *_, at_once = memory(jobs, machine.cores)
    for cores in range(at_once, 1, -1):
        if memory(jobs, cores)[0] <= machine.memory:
            return cores
    most, weights, _ = memory(jobs, 1)
    return int(most - weights <= machine.memory)


def seconds(jobs: Iterable[Job], cores: int) -> float | None:
    """How long the jobs take on the machine where they were measured; None if one of them was not."""
    alone, beside = 0.0, [0.0]
    for job in jobs:
        if (taken := job.seconds) is None:
            return None
        if job.rule == "weights":
            alone += taken
        else:
            beside.append(taken)
    return alone + max(sum(beside) / min(cores, 2), *beside)


def expected(job: Job) -> float:
    """Seconds of one core that a job is likely to take, interpolated between the measured models by weights' size."""
    least, most = STEPS[job.rule].seconds or STEPS["figures"].seconds or (0, 0)
    return least + (most - least) * job.weights / XL


def seconds_left(rest: float, done: float, elapsed: float, cores: int) -> float:
    """Seconds until the rest is done.

    Args:
        rest: Seconds of one core that the unfinished jobs are expected to take.
        done: Seconds that the finished ones were expected to take.
        elapsed: Seconds since the first of these began.
        cores: Jobs at once.
    """
    return rest * (elapsed + PRIOR / min(cores, 2)) / (done + PRIOR)


class Plan(NamedTuple):
    """What will run."""

    jobs: list[Job]
    fetch: dict[str, int | None]
    """Bytes to download, by file; None where nobody knows."""
    timed: bool = True
    """Whether it runs with the settings that times were measured with."""
    here: bool = True
    """Whether its jobs run on this machine."""

    @property
    def download(self) -> int:
        """Bytes to download."""
        return sum(filter(None, self.fetch.values()))

    @property
    def disk(self) -> int:
        """Bytes that it writes."""
        return self.download + round(MB * sum(STEPS[job.rule].written for job in self.jobs))

    @property
    def weighed(self) -> bool:
        """Whether the memory of its jobs can be estimated."""
        return self.here and all(job.weights for job in self.jobs if job.rule in WITH_MODEL)


def cost_text(plan: Plan, machine: Machine) -> str:
    """The cost as text, below Snakemake's table of jobs; empty if no job costs anything."""
    rows = []
    if plan.fetch:
        rows.append(("to fetch", _download(plan.fetch, plan.download)))
    if plan.disk:
        rows.append(("disk", f"{_size(plan.disk)}; {_size(machine.disk)} are free"))
    if plan.jobs and plan.weighed:
        most, weights, jobs = memory(plan.jobs, machine.cores)
        shared = f", {_size(weights)} of it weights that they share" if weights and jobs > 1 else ""
        at_once = "1 job at a time" if jobs == 1 else f"{jobs} jobs at once"
        available = f"{_size(machine.memory)} are available"
        rows.append(("memory", f"{_size(most)} with {at_once}{shared}; {available}"))
    taken = seconds(plan.jobs, machine.cores) if plan.timed and plan.here else None
    if taken:
        after = " after the download" if plan.download else ""
        rows.append(("time", f"about {duration(taken)}{after}; measured on {MACHINE}"))
    return "\n".join(["What these jobs cost:", *(f"    {name:9} {text}" for name, text in rows)]) if rows else ""


def shortage(plan: Plan, machine: Machine) -> str:
    """One sentence if the machine has too little disk or memory for the plan; else empty."""
    if plan.disk > machine.disk:
        return (
            f"this run writes {_size(plan.disk)}, and {_size(machine.disk)} are free here: free "
            f"{_size(plan.disk - machine.disk)} more, or run it in another folder with --directory"
        )
    most, weights, at_once = memory(plan.jobs, machine.cores)
    fit = cores_that_fit(plan.jobs, machine) if plan.weighed else at_once
    available = f"{_size(machine.memory)} are available"
    if fit == at_once:
        return ""
    if fit:
        return f"--cores {machine.cores} takes {_size(most)} of memory, and {available}: run with --cores {fit}"
    own = _size(memory(plan.jobs, 1)[0] - weights)
    return f"one job takes {own} of memory of its own, and {available}: close other programs, or choose a smaller model"


def _download(fetch: dict[str, int | None], known: int) -> str:
    unknown = [name for name, size in fetch.items() if size is None and not name.endswith(".json")]
    parts = [_size(known)] if known else []
    parts += [f"{', '.join(unknown)} (config.yaml gives no size)"] if unknown else []
    return " and ".join(parts) or "nothing, all files are here"


def _size(size: float) -> str:
    return f"{size / MB:.0f} MB" if size < 0.1 * GB else f"{size / GB:.1f} GB"


def duration(taken: float) -> str:
    """Seconds in words, as exactly as an estimate is."""
    return f"{max(round(taken, -1), 10):.0f} seconds" if taken < 110 else f"{round(taken / 60)} minutes"
