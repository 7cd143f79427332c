"""Addresses of files, as seen from the report; and a figure with its words and links."""

import os

from replication.base.paths import REPORT, figure, path
from replication.figures.captions import caption


def link(model: str, name: str, pattern: str) -> str:
    """The address of a model's or an experiment's file."""
    return os.path.relpath(path(pattern, model, name), path(REPORT, model).parent)


def named_links(model: str, name: str, patterns: tuple[str, ...]) -> dict[str, str]:
    """Addresses by the files' names."""
    return {os.path.basename(pattern): link(model, name, pattern) for pattern in patterns}


def in_markdown(addresses: dict[str, str], separator: str = ", ") -> str:
    """Links by their names, as Markdown."""
    return separator.join(f"[{name}]({address})" for name, address in addresses.items())


def described_figure(model: str, name: str, kind: str, alt: str, drawn_from: tuple[str, ...]) -> dict[str, str]:
    """One figure of an experiment, as `Numbering.figure` prints it.

    Args:
        model: Name of the model.
        name: Name of the experiment.
        kind: Kind of figure.
        alt: Its alternative text.
        drawn_from: Patterns of the tables it is drawn from.

    Returns:
        `alt`; `caption`; the address of the `image`; and as Markdown the `links` to the SVG and to those tables.
    """
    svg = in_markdown({"SVG": link(model, name, figure(kind, "svg"))})
    return {
        "alt": alt,
        "caption": caption(kind),
        "image": link(model, name, figure(kind, "png")),
        "links": f"{svg} · numbers: {in_markdown(named_links(model, name, drawn_from))}",
    }
