"""A copy of the repository to run in, with another configuration or under another name."""

import shutil
from pathlib import Path

from replication.config import REPOSITORY

NAMES = ("replication", "tests/pins", "profiles", "docs", "Snakefile", "pyproject.toml", "config.yaml", "CITATION.cff")
"""What the workflow reads."""


def copied(target: Path) -> Path:
    """Copies what the workflow reads to `target`, and returns it."""
    for name in NAMES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(REPOSITORY / name, target / name)
    return target
