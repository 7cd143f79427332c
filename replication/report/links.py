"""Addresses of files, as seen from the report, and of figures with what is said of them."""

import os
from typing import Any

from replication.base.paths import REPORT, figure, path
from replication.figures.captions import caption


def link(model: str, name: str, pattern: str) -> str:
    """The address of a model's or an experiment's file."""
    return os.path.relpath(path(pattern, model, name), path(REPORT, model).parent)


def named_links(model: str, name: str, patterns: tuple[str, ...]) -> dict[str, str]:
    """Addresses by the files' names."""
    return {os.path.basename(pattern): link(model, name, pattern) for pattern in patterns}


def described_figure(model: str, name: str, kind: str, alt: str, drawn_from: tuple[str, ...]) -> dict[str, Any]:
    """What the templates print of one figure of an experiment.

    Args:
        model: Name of the model.
        name: Name of the experiment.
        kind: Kind of figure.
        alt: What is seen in it.
        drawn_from: Patterns of the tables it is drawn from.
    """
    return {
        "alt": alt,
        "caption": caption(kind),
        "image": link(model, name, figure(kind, "png")),
        "vector_graphics": link(model, name, figure(kind, "svg")),
        "tables": named_links(model, name, drawn_from),
    }
