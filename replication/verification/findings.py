"""What a run found: in sentences for its report, and in three lines for the screen at its end."""

from typing import Any

from replication.base.files import read_json
from replication.base.paths import CLAIMS, CONTROLS, REPORT, REPORT_PAGE, VERIFICATION, path
from replication.verification.chance import CARRIED, SHARE
from replication.verification.claims import HOLDS, NOT_DECIDABLE


def findings(titles: dict[str, str], controls: dict[str, dict[str, Any]], lens: str) -> list[str]:
    """Whether steering works, where it takes hold, and how much of it is more than chance.

    Up to four sentences on all experiments; what was not measured has none.

    Args:
        titles: Of the experiments, by name.
        controls: The verdicts of the controls by experiment and kind, as `verification.chance` returns them.
        lens: What the layers were read by: `lens_name` of the model.
    """
    keyed = [kinds["random_vectors"] for kinds in controls.values() if "key" in kinds.get("random_vectors", {})]
    by_layer = {name: kinds.get("random_by_layer", {}) for name, kinds in controls.items()}
    signs = [kinds["sweep"]["sign"] for kinds in controls.values() if "sweep" in kinds]
    prompts = [kinds["prompts"] for kinds in controls.values() if "prompts" in kinds]
    sentences = []
    if keyed:
        lower = sum(verdict["key"]["steering"] < 0 for verdict in keyed)
        sentences.append(
            f"Steering lowers the key tokens' loss at the output in {lower} of {len(keyed)} experiments, in "
            f"{_holding(keyed)} of them by more than at least {SHARE:.0%} of random vectors of the same norms."
        )
    if places := [f"{each['outside_from']} ({titles[name]})" for name, each in by_layer.items() if len(each) == 2]:
        sentences.append(
            f"Through the {lens} it does more than chance from layer {_listed(places)} on, up to the output."
        )
    for verdicts, words in (
        (signs, "Negating the vector reverses its effect in"),
        (prompts, f"The direction carries over to at least {CARRIED:.0%} of the other prompts in"),
    ):
        if decided := [verdict for verdict in verdicts if verdict["verdict"] != NOT_DECIDABLE]:
            sentences.append(f"{words} {_holding(decided)} of {len(decided)}.")
    return sentences


def closing_lines(model: str) -> list[str]:
    """What was found, what it was checked against, and where the report is, from the verdicts that a run wrote.

    Args:
        model: Name of the model, or of its run.
    """
    claims, controls, verification = (read_json(path(file, model)) for file in (CLAIMS, CONTROLS, VERIFICATION))
    of_the_post = [claim for each in claims.values() for claim in each if claim["verdict"]]
    random = [kinds["random_vectors"] for kinds in controls.values() if "verdict" in kinds.get("random_vectors", {})]
    results = [
        f"{_holding(verdicts)} of {len(verdicts)} {words}"
        for verdicts, words in (
            (of_the_post, "statements of the post hold"),
            (random, "vectors do more than random ones of their norms"),
        )
        if verdicts
    ]
    return [
        f"Found on {model}: {'; '.join(results) or 'numbers without a verdict'}.",
        f"Checked: {_checks(verification)}.",
        f"The report: {path(REPORT_PAGE, model)} (to read), {path(REPORT, model)} (the same for GitHub)",
    ]


def _checks(verification: dict[str, Any]) -> str:
    """How many comparisons had which outcome: "pins 4 agree; second opinion 4 agree; published values not run"."""
    counts: dict[str, dict[str, int]] = {}
    for checks in verification["experiments"].values():
        for name, check in checks.items():
            of = counts.setdefault(name.replace("_", " "), {})
            of[check["status"]] = of.get(check["status"], 0) + 1
    texts = [f"{name} {', '.join(_counted(n, status) for status, n in of.items())}" for name, of in counts.items()]
    return "; ".join([*texts, f"published values {verification['published']['status']}"])


def _counted(n: int, status: str) -> str:
    """1 agrees, 4 agree, 2 not run."""
    return f"{n} {status if n == 1 else status.removesuffix('s')}"


def _holding(verdicts: list[dict[str, Any]]) -> int:
    return sum(verdict["verdict"] == HOLDS for verdict in verdicts)


def _listed(places: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(places[:-1]), places[-1])))
