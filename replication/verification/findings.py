"""What a run found, in sentences: does steering work, where does it take hold, how much of it is more than chance."""

from typing import Any

from replication.verification.chance import CARRIED, SHARE
from replication.verification.claims import HOLDS, NOT_DECIDABLE


def findings(titles: dict[str, str], controls: dict[str, dict[str, Any]]) -> list[str]:
    """Up to four sentences on all experiments; what was not measured has none.

    Args:
        titles: Of the experiments, by name.
        controls: The verdicts of the controls by experiment and kind, as `verification.chance` returns them.
    """
    random = {name: found["random_vectors"] for name, found in controls.items() if "random_vectors" in found}
    keyed = [found for found in random.values() if "key" in found]
    by_layer = {name: found.get("random_by_layer", {}) for name, found in controls.items()}
    signs = [found["sweep"]["sign"] for found in controls.values() if "sweep" in found]
    prompts = [found["prompts"] for found in controls.values() if "prompts" in found]
    sentences = []
    if keyed:
        lower = sum(found["key"]["steering"] < 0 for found in keyed)
        sentences.append(
            f"Steering lowers the key tokens' loss at the output in {lower} of {len(keyed)} experiments, in "
            f"{_holding(keyed)} of them by more than at least {SHARE:.0%} of random vectors of the same norms."
        )
    if places := [f"{found['outside_from']} ({titles[name]})" for name, found in by_layer.items() if len(found) == 2]:
        sentences.append(
            f"Through the tuned lens it does more than chance from layer {_listed(places)} on, up to the output."
        )
    for verdicts, words in (
        (signs, "Negating the vector reverses its effect in"),
        (prompts, f"The direction carries over to at least {CARRIED:.0%} of the other prompts in"),
    ):
        if decided := [found for found in verdicts if found["verdict"] != NOT_DECIDABLE]:
            sentences.append(f"{words} {_holding(decided)} of {len(decided)}.")
    return sentences


def _holding(verdicts: list[dict[str, Any]]) -> int:
    return sum(found["verdict"] == HOLDS for found in verdicts)


def _listed(places: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(places[:-1]), places[-1])))
