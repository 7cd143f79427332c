"""Which layer was steered, where a model of another depth than the configured layer counts in was run."""

from typing import Any


def steered_layer(record: dict[str, Any]) -> str:
    """The layer that was steered, in words: "6", or "2 (layer 6 of 48, scaled to 12)"."""
    return f"{record['injection']['block']}{scaled_layer(record)}"


def scaled_layer(record: dict[str, Any]) -> str:
    """What follows the number of the steered layer in a text: " (layer 6 of 48, scaled to 12)".

    Args:
        record: The experiment's record; `injection.block` is the layer that was steered.

    Returns:
        Empty where the layer is the configured one.
    """
    steering, layers = record["experiment"]["steering"], record["shape"]["layers"]
    configured_in = steering.get("scaled_from")
    if configured_in in (None, layers):
        return ""
    return f" (layer {steering['layer']} of {configured_in}, scaled to {layers})"
