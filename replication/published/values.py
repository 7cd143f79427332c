"""Runs the published sets that belong to the weights at hand, and compares."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from replication.config import Steering
from replication.models import Loaded, Tokenizer
from replication.published.data import MODELS, PublishedSet, published_sets
from replication.published.kinds import KINDS
from replication.published.runs import started
from replication.published.table import compared, not_run, tokens_compared
from replication.steering import padded_sides

WEIGHTS, LENS = "model/model.safetensors", "lens/params.pt"
SIDES = ("added", "subtracted")


def published_values(loaded: Loaded, sets: Sequence[PublishedSet] | None = None) -> pd.DataFrame:
    """Every published number that was measured on these weights, beside ours.

    Sets belong to weights by SHA-256. For weights without any, nothing is computed and the sets of GPT-2 XL are
    listed as not run; so are sets that need a lens, beside another lens.

    Args:
        loaded: The model.
        sets: The sets; by default all that the package has.

    Returns:
        Columns of `table.PUBLISHED`.
    """
    known = [each for model in MODELS for each in published_sets(model)] if sets is None else list(sets)
    ours = loaded.files.sha256
    own = [each for each in known if each.sha256[WEIGHTS] == ours[WEIGHTS]]
    if not own:
        absent = [each for each in known if each.model == MODELS[0]]
        return pd.concat([not_run(each, _other(each, ours, WEIGHTS)) for each in absent], ignore_index=True)
    run = started(loaded)
    parts = []
    with torch.inference_mode(), tqdm(total=len(own), desc="published values", unit="set", disable=None) as bar:
        for each in own:
            if each.lens and each.sha256[LENS] != ours[LENS]:
                parts.append(not_run(each, _other(each, ours, LENS)))
            else:
                parts.append(_tokens(loaded.tokenizer, each))
                parts += [
                    compared(each, check, KINDS[check.kind](run, check.axes, **check.inputs)) for check in each.checks
                ]
            bar.update()
    return pd.concat(parts, ignore_index=True)


def _other(published: PublishedSet, ours: dict[str, str], file: str) -> str:
    theirs = published.sha256[file]
    return f"measured on {published.model}, whose {file} has SHA-256 {theirs[:12]}...; here it is {ours[file][:12]}..."


def _tokens(tokenizer: Tokenizer, published: PublishedSet) -> pd.DataFrame:
    """Whether the tokenizer gives the ids that the set was measured with, BOS and padding included."""
    texts = {
        (text, tuple(ids)): given for check in published.checks for text, ids, given in _texts(tokenizer, check.inputs)
    }
    wrong = [text for (text, ids), given in texts.items() if tuple(given) != ids]
    agreeing = sum(len(ids) for (_, ids), given in texts.items() if tuple(given) == ids)
    return tokens_compared(published, sum(len(ids) for _, ids in texts), agreeing, wrong)


def _texts(tokenizer: Tokenizer, inputs: Any) -> Iterator[tuple[str, list[int], list[int]]]:
    """Every text in a set's inputs, its published ids, and those our tokenizer gives."""
    if isinstance(inputs, list):
        for part in inputs:
            yield from _texts(tokenizer, part)
    elif isinstance(inputs, dict) and "added_ids" in inputs:
        texts = {side: inputs[side] for side in SIDES}
        sides = padded_sides(tokenizer, Steering(layer=0, coefficient=1.0, **texts))
        for side in SIDES:
            yield texts[side], inputs[f"{side}_ids"], getattr(sides, side)
    elif isinstance(inputs, dict) and "ids" in inputs:
        if inputs["text"] is not None:  # built token by token, as its authors did
            bos = inputs["ids"][0] == tokenizer.bos
            yield inputs["text"], inputs["ids"], (tokenizer.with_bos if bos else tokenizer.encode)(inputs["text"])
    elif isinstance(inputs, dict):
        for part in inputs.values():
            yield from _texts(tokenizer, part)
