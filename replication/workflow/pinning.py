"""Records a run's numbers as the model's pins: never from unknown code, and never over other pins."""

from typing import Any

import pandas as pd

from replication.base import tables
from replication.base.errors import UserError
from replication.base.files import read_json, write_json
from replication.base.paths import LOSSES, PIN_PROVENANCE, PIN_RECORD, PINS, PROVENANCE, RECORD, REPOSITORY, path
from replication.verification.pins import pin_record, pinned_cells, same_bits_expected
from replication.workflow.provenance import code_state, commit_text

Pin = tuple[pd.DataFrame, dict[str, Any]]
"""Columns of `tables.PIN`, and what they were measured for and under."""


def record_pins(model: str, experiments: list[str], uncommitted: bool, despite: list[str]) -> list[str]:
    """Writes the pins that are not there yet, all or none, with the circumstances of the run.

    Args:
        model: Name of the model.
        experiments: Names of the experiments, measured and verified.
        uncommitted: Whether code with uncommitted changes may record pins.
        despite: Published sets that differ, and were allowed to.

    Returns:
        The experiments that were recorded; those left out have the same pins already.

    Raises:
        UserError: Other pins are there, or the code is not a commit.
    """
    made = {name: _pin(model, name) for name in experiments}
    missing = [name for name in experiments if not _is_recorded(model, name, made[name])]
    if not missing:
        return []
    code = code_state()
    if (code["commit"] is None or code["uncommitted_changes"]) and not uncommitted:
        raise UserError(
            f"{REPOSITORY}: {commit_text(code)}, so nobody could say which code a pin was recorded with; "
            "commit first, or type the command with --config pin_uncommitted=true, and the pins will say so"
        )
    for name in missing:
        cells, record = made[name]
        tables.write(cells, tables.PIN, REPOSITORY / path(PINS, model, name))
        write_json(REPOSITORY / path(PIN_RECORD, model, name), record | code)
    run = read_json(path(PROVENANCE, model))
    write_json(REPOSITORY / path(PIN_PROVENANCE, model), run | code | {"pinned_despite": despite})
    return missing


def _pin(model: str, experiment: str) -> Pin:
    record = read_json(path(RECORD, model, experiment))
    return pinned_cells(tables.read(path(LOSSES, model, experiment), tables.LOSSES), record), pin_record(record)


def _is_recorded(model: str, experiment: str, made: Pin) -> bool:
    """Whether the pin is recorded already; raises UserError where another one is."""
    file, record_file = (REPOSITORY / path(pattern, model, experiment) for pattern in (PINS, PIN_RECORD))
    if not record_file.exists():
        return False
    there, (cells, record) = read_json(record_file), made
    # Builds with other names may compute the same bits.
    numerics = record["numerics"] if same_bits_expected(there, record) else there["numerics"]
    other = [key for key, value in record.items() if (there | {"numerics": numerics}).get(key) != value]
    if not other and tables.read(file, tables.PIN).equals(cells):
        return True
    raise UserError(
        f"{path(PINS, model, experiment)}: there is a pin already, with another {', '.join(other) or 'loss'}; pins are "
        f"not replaced: to record this run instead, delete {path(PINS, model, '*').parent} first"
    )
