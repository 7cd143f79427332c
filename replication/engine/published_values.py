"""Measures what published sets hold, on the weights that they were measured on."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tqdm import tqdm

from replication.base.addition import Addition
from replication.base.recorded import SIDES
from replication.engine.loaded import Loaded
from replication.engine.quantities import KINDS
from replication.engine.sides import padded_sides
from replication.engine.streams import started
from replication.engine.tokenizer import Tokenizer
from replication.verification.published_sets import MeasuredSet, PublishedSet


def measured_sets(loaded: Loaded, sets: Sequence[PublishedSet]) -> dict[str, MeasuredSet]:
    """What a model gives for every quantity and every text of some sets, by the sets' names."""
    run = started(loaded)
    measured = {}
    with torch.inference_mode():
        for each in tqdm(sets, desc="published values", unit="set", disable=None):
            token_ids = [text for check in each.checks for text in _texts(loaded.tokenizer, check.inputs)]
            values = [KINDS[check.kind](run, check.axes, **check.inputs) for check in each.checks]
            measured[each.name] = MeasuredSet(token_ids, values)
    return measured


def _texts(tokenizer: Tokenizer, inputs: Any) -> Iterator[tuple[str, list[int], list[int]]]:
    """Every text in a set's inputs, its published ids, and those our tokenizer gives."""
    if isinstance(inputs, list):
        for part in inputs:
            yield from _texts(tokenizer, part)
    elif isinstance(inputs, dict) and "added_ids" in inputs:
        texts = {side: inputs[side] for side in SIDES}
        sides = padded_sides(tokenizer, Addition(layer=0, coefficient=1.0, **texts))
        for side in SIDES:
            yield texts[side], inputs[f"{side}_ids"], getattr(sides, side)
    elif isinstance(inputs, dict) and "ids" in inputs:
        if inputs["text"] is not None:  # built token by token, as its authors did
            bos = inputs["ids"][0] == tokenizer.bos
            yield inputs["text"], inputs["ids"], (tokenizer.with_bos if bos else tokenizer.encode)(inputs["text"])
    elif isinstance(inputs, dict):
        for part in inputs.values():
            yield from _texts(tokenizer, part)
