"""Measured numbers against pins, tuned-lens' own and published ones: the verdicts, and whether all is well."""

from typing import Any

import pandas as pd

from replication.base import tables
from replication.base.files import read_json
from replication.base.fingerprint import fingerprint
from replication.base.numbers import fixed
from replication.base.paths import LOSSES, PIN_RECORD, PINS, PUBLISHED, RECORD, REPOSITORY, SECOND_OPINION, path
from replication.verification import published_table
from replication.verification.cells import DIFFERS, NOT_RUN, agreement, compared
from replication.verification.pins import against_pins, inputs, pinned_cells, same_bits_expected

SECOND_OPINION_TOLERANCE = 1e-4
"""Largest difference in nats between our lens rows and tuned-lens' own that passes."""


def verification(model: str, experiments: list[str]) -> dict[str, Any]:
    """All verdicts of a model: the published values, and per experiment the pins and the second opinion.

    Returns:
        `passed` (no verdict is "differs"), `published` (see `published_table.outcome`), per experiment `pins` and
        `second_opinion`, each with a status: "agrees", "differs", or "not run" with a reason, and the `fingerprints`.
    """
    opinion = tables.read(path(SECOND_OPINION, model), tables.SECOND_OPINION)
    verdicts = {name: _experiment(model, name, opinion[opinion["experiment"] == name]) for name in experiments}
    published = published_table.outcome(published_table.read(path(PUBLISHED, model)))
    statuses = [check["status"] for checks in verdicts.values() for check in checks.values()]
    passed = DIFFERS not in [*statuses, published["status"]]
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
    return {"pins": _pins(losses, record, model, experiment), "second_opinion": _second_opinion(losses, opinion)}


def _pins(losses: pd.DataFrame, record: dict[str, Any], model: str, experiment: str) -> dict[str, Any]:
    pin_path, record_path = (REPOSITORY / path(pattern, model, experiment) for pattern in (PINS, PIN_RECORD))
    if not pin_path.exists() and not record_path.exists():
        return {"status": NOT_RUN, "reason": "no pin has been recorded for this model and experiment"}
    pinned_for, ours = read_json(record_path), inputs(record)
    if changed := [key for key in ours if pinned_for[key] != ours[key]]:
        reason = f"no pin for this configuration: it was recorded for another {', '.join(changed)}"
        return {"status": NOT_RUN, "reason": reason}
    exact = same_bits_expected(pinned_for, record)
    tolerance = 0.0 if exact else pinned_for["tolerance_nats"]
    result = against_pins(pinned_cells(losses, record), tables.read(pin_path, tables.PIN), tolerance)
    same = pinned_for["fingerprint"] == fingerprint(losses)
    # Where bits must agree, so must those of the cells that are not pinned one by one.
    status = result["status"] if same or not exact else DIFFERS
    return result | {"status": status, "exact": exact, "same_fingerprint": same}


def _second_opinion(losses: pd.DataFrame, opinion: pd.DataFrame) -> dict[str, Any]:
    """Loss and entropy of every raw cell against tuned-lens' own."""
    raw = losses[losses["protocol"] == "raw"]
    cells = compared(raw, opinion, list(tables.CELL), SECOND_OPINION_TOLERANCE)
    return agreement(cells, SECOND_OPINION_TOLERANCE)


_BITS = {
    (True, True): ", same bits in all",
    (True, False): ", but other bits than the pin's in the whole table",
    (False, True): ", same bits in all (not required: other arithmetic or build of torch than the pin's)",
    (False, False): ", within tolerance (other arithmetic or build of torch than the pin's)",
}
"""What a fingerprint adds to the verdict on pins, by whether equal bits were required and whether they are equal."""


def verdict_lines(verdicts: dict[str, Any]) -> str:
    """One line per check: experiment, check, verdict, largest difference."""
    published = verdicts["published"]
    if published["status"] == NOT_RUN:
        detail = published["reason"]
    else:
        detail = f"{published['values']} values of {published['sets']} sets, {published['sets_not_run']} sets not run"
    lines = [f"{'':18} published       {published['status']:8} {detail}"]
    for experiment, checks in verdicts["experiments"].items():
        for name, check in checks.items():
            if check["status"] == NOT_RUN:
                detail = check["reason"]
            else:
                detail = f"largest difference {check['largest_difference']:.2g} nats in {check['cells']} cells"
                detail += _BITS.get((check.get("exact"), check.get("same_fingerprint")), "")
            lines.append(f"{experiment:18} {name.replace('_', ' '):15} {check['status']:8} {detail}")
    lines += [f"{experiment:18} fingerprint     {digest}" for experiment, digest in verdicts["fingerprints"].items()]
    return "\n".join(lines)


def off_table(verdicts: dict[str, Any]) -> str:
    """What differs, and by how much, as lines of text; empty where nothing does."""
    lines = [
        f"{row['set']}, {row['quantity']}: published {row['published']:.8g}, measured {row['measured']:.8g}, tolerance "
        f"{row['tolerance']:.2g} {row['note']}"
        for row in verdicts["published"].get("off", [])
    ]
    for experiment, checks in verdicts["experiments"].items():
        for name, check in checks.items():
            if check["status"] != DIFFERS:
                continue
            count = f"{check['cells_off']} {'cell differs' if check['cells_off'] == 1 else 'cells differ'}"
            lines.append(
                f"{experiment}, {name.replace('_', ' ')}: {count}; the largest difference is "
                f"{check['largest_difference']:.3g} nats of {check['statistic']} at {_place(check['at'])} "
                f"(tolerance {check['tolerance']:g})"
            )
            lines += [f"  {_off_line(cell)}" for cell in check["off"]]
    return "\n".join(lines)


def _place(cell: dict[str, Any]) -> str:
    return ", ".join(f"{key} {cell[key]}" for key in ("protocol", "condition", "layer", "position") if key in cell)


def _off_line(cell: dict[str, Any]) -> str:
    place = _place(cell)
    if "only_measured" in cell:
        return f"{place}: only {'measured' if cell['only_measured'] else 'expected'}"
    return (
        f"{place}: {cell['statistic']} {fixed(cell['measured'], 6)}, expected {fixed(cell['expected'], 6)}, "
        f"off by {cell['difference']:.3g}"
    )
