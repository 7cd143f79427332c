"""What varies by run: machine, time, commit, installed versions, hashes of the results."""

import os
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

NO_CHECKOUT = "not a git checkout"


def provenance(model: str, experiments: list[str]) -> dict[str, Any]:
    """The circumstances of this run and the hashes of what it made."""
    made = [path(pattern, model, name) for name in experiments for pattern in (LOSSES, RECORD)]
    name, _, run = model.partition("/")
    return {
        "model": name,
        **({"run": run} if run else {}),
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
    """The commit of this checkout, and whether any of its code is not committed; both None where that is not known.

    `why` then gives the reason. Figures, reports and pins are what a run makes, and the configuration is recorded by
    its contents: none of them counts as code.
    """
    try:
        top, commit = _git("rev-parse", "--show-toplevel", "HEAD").split("\n")
        # In a folder of another repository, git names that repository's commit, which is not ours.
        if not Path(top).samefile(REPOSITORY):
            return _unknown(NO_CHECKOUT)
        changed = _git("status", "--porcelain", "--", *CODE, f":!{Path(PINS).parent.parent}")
    except FileNotFoundError:
        return _unknown("not known: there is no git program to ask")
    except subprocess.CalledProcessError as error:
        there = (REPOSITORY / ".git").exists()
        return _unknown(f"not known: git says {' '.join(error.stderr.split())!r}" if there else NO_CHECKOUT)
    return {"commit": commit, "uncommitted_changes": bool(changed)}


def commit_text(state: dict[str, Any]) -> str:
    """The commit as text, with what `code_state` knows of changes."""
    if state["commit"] is None:
        return str(state.get("why", NO_CHECKOUT))
    return f"{state['commit']}, with uncommitted changes" if state["uncommitted_changes"] else str(state["commit"])


def _unknown(why: str) -> dict[str, Any]:
    return {"commit": None, "uncommitted_changes": None, "why": why}


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


def _git(*arguments: str) -> str:
    """Output of a git command in the repository.

    Raises:
        FileNotFoundError: There is no git.
        CalledProcessError: git refuses.
    """
    # A checkout of another owner (a container's mount, a shared folder) is no danger to a user who runs its code.
    # The GIT_ variables of a git that called us, as from a hook, are about its repository, not about ours.
    command = ["git", "-c", f"safe.directory={REPOSITORY}", *arguments]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(command, cwd=REPOSITORY, env=surroundings, capture_output=True, text=True, check=True)
    return result.stdout.strip()
