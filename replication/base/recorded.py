"""What an experiment's record.json says of the additions, one or several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from replication.base.numbers import general
from replication.base.window import positions_in_words

SIDES = ("added", "subtracted")

LATER = {"position": "front", "padding": " ", "vector": None, "positions": None}
"""Keys of an addition, with their defaults, that the first pins and records lack and the post does not mention."""


def lens_name(files: dict[str, Any]) -> str:
    """What every layer is read by: "tuned lens", or "logit lens" for a model that has none (`lens: none`).

    Args:
        files: A record, a model's stamp, or anything else that has the SHA-256 of the model's files.
    """
    return "tuned lens" if any(key.startswith("lens/") for key in files["sha256"]) else "logit lens"


def one_or_several(value: Any) -> Any:
    """Additions as they are recorded: a single one as a mapping, even if it was given in a list; several as a list."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def listed(steering: Any) -> list[Any]:
    """Additions as a list, whether one or several: the inverse of `one_or_several`."""
    return list(steering) if isinstance(steering, list | tuple) else [steering]


def additions(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every addition: `steering` (its settings), `injection`, `norms`, and its sides' tokens or its file.

    Several are under the key `additions`; a single one, as in older records, is at the top level.
    """
    if "additions" in record:
        return list(record["additions"])
    keys = (*SIDES, "padding", "vector", "injection", "norms")
    return [{"steering": record["experiment"]["steering"], **{key: record[key] for key in keys if key in record}}]


def injections(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The mapping that holds `injection` and `norms`, for each addition."""
    return list(record.get("additions", [record]))


def blocks(record: dict[str, Any]) -> list[int]:
    """The blocks whose input was changed, ascending."""
    return sorted({each["injection"]["block"] for each in injections(record)})


def coefficient(record: dict[str, Any]) -> float:
    """The first addition's coefficient, which labels a sweep's rows: a sweep multiplies all by the same factor."""
    return float(additions(record)[0]["steering"]["coefficient"])


def steered_layer(record: dict[str, Any]) -> str:
    """The layers that were steered, in words: "6", "2 (layer 6 of 48, scaled to 12)", or "10 and 30"."""
    layers = record["shape"]["layers"]
    return " and ".join(dict.fromkeys(block_in_words(each, layers) for each in additions(record)))


def block_in_words(addition: dict[str, Any], layers: int) -> str:
    """The block whose input one addition changed, in a model of so many layers."""
    steering, block = addition["steering"], addition["injection"]["block"]
    configured_in = steering.get("scaled_from")
    if configured_in in (None, layers):
        return str(block)
    return f"{block} (layer {steering['layer']} of {configured_in}, scaled to {layers})"


def vectors_in_words(record: dict[str, Any], quoted: Callable[[str], str]) -> str:
    """What was added and where: "5 × (“Love” − “Hate”) added before block 6"; several, one after the other.

    Args:
        record: The experiment's record.
        quoted: Quotes a text, or the name of a file, for display.
    """
    layers = record["shape"]["layers"]
    return ", then ".join(_in_words(addition, layers, quoted) for addition in additions(record))


def _in_words(addition: dict[str, Any], layers: int, quoted: Callable[[str], str]) -> str:
    steering, positions = addition["steering"], addition["injection"]["positions"]
    block = block_in_words(addition, layers)
    return f"{vector_in_words(steering, quoted)} added before block {block}{_places(positions)}"


def vector_in_words(steering: dict[str, Any], quoted: Callable[[str], str]) -> str:
    """One vector: "5 × (“Love” − “Hate”)", "10 × “Love”" of one side alone, or "3 × “mine.safetensors”" of a file."""
    added, subtracted, factor = steering.get("added"), steering.get("subtracted"), steering["coefficient"]
    if steering.get("vector"):
        return f"{general(factor)} × {quoted(Path(steering['vector']).name)}"
    if added is None or subtracted is None:
        # Subtracted alone: minus the coefficient times it.
        return f"{general(factor if subtracted is None else -factor)} × {quoted(added or subtracted or '')}"
    return f"{general(factor)} × ({quoted(added)} − {quoted(subtracted)})"


def _places(positions: list[int]) -> str:
    """Where in the prompt, unless from its front on."""
    if positions == list(range(len(positions))):
        return ""
    return f" at {positions_in_words(positions)}"
