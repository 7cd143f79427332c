"""Says what a run costs before it starts (`cost`), and stops one that does not fit this machine or its model.

A handler adds the cost to Snakemake's table of jobs, in a dry run too. Works where only Snakemake is installed.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from replication.base import paths
from replication.base.errors import UserError
from replication.weights.forms import weight_files
from replication.workflow.cost import STEPS, Job, Machine, Plan, cost_text, shortage
from replication.workflow.misfits import misfits, model_folder
from replication.workflow.snakefile import complete


def announce(workflow: Any, config: dict[str, Any]) -> None:
    """Says the cost as soon as Snakemake has counted the jobs; a run that does not fit ends there.

    Args:
        workflow: Snakemake's workflow, which is read once its jobs are known.
        config: The checked configuration.
    """
    logging.getLogger("snakemake.logging").addHandler(_Announcement(workflow, config))


class _Announcement(logging.Handler):
    """Waits for the table of jobs, the only message with `stats`; jobs' own processes never print one."""

    def __init__(self, workflow: Any, config: dict[str, Any]):
        super().__init__()
        self._workflow, self._config = workflow, config

    def emit(self, record: logging.LogRecord) -> None:
        """Says the cost after the table of jobs."""
        if not hasattr(record, "stats") or self._workflow.touch:
            return
        from snakemake.exceptions import CliException

        plan, machine = _plan(self._workflow, self._config), _machine(self._workflow)
        log = logging.getLogger(record.name)
        named = [(job.rule.name, job.wildcards_dict) for job in _jobs(self._workflow)]
        wrong = [*filter(None, [shortage(plan, machine)]), *misfits(named, self._config)]
        if wrong and not self._workflow.dryrun:
            raise CliException("\n".join(wrong))  # printed as it is
        if text := cost_text(plan, machine):
            log.info(f"{text}\n", extra={"of_ours": True})
        for sentence in wrong:
            log.warning(sentence)


def _plan(workflow: Any, config: dict[str, Any]) -> Plan:
    """What Snakemake is about to run; rules that are not in `STEPS` cost nothing."""
    jobs = [job_of(job, config) for job in _jobs(workflow)]
    fetch: dict[str, int | None] = {}
    for job in jobs:
        if job.rule == "weights":
            fetch |= _to_fetch(job.model, config["models"][job.model])
    standard: dict[str, Any] = {}
    complete(standard)
    timed = all(config[key] == standard[key] for key in ("numerics", "device", "controls"))
    here = workflow.local_exec and workflow.resource_settings.nodes is None
    return Plan(jobs, fetch, timed, here)


def _jobs(workflow: Any) -> list[Any]:
    return [job for job in workflow.dag.needrun_jobs(exclude_finished=False) if job.rule.name in STEPS]


def job_of(job: Any, config: dict[str, Any]) -> Job:
    """One of Snakemake's jobs, with what decides its cost."""
    model = job.wildcards.get("model")
    return Job(job.rule.name, model, *_weights(model, config["models"][model]))


def _to_fetch(name: str, model: dict[str, Any]) -> dict[str, int | None]:
    """Bytes of a model's files that are still to be downloaded."""
    if not find_spec("torch"):  # only Snakemake is installed
        sources: Sequence[dict[str, Any]] = [
            model[key] for key in ("weights", "lens") if isinstance(model.get(key), dict)
        ]
        return {file: source.get("bytes", {}).get(file) for source in sources for file in source["sha256"]}
    from replication.base.config import checked_model
    from replication.weights.obtain import to_fetch

    return to_fetch(checked_model(name, model), paths.path(paths.RESOURCES, name), Path(paths.HASHES))


def _weights(name: str, model: dict[str, Any]) -> tuple[int, bool]:
    """Bytes of a model's weights, 0 if they are not known, and whether config.json says half precision."""
    folder = model_folder(name, model)
    with suppress(OSError, UserError):
        files = weight_files(folder, {path.name for path in folder.iterdir()})
        return sum((folder / file).stat().st_size for file in files), _half(folder)
    sizes = (model.get("weights") or {}).get("bytes", {})
    return sum(size for file, size in sizes.items() if file.endswith((".safetensors", ".bin"))), False


def _half(folder: Path) -> bool:
    """Whether config.json says that weights are of half precision."""
    with suppress(OSError, ValueError, AttributeError):
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(settings.get("dtype") or settings.get("torch_dtype")).endswith("float16")
    return False


def _machine(workflow: Any) -> Machine:
    disk = shutil.disk_usage(next(folder for folder in (Path("resources"), Path()) if folder.exists())).free
    return Machine(workflow.resource_settings.cores or 1, available_memory(), disk)


def available_memory(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that new processes can use, of this machine's and within its container's or job's limit (cgroup v2)."""
    import psutil

    least = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError, KeyError):
        own = cgroups / Path("/proc/self/cgroup").read_text().strip().rpartition("0::/")[2]
        held = dict(line.split() for line in (own / "memory.stat").read_text().splitlines())
        # "max", where there is no limit, is not a number. Pages mapped from files do not count: they can be dropped.
        least = min(least, int((own / "memory.max").read_text()) - int(held["anon"]))
    return least
