"""Measured numbers against pins, tuned-lens' own and published ones: the verdicts, and whether all is well."""

from pathlib import Path
from typing import Any

import pandas as pd

from replication.base import paths, tables
from replication.base.errors import UserError
from replication.base.files import read_json
from replication.base.fingerprint import fingerprint
from replication.base.numbers import fixed
from replication.verification import published_table
from replication.verification.cells import DIFFERS, NOT_RUN, agreement, compared
from replication.verification.pins import against_pins, inputs, pinned_cells, same_bits_expected
from replication.verification.rounding import EXACT, tolerance_of, tolerance_to_other_code


def verification(model: str, experiments: list[str], despite: list[str]) -> dict[str, Any]:
    """All verdicts of a model: the published values, and per experiment the pins and the second opinion.

    Args:
        model: Name of the model, or of its run.
        experiments: Names of the experiments.
        despite: Published sets that may differ, beside those that the pins were recorded despite.

    Returns:
        `passed` (no verdict is "differs"), `published` (see `published_table.outcome`), per experiment `pins` and
        `second_opinion`, each with a status: "agrees", "differs", or "not run" with a reason, and the `fingerprints`.

    Raises:
        UserError: A set of `despite` does not differ.
    """
    opinion = tables.read(paths.path(paths.SECOND_OPINION, model), tables.SECOND_OPINION)
    verdicts = {name: _experiment(model, name, opinion[opinion["experiment"] == name]) for name in experiments}
    published = published_table.outcome(
        published_table.read(paths.path(paths.PUBLISHED, model)), [*despite, *_pinned_despite(model)]
    )
    differing = published.get("verdicts", {})
    if odd := [name for name in despite if name not in differing]:
        those = ", ".join(differing) or "none"
        raise UserError(f"pin_despite: {odd[0]!r} is not a published set that differs; those that do: {those}")
    statuses = [check["status"] for checks in verdicts.values() for check in checks.values()]
    passed = DIFFERS not in [*statuses, published["status"]]
    fingerprints = {name: read_json(paths.path(paths.RECORD, model, name))["fingerprint"] for name in experiments}
    return {
        "model": model,
        "passed": passed,
        "published": published,
        "experiments": verdicts,
        "fingerprints": fingerprints,
    }


def _pinned_despite(model: str) -> list[str]:
    """The published sets that differed from these weights when their pins were recorded."""
    file = paths.REPOSITORY / paths.path(paths.PIN_PROVENANCE, model)
    pinned = read_json(file) if file.exists() else {}
    same = pinned.get("inputs_sha256") == read_json(paths.path(paths.VERIFIED, model))["sha256"]
    return pinned.get("pinned_despite", []) if same else []


def _experiment(model: str, experiment: str, opinion: pd.DataFrame) -> dict[str, Any]:
    record = read_json(paths.path(paths.RECORD, model, experiment))
    losses = tables.read(paths.path(paths.LOSSES, model, experiment), tables.LOSSES)
    return {"pins": _pins(losses, record, model, experiment), "second_opinion": _second_opinion(losses, opinion)}


def _pins(losses: pd.DataFrame, record: dict[str, Any], model: str, experiment: str) -> dict[str, Any]:
    pin_path, record_path = (
        paths.REPOSITORY / paths.path(pattern, model, experiment) for pattern in (paths.PINS, paths.PIN_RECORD)
    )
    if not pin_path.exists() and not record_path.exists():
        return {"status": NOT_RUN, "reason": "no pin has been recorded for this model and experiment"}
    pinned_for, ours = read_json(record_path), inputs(record)
    if changed := [key for key in ours if pinned_for[key] != ours[key]]:
        reason = f"no pin for this configuration: it was recorded for {', '.join(_OTHER[key] for key in changed)}"
        return {"status": NOT_RUN, "reason": reason}
    exact = same_bits_expected(pinned_for, record)
    allowed = EXACT if exact else tolerance_of(pinned_for)
    result = against_pins(pinned_cells(losses, record), tables.read(pin_path, tables.PIN), allowed)
    same = pinned_for["fingerprint"] == fingerprint(losses)
    # Where bits must agree, so must those of the cells that are not pinned one by one.
    status = result["status"] if same or not exact else DIFFERS
    return result | {"status": status, "exact": exact, "same_fingerprint": same}


def _second_opinion(losses: pd.DataFrame, opinion: pd.DataFrame) -> dict[str, Any]:
    """Loss and entropy of every raw cell against tuned-lens' own, within the rounding of its logits, not of ours."""
    raw, allowed = losses[losses["protocol"] == "raw"], tolerance_to_other_code(float(opinion["largest_logit"].max()))
    return agreement(compared(raw, opinion, list(tables.CELL), allowed), allowed)


_OTHER = {"prompt": "another prompt", "steering": "another steering", "sha256": "other files of the model"}
"""What a pin is said to be recorded for where an entry of `pins.inputs` differs."""

_BITS = {
    (True, True): ", same bits in all",
    (True, False): ", but other bits than the pin's in the whole table",
    (False, True): ", same bits in all (not required: other arithmetic or version of torch than the pin's)",
    (False, False): ", within tolerance (other arithmetic or version of torch than the pin's)",
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
    lines += [f"{'':18} published set   {verdict:8} {name}" for name, verdict in published.get("verdicts", {}).items()]
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


def what_to_send(verdicts: dict[str, Any], archive: Path) -> str:
    """What the last lines of a run that differs say: the archive, what to do with it, and how to pin all the same."""
    model, published = verdicts["model"], verdicts["published"].get("verdicts", {})
    statuses = [check["status"] for checks in verdicts["experiments"].values() for check in checks.values()]
    lines = [
        f"Measured numbers differ; each is listed above, and in {paths.path(paths.REPORT_PAGE, model)}, Verification.",
        f"Packed {archive}: please send it to those who maintain this package, in an issue. It holds the tables, the "
        "report, and the machine and versions they were made with.",
    ]
    if DIFFERS not in statuses:
        names = ",".join(name for name, verdict in published.items() if verdict == DIFFERS)
        lines.append(
            "Only published values differ, which are other people's numbers. To pin this run all the same: "
            f"snakemake --cores 4 pin --config model={model.partition('/')[0]} pin_despite={names}"
        )
    return "\n".join(lines) + "\n"


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
