"""What varies by run: machine, time, commit, installed versions, hashes of the results."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from replication.base.files import read_json
from replication.base.hashes import digest_of
from replication.base.paths import LOSSES, PINS, RECORD, REPORT, REPOSITORY, VERIFIED, path
from replication.base.versions import tested_versions

CODE = ("replication", "Snakefile", "pyproject.toml", "requirements.lock")
"""What decides the numbers beside the configuration, from the repository's top folder."""


def provenance(model: str, experiments: list[str]) -> dict[str, Any]:
    """The circumstances of this run and the hashes of what it made."""
    made = [path(pattern, model, name) for name in experiments for pattern in (LOSSES, RECORD)]
    return {
        "model": model,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **surroundings(),
        "inputs_sha256": read_json(path(VERIFIED, model))["sha256"],
        "outputs_sha256": {str(file): digest_of(file) for file in [*made, path(REPORT, model)]},
    }


def surroundings() -> dict[str, Any]:
    """Machine, commit and versions, as they are now."""
    return {
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "python": platform.python_version(),
        },
        **code_state(),
        "versions": {
            name: {"tested": tested, "installed": _installed(name)} for name, tested in tested_versions().items()
        },
    }


def code_state() -> dict[str, Any]:
    """The commit of this checkout, None where it is none, and whether any of its code is not committed.

    Figures, reports and pins are what a run makes, and the configuration is recorded by its contents.
    """
    changed = _git("status", "--porcelain", "--", *CODE, f":!{Path(PINS).parent.parent}")
    return {"commit": _git("rev-parse", "HEAD"), "uncommitted_changes": bool(changed)}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """Output of a git command in the repository; None outside a checkout or without git."""
    try:
        result = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
