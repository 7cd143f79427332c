"""The index over models: key numbers, verdicts and the report of every model that has been run here."""

from pathlib import Path
from typing import Any

from replication.base import paths, tables
from replication.base.files import read_json
from replication.base.paths import path
from replication.base.tables import OUTPUT
from replication.base.window import MOST_KEYS
from replication.report.compile import sections


def index() -> str:
    """The index as Markdown, over all models with a report and verdicts below the working directory."""
    patterns = (paths.VERIFICATION.format(model="*", run=run) for run in ("", "/*"))
    files = [file for pattern in patterns for file in sorted(Path().glob(pattern))]
    models = [read_json(file)["model"] for file in files]
    described = [_model(name) for name in models if path(paths.REPORT, name).exists()]
    return sections("index.md.jinja", models=described, by_size=_by_size(described))


def _model(model: str) -> dict[str, Any]:
    verification, claims = read_json(path(paths.VERIFICATION, model)), read_json(path(paths.CLAIMS, model))
    here = path(paths.INDEX).parent
    return {
        "name": model,
        "note": read_json(path(paths.VERIFIED, model))["note"],
        "report": path(paths.REPORT, model).relative_to(here),
        "page": path(paths.REPORT_PAGE, model).relative_to(here),
        "passed": verification["passed"],
        "checks": _statuses(verification),
        "claims": [claim for statements in claims.values() for claim in statements if claim["verdict"]],
        "experiments": [_experiment(model, name) for name in verification["experiments"]],
    }


def _statuses(verification: dict[str, Any]) -> dict[str, list[str]]:
    """The verdicts of each kind of check, over all experiments."""
    statuses = {"published": [verification["published"]["status"]]}
    for checks in verification["experiments"].values():
        for name, check in checks.items():
            statuses.setdefault(name, []).append(check["status"])
    return statuses


def _experiment(model: str, name: str) -> dict[str, Any]:
    summary = tables.read(path(paths.SUMMARY, model, name), tables.SUMMARY)
    key = summary[(summary["protocol"] == "raw") & (summary["layer"] == OUTPUT) & summary["key"]]
    record = read_json(path(paths.RECORD, model, name))
    return {
        "name": name,
        "title": record["experiment"]["title"],
        "layers": record["shape"]["layers"],
        "d_model": record["shape"]["d_model"],
        "steered_at": record["injection"]["block"],
        "key": key.head(MOST_KEYS).to_dict("records"),
    }


def _by_size(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every key token of every experiment, with its change in each model that has it, the smallest model first.

    An experiment is measured once per model: of a model's runs the first that has it is named.
    """
    rows = [
        {"model": model["name"], "page": model["page"], **experiment, **token}
        for place, model in enumerate(models)
        for experiment in model["experiments"]
        for token in experiment["key"]
        if not any(_has(other, model["name"], experiment["name"]) for other in models[:place])
    ]
    first_seen = {row["name"]: place for place, row in reversed(list(enumerate(rows)))}
    return sorted(
        rows, key=lambda row: (first_seen[row["name"]], row["position"], row["layers"], row["d_model"], row["model"])
    )


def _has(model: dict[str, Any], name: str, experiment: str) -> bool:
    """Whether a model, or a run on it, is that of `name` and has an experiment."""
    same = model["name"].partition("/")[0] == name.partition("/")[0]
    return same and experiment in [each["name"] for each in model["experiments"]]
