"""Addresses of files, as seen from the report."""

import os

from replication.paths import REPORT, path


def link(model: str, name: str, pattern: str) -> str:
    """The address of a model's or an experiment's file."""
    return os.path.relpath(path(pattern, model, name), path(REPORT, model).parent)


def named_links(model: str, name: str, patterns: tuple[str, ...]) -> dict[str, str]:
    """Addresses by the files' names."""
    return {os.path.basename(pattern): link(model, name, pattern) for pattern in patterns}
