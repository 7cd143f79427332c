"""What a whole run found, in three lines, from the verdicts that it wrote."""

from typing import Any

from replication.base.files import read_json
from replication.base.paths import CLAIMS, CONTROLS, REPORT, REPORT_PAGE, VERIFICATION, path

HOLDS = "holds"


def found(model: str) -> list[str]:
    """What was found, what it was checked against, and where the report is.

    Args:
        model: Name of the model, or of its run.
    """
    claims, controls, verification = (read_json(path(file, model)) for file in (CLAIMS, CONTROLS, VERIFICATION))
    of_the_post = [claim["verdict"] for said in claims.values() for claim in said if claim["verdict"]]
    beyond = [
        kinds["random_vectors"]["verdict"]
        for kinds in controls.values()
        if "verdict" in kinds.get("random_vectors", {})
    ]
    results = [f"{of_the_post.count(HOLDS)} of {len(of_the_post)} statements of the post hold"] if of_the_post else []
    results += (
        [f"{beyond.count(HOLDS)} of {len(beyond)} vectors do more than random ones of their norms"] if beyond else []
    )
    return [
        f"Found on {model}: {'; '.join(results) or 'numbers without a verdict'}.",
        f"Checked: {_checks(verification)}.",
        f"The report: {path(REPORT_PAGE, model)} (to read), {path(REPORT, model)} (the same for GitHub)",
    ]


def _checks(verification: dict[str, Any]) -> str:
    """How many comparisons came out how: "pins 4 agree; second opinion 4 agree; published values not run"."""
    counts: dict[str, dict[str, int]] = {}
    for checks in verification["experiments"].values():
        for name, check in checks.items():
            of = counts.setdefault(name.replace("_", " "), {})
            of[check["status"]] = of.get(check["status"], 0) + 1
    said = [f"{name} {', '.join(_counted(n, status) for status, n in of.items())}" for name, of in counts.items()]
    return "; ".join([*said, f"published values {verification['published']['status']}"])


def _counted(n: int, status: str) -> str:
    """1 agrees, 4 agree, 2 not run."""
    return f"{n} {status if n == 1 else status.removesuffix('s')}"
