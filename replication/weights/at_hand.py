"""Whether a model's files are still the ones that were verified: checked at every start, without reading them.

The step `weights` hashes the files in the model's folders and records the state of each. When Snakemake starts, the
states are compared: if all are equal the mark is the one that the step was last started with, else a new one, and the
step runs again. Works where only Snakemake is installed.
"""

import hashlib
import json
from typing import Any

from replication.base.files import read_json, state, write_json
from replication.base.paths import RESOURCES, STATES, local_folder, path


def mark(name: str, model: dict[str, Any]) -> str:
    """The mark of a model's files: that of the last `record` while none of them has changed, else a new one.

    Args:
        name: Name of the model in the configuration.
        model: Its entry there, checked.
    """
    now = _states(name, model)
    try:
        recorded = read_json(path(STATES, name))
        if recorded["files"] == now:
            return str(recorded["mark"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never recorded, or damaged
    return hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:16]


def record(name: str, model: dict[str, Any], given: str) -> None:
    """Records the files' states under the mark that the step was started with."""
    write_json(path(STATES, name), {"mark": given, "files": _states(name, model)})


def _states(name: str, model: dict[str, Any]) -> dict[str, Any]:
    """States of all files in the model's folders, by path; hidden ones are none of the model's."""
    folders = [local_folder(model[key]) for key in ("folder", "lens_folder") if model.get(key)]
    downloads = path(RESOURCES, name)
    return {
        # Without the device, which each machine of a cluster numbers differently.
        str(file): {"lies_at": str(file.resolve()), **state(file)}
        for folder in [*folders, downloads / "model", downloads / "lens"]
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".")
    }
