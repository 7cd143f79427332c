"""Snakemake as a user runs it."""

import atexit
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from replication.base.paths import REPOSITORY

SNAKEMAKE = Path(sys.executable).parent / "snakemake"

# What Snakemake's linter finds here: there is no published image that could run the jobs (docs/container.md).
MISSING_CONTAINER = "Specify a conda environment or container for each rule."


def snakemake(
    folder: Path,
    *arguments: str,
    repository: Path = REPOSITORY,
    environment: dict[str, str] | None = None,
    fails: bool = False,
    cores: int = 1,
) -> subprocess.CompletedProcess[str]:
    """Runs snakemake in `folder` as a user would; no network is needed or allowed."""
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"} | (environment or {})
    fixed = ["--cores", str(cores), "--snakefile", repository / "Snakefile", "--directory", folder]
    command = [str(each) for each in (SNAKEMAKE, *arguments, *fixed)]
    with tempfile.TemporaryDirectory() as scratch:
        said, told = Path(scratch, "said"), Path(scratch, "told")
        request = {"command": command, "environment": variables, "said": str(said), "told": str(told)}
        status = _answer(json.dumps(request | {"repository": str(repository)}))
        result = subprocess.CompletedProcess(command, status, said.read_text(), told.read_text())
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result


def lints(said: str) -> set[str]:
    """The titles of what Snakemake's linter finds."""
    return set(re.findall(r"^    \* (.*?):?$", said, re.MULTILINE))


def _answer(request: str) -> int:
    server = _server()
    assert server.stdin
    assert server.stdout
    print(request, file=server.stdin, flush=True)
    return int(server.stdout.readline())


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks for each call; it ends with ours."""
    program = Path(__file__).with_name("snakemake_server.py")
    # Not a folder of ours on its path: what a Snakefile imports is its own repository's.
    server = subprocess.Popen([sys.executable, "-P", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)
    return server
