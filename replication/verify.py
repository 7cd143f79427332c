"""Measured numbers against pins and against tuned-lens' own read-out; the verdicts, and whether all is well."""

from typing import Any

import pandas as pd

from replication import tables
from replication.config import REPOSITORY
from replication.files import read_json
from replication.fingerprint import fingerprint
from replication.paths import LOSSES, PIN_RECORD, PINS, PUBLISHED, RECORD, SECOND_OPINION, path
from replication.pins import compare, inputs, pinned_cells, same_bits_expected
from replication.published import table as published_table
from replication.published.table import outcome

SECOND_OPINION_TOLERANCE = 1e-4
"""Largest difference in nats between our lens rows and tuned-lens' own that passes."""


def verification(model: str, experiments: list[str]) -> dict[str, Any]:
    """All verdicts of a model: the published values, and per experiment the pins and the second opinion.

    Returns:
        `passed` (no verdict is "differs"), `published` (see `published.table.outcome`), per experiment `pins` and
        `second_opinion`, each with a status: "agrees", "differs", or "not run" with a reason, and the `fingerprints`.
    """
    opinion = tables.read(path(SECOND_OPINION, model), tables.SECOND_OPINION)
    verdicts = {
        name: _experiment(model, name, opinion[opinion["experiment"] == name].reset_index(drop=True))
        for name in experiments
    }
    published = outcome(published_table.read(path(PUBLISHED, model)))
    statuses = [check["status"] for checks in verdicts.values() for check in checks.values()]
    passed = "differs" not in [*statuses, published["status"]]
    fingerprints = {name: read_json(path(RECORD, model, name))["fingerprint"] for name in experiments}
    return {
        "model": model,
        "passed": passed,
        "published": published,
        "experiments": verdicts,
        "fingerprints": fingerprints,
    }


def _experiment(model: str, experiment: str, opinion: pd.DataFrame) -> dict[str, Any]:
    record = read_json(path(RECORD, model, experiment))
    losses = tables.read(path(LOSSES, model, experiment), tables.LOSSES)
    return {"pins": _pins(losses, record, model, experiment), "second_opinion": _second_opinion(opinion)}


def _pins(losses: pd.DataFrame, record: dict[str, Any], model: str, experiment: str) -> dict[str, Any]:
    pin_path, record_path = (REPOSITORY / path(pattern, model, experiment) for pattern in (PINS, PIN_RECORD))
    if not pin_path.exists() and not record_path.exists():
        return {"status": "not run", "reason": "no pin has been recorded for this model and experiment"}
    pinned_for, ours = read_json(record_path), inputs(record)
    if changed := [key for key in ours if pinned_for[key] != ours[key]]:
        reason = f"no pin for this configuration: it was recorded for another {', '.join(changed)}"
        return {"status": "not run", "reason": reason}
    exact = same_bits_expected(pinned_for, record)
    tolerance = 0.0 if exact else pinned_for["tolerance_nats"]
    result = compare(pinned_cells(losses, record), tables.read(pin_path, tables.PIN), tolerance)
    same = pinned_for["fingerprint"] == fingerprint(losses)
    # Where bits must agree, so must those of the cells that are not pinned one by one.
    status = result["status"] if same or not exact else "differs"
    return result | {"status": status, "exact": exact, "same_fingerprint": same}


def _second_opinion(table: pd.DataFrame) -> dict[str, Any]:
    differences = {
        statistic: (table[statistic].astype("float64") - table[f"{statistic}_tuned_lens"]).abs()
        for statistic in ("loss", "entropy")
    }
    worst = differences["loss"].idxmax()
    largest = {statistic: float(difference.max()) for statistic, difference in differences.items()}
    return {
        "status": "agrees" if max(largest.values()) <= SECOND_OPINION_TOLERANCE else "differs",
        "cells": len(table),
        "tolerance": SECOND_OPINION_TOLERANCE,
        "largest_difference": largest["loss"],
        "largest_difference_entropy": largest["entropy"],
        "at": {"layer": table["layer"].iloc[worst], "position": int(table["position"].iloc[worst])},
    }


_BITS = {
    (True, True): ", same bits in all",
    (True, False): ", but other bits than the pin's in the whole table",
    (False, True): ", same bits in all (not demanded: other arithmetic or build of torch than the pin's)",
    (False, False): ", within tolerance (other arithmetic or build of torch than the pin's)",
}
"""What a fingerprint adds to the verdict on pins, by whether equal bits were demanded and found."""


def verdict_lines(verdicts: dict[str, Any]) -> str:
    """One line per check: experiment, check, verdict, largest difference."""
    published = verdicts["published"]
    if published["status"] == "not run":
        detail = published["reason"]
    else:
        detail = f"{published['values']} values of {published['sets']} sets, {published['sets_not_run']} sets not run"
    lines = [f"{'':18} published       {published['status']:8} {detail}"]
    for experiment, checks in verdicts["experiments"].items():
        for name, check in checks.items():
            if check["status"] == "not run":
                detail = check["reason"]
            else:
                detail = f"largest difference {check['largest_difference']:.2g} nats in {check['cells']} cells"
                detail += _BITS.get((check.get("exact"), check.get("same_fingerprint")), "")
            lines.append(f"{experiment:18} {name.replace('_', ' '):15} {check['status']:8} {detail}")
    lines += [f"{experiment:18} fingerprint     {digest}" for experiment, digest in verdicts["fingerprints"].items()]
    return "\n".join(lines)


def off_table(verdicts: dict[str, Any]) -> str:
    """What is off, by how much, as lines of text; empty where nothing is."""
    lines = [
        f"{row['set']}, {row['quantity']}: published {row['published']:.8g}, measured {row['measured']:.8g}, tolerance "
        f"{row['tolerance']:.2g} {row['note']}"
        for row in verdicts["published"].get("off", [])
    ]
    for experiment, checks in verdicts["experiments"].items():
        for name, check in checks.items():
            if check["status"] != "differs":
                continue
            lines.append(
                f"{experiment}: {name.replace('_', ' ')} differ by up to {check['largest_difference']:.3g} nats at "
                f"{check['at']} (tolerance {check['tolerance']:g})"
            )
            for cell in check.get("off", []):
                place = f"{cell['protocol']}, {cell['condition']}, layer {cell['layer']}, position {cell['position']}"
                lines.append(
                    f"  {place} {cell['target_token']!r}: pinned {cell['pinned']:.6f}, measured "
                    f"{cell['measured']:.6f}, off by {cell['difference']:.3g}"
                )
            for cell in check.get("on_one_side_only", []):
                place = ", ".join(value for name, value in cell.items() if name != "found_in")
                lines.append(f"  only in the {cell['found_in']}: {place}")
    return "\n".join(lines)
