"""The positions of an experiment's prompt and the layers of its model: where the vector was added, which are drawn."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from replication.base.errors import UserError
from replication.base.recorded import injections
from replication.base.tables import OUTPUT, layer_names
from replication.base.window import BY_POSITION, positions_note, window
from replication.figures.view import WHOLE, View, chosen

Record = dict[str, Any]
"""An experiment's record.json; of a part of it, with what `in_view` adds."""

BY_LAYER = ("post_raw", "post_centred", "lens", "layers", "kl", "lenses", "sweep")
"""Kinds of figures of which layers can be chosen."""

BY_TOKEN = (*BY_POSITION, "layers")
"""Kinds of which tokens can be chosen."""


def tokens(record: Record) -> tuple[list[str], list[str]]:
    """Context tokens by position, `<|endoftext|>` first, and target tokens, `<|endoftext|>` last."""
    context = record["prompt"]["tokens"]
    return context, record["prompt"].get("targets", [*context[1:], record["bos"]["token"]])


def rows(record: Record) -> list[str]:
    """Names of the layers that are drawn, and of the output if it is."""
    return list(record.get("rows", layer_names(record["shape"]["layers"])))


def layer_numbers(record: Record) -> list[int]:
    """The layers that are drawn, without the output."""
    return [int(name) for name in rows(record) if name != OUTPUT]


def layer_ticks(record: Record, about: int) -> tuple[dict[int, str], int]:
    """What an axis of layers names, and where on it the output stands, apart from them since it is no lens.

    Args:
        record: The experiment's record.
        about: How many layers there is room to name.
    """
    numbers = layer_numbers(record)
    span = numbers[-1] - numbers[0] + 1
    output_at = numbers[-1] + max(2, round(span / about / 4))
    # Of many layers multiples of four.
    step = max(1, round(span / about / 4) * 4 if span > 12 else round(span / about))
    named = (layer for layer in range(numbers[0], numbers[-1] + 1, step) if output_at - layer > step / 2)
    return {layer: str(layer) for layer in named}, output_at


def changed_positions(part: dict[str, Any]) -> list[int]:
    """Positions where a vector other than zero was added; at position 0 that of two sides is bos - bos = 0.

    Args:
        part: A record, for all additions together, or one of its additions.
    """
    norms = part["norms"]["vector"]
    return [position for position, norm in zip(part["injection"]["positions"], norms, strict=True) if norm > 0]


def changed_cells(record: Record) -> list[tuple[int, list[int]]]:
    """The block before which each addition was made, and the positions that it changed."""
    return [(each["injection"]["block"], changed_positions(each)) for each in injections(record)]


def in_view(
    kind: str, losses: pd.DataFrame, effect: pd.DataFrame, record: Record, view: View = WHOLE
) -> tuple[pd.DataFrame, pd.DataFrame, Record]:
    """What a kind of figure shows of tables and record: chosen layers and tokens, or of a long prompt a window.

    Positions are then counted from the first that is shown. The record says in `window` which they are, in `prompt`
    what the `targets` are, and in `rows` which layers were chosen.

    Raises:
        UserError: The kind has no layers or tokens to choose, or not those.
    """
    record = with_chosen_layers(kind, record, view)
    every = range(len(record["prompt"]["ids"]))
    shown: Sequence[int] = window(record) if kind in BY_POSITION and "window" not in record else every
    if view.tokens is not None:
        shown = [int(name) for name in chosen(view.tokens, list(map(str, every)), "tokens")]
        if kind == "layers":  # its panels are tokens
            return losses, effect, record | {"key_positions": list(shown)}
    if len(shown) == len(every):
        return losses, effect, record
    return (*(_part(table, shown) for table in (losses, effect)), _record_of(record, shown))


def with_chosen_layers(kind: str, record: Record, view: View) -> Record:
    """The record, with the layers that were chosen in `rows`.

    Raises:
        UserError: The kind has no layers or tokens to choose, or not those layers.
    """
    if view.tokens is not None and kind not in BY_TOKEN:
        raise UserError(f"tokens: the figure {kind} has none to choose")
    if view.layers is None:
        return record
    if kind not in BY_LAYER:
        raise UserError(f"layers: the figure {kind} has none to choose")
    names = layer_names(record["shape"]["layers"])
    shown = chosen(view.layers, names[:-1] if kind in ("lenses", "sweep") else names, "layers")
    if kind == "layers" and shown == [OUTPUT]:
        raise UserError("layers: lines need a layer beside the output")
    return record | {"rows": shown}


def _part(table: pd.DataFrame, shown: Sequence[int]) -> pd.DataFrame:
    places = {position: place for place, position in enumerate(shown)}
    return table[table["position"].isin(shown)].assign(position=lambda rows: rows["position"].map(places))


def _record_of(record: Record, shown: Sequence[int]) -> Record:
    places = {position: place for place, position in enumerate(shown)}
    targets = tokens(record)[1]
    several = (
        {"additions": [each | _moved(each, places) for each in record["additions"]]} if "additions" in record else {}
    )
    return (
        record
        | _moved(record, places)
        | several
        | {
            "window": positions_note(record, shown),
            "prompt": {name: [values[position] for position in shown] for name, values in record["prompt"].items()}
            | {"targets": [targets[position] for position in shown]},
            "key_positions": [places[key] for key in record["key_positions"] if key in places],
        }
    )


def _moved(part: dict[str, Any], places: dict[int, int]) -> dict[str, Any]:
    """Where something was added, and its norms, in the positions that are shown."""
    norms = zip(part["injection"]["positions"], part["norms"]["vector"], strict=True)
    added = [(places[position], norm) for position, norm in norms if position in places]
    return {
        "injection": part["injection"] | {"positions": [place for place, _ in added]},
        "norms": {"vector": [norm for _, norm in added]},
    }
