"""The sentences on what a run found."""

from typing import Any

from replication.verification.findings import findings

TITLES = {"a": "First", "b": "Second", "c": "Third"}


def judged(change: float, verdict: str, layer: str | None, sign: str, prompts: str) -> dict[str, Any]:
    by_layer = {"outside_from": layer, "half_from": "9"} if layer else {"undecided": "too few"}
    return {
        "random_vectors": {"key": {"steering": change}, "verdict": verdict},
        "random_by_layer": by_layer,
        "sweep": {"sign": {"verdict": sign}},
        "prompts": {"verdict": prompts},
    }


def test_every_sentence_counts_those_that_can_be_decided() -> None:
    found = {
        "a": judged(-2, "holds", "7", "holds", "holds"),
        "b": judged(-1, "does not hold", None, "does not hold", "holds"),
        "c": judged(1, "does not hold", "output", "not decidable", "does not hold"),
    }
    assert findings(TITLES, found, "tuned lens") == [
        "Steering lowers the key tokens' loss at the output in 2 of 3 experiments, in 1 of them by more than at least "
        "95% of random vectors of the same norms.",
        "Through the tuned lens it does more than chance from layer 7 (First) and output (Third) on, up to the output.",
        "Negating the vector reverses its effect in 1 of 2.",
        "The direction carries over to at least 80% of the other prompts in 2 of 3.",
    ]


def test_what_was_not_measured_has_no_sentence() -> None:
    assert findings({"a": "First"}, {"a": {}}, "tuned lens") == []
    without_key = {"random_vectors": {"verdict": "not decidable"}, "random_by_layer": {"undecided": "no key tokens"}}
    assert findings({"a": "First"}, {"a": without_key}, "tuned lens") == []
