"""A copy of the repository to run in, with another configuration or under another name."""

import shutil
import subprocess
from pathlib import Path

import pytest

from replication.base.paths import REPOSITORY

FOLDERS = ("replication", "profiles", "docs")
FILES = ("Snakefile", "pyproject.toml", "requirements.lock", "config.yaml", "CITATION.cff")
NAMES = (*FOLDERS, *FILES)
"""What the workflow reads."""


def copied(target: Path) -> Path:
    """Copies what the workflow reads to `target`, and returns it."""
    for name in NAMES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(REPOSITORY / name, target / name)
    return target


def tracked() -> list[str]:
    """Files that git knows in this checkout."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()
