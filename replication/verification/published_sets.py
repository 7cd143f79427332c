"""The published sets: facts copied from public notebooks and tests, with their source and tolerance.

One JSON file per model in published_numbers/. A set is data: what was measured (`kind`, inputs, token ids included),
the published numbers, how far a right answer may be off and why, and where the numbers were published. Positions
count `<|endoftext|>` as 0 where the ids begin with it. Norms are of residuals without their mean over d_model
(`centred`), as TransformerLens hands them out, unless a set says otherwise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from replication.base.files import read_json

MODELS = ("gpt2-xl", "gpt2-large", "gpt2")
"""Models with published sets; the first is the post's."""

WEIGHTS, LENS = "model/model.safetensors", "lens/params.pt"
"""The files whose SHA-256 say which weights a set was measured on."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerance:
    """How far a measured value may be from the published one: absolute + relative * |published|."""

    absolute: float
    relative: float
    reason: str


@dataclass(frozen=True)
class Check:
    """One array of published numbers."""

    quantity: str
    """What the numbers are, in words."""
    kind: str
    """How they are measured: a name in `kinds.KINDS`."""
    inputs: dict[str, Any]
    """Arguments for that: prompts, steering vector, tokens, statistic; text and token ids."""
    axes: dict[str, list[Any]]
    """Labels of every axis of `expected`: layers, positions, tokens."""
    rows: Literal["each", "first", "all"]
    """Rows of the table: one per number, one per label of the first axis, or one in all."""
    expected: Array
    """The published numbers."""
    tolerance: Tolerance
    """How far a measured number may be off."""


@dataclass(frozen=True)
class PublishedSet:
    """Numbers that were published together, for weights known by SHA-256."""

    name: str
    model: str
    """Name of the model they were measured on."""
    sha256: dict[str, str]
    """SHA-256 of that model's weights and of its lens, keyed as in `Files.sha256`."""
    lens: bool
    """Whether the numbers depend on the tuned lens too."""
    measures: str
    """What was measured, in a sentence."""
    environment: str
    """The software and machine they were measured with."""
    sources: tuple[str, ...]
    """Where they were published: addresses that name the commit."""
    checks: tuple[Check, ...]


class MeasuredSet(NamedTuple):
    """What the weights at hand give for a published set."""

    token_ids: list[tuple[str, list[int], list[int]]]
    """Every text of the set, its published ids, and those of the tokenizer at hand."""
    values: list[Array]
    """One array per check, of the shape of its `expected`."""


def published_sets(model: str) -> tuple[PublishedSet, ...]:
    """The sets that were measured on `model`, one of `MODELS`."""
    values = read_json(Path(__file__).with_name("published_numbers") / f"{model}.json")
    return tuple(_set(entry, model, values["sha256"]) for entry in values["sets"])


def _set(entry: dict[str, Any], model: str, sha256: dict[str, str]) -> PublishedSet:
    shared = {"kind": entry["kind"], "tolerance": entry["tolerance"], **entry.get("shared", {})}
    return PublishedSet(
        name=entry["name"],
        model=model,
        sha256=sha256,
        lens=entry["lens"],
        measures=entry["measures"],
        environment=entry["environment"],
        sources=tuple(entry["sources"]),
        checks=tuple(_check({**shared, **check}) for check in entry["checks"]),
    )


def _check(entry: dict[str, Any]) -> Check:
    inputs = dict(entry)
    axes, expected = inputs.pop("axes"), np.array(inputs.pop("expected"), dtype=np.float64)
    shape = tuple(len(labels) for labels in axes.values())
    if expected.shape != shape:
        raise ValueError(f"{entry['quantity']}: the numbers have shape {expected.shape}, their axes {shape}")
    return Check(
        quantity=inputs.pop("quantity"),
        kind=inputs.pop("kind"),
        tolerance=Tolerance(**inputs.pop("tolerance")),
        rows=inputs.pop("rows"),
        axes=axes,
        expected=expected,
        inputs=inputs,
    )
