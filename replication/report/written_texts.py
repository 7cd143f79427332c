"""What the report prints of the texts that the unsteered and the steered model wrote after a prompt."""

from typing import Any

from replication.base import tables
from replication.base.files import read_json
from replication.base.paths import COMPLETIONS, COMPLETIONS_RECORD, OF_COMPLETIONS, path
from replication.report.links import in_markdown, named_links
from replication.verification.summary import text_losses

MOST_TEXTS = 10
"""Texts of each model that are printed."""


def completions(model: str, name: str) -> dict[str, Any]:
    """What the report prints of an experiment's texts: prompt, settings, texts, and their losses under both models."""
    record = read_json(path(COMPLETIONS_RECORD, model, name))
    table = tables.read(path(COMPLETIONS, model, name), tables.COMPLETIONS)
    texts = list(zip(*(record["texts"][condition] for condition in tables.CONDITIONS), strict=True))
    return {
        "prompt": record["prompt"]["text"],
        "settings": record["completions"],
        "number": len(texts),
        "texts": texts[:MOST_TEXTS],
        "losses": text_losses(table)[: 2 * MOST_TEXTS],
        "tables": in_markdown(named_links(model, name, OF_COMPLETIONS)),
    }
