"""Snakemake as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

from replication.base.paths import REPOSITORY

SNAKEMAKE = Path(sys.executable).parent / "snakemake"


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
    command = [SNAKEMAKE, *arguments, *fixed]
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result
