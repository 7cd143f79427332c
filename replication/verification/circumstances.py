"""Under what circumstances two runs were made, side by side: settings, numerics, machine, versions, hashes."""

from typing import Any, NamedTuple

from replication.base.visible import visible
from replication.verification.runs import Run

_RESULTS = ("outputs_sha256", "finished")
"""Parts of the provenance that say what came out, or when, and not how."""


class Circumstance(NamedTuple):
    """One thing recorded for both runs."""

    name: str
    a: str
    b: str

    @property
    def same(self) -> bool:
        """Whether it is the same in both."""
        return self.a == self.b


def circumstances(a: Run, b: Run) -> list[Circumstance]:
    """Everything recorded for both runs, in the order of the first one's files."""
    sides = _recorded(a), _recorded(b)
    return [Circumstance(name, value, sides[1][name]) for name, value in sides[0].items() if name in sides[1]]


def _recorded(run: Run) -> dict[str, str]:
    recorded: dict[str, str] = {}
    for name, (_, record) in run.experiments.items():
        # A run's record holds the whole experiment, a pin's the part of it that decides the numbers.
        settings = record.get("experiment", record)
        texts = _flat(f"experiment {name}", {key: settings[key] for key in ("prompt", "steering")})
        recorded |= {key: visible(text) for key, text in texts.items()}
        recorded |= _flat("sha256", record["sha256"])
    # The numerics of all experiments; where they differ from one to the next, all are listed.
    by_value: dict[str, dict[str, None]] = {}
    for _, record in run.experiments.values():
        for key, value in _flat("numerics", record.get("numerics", {})).items():
            by_value.setdefault(key, {})[value] = None
    recorded |= {key: ", ".join(values) for key, values in by_value.items()}
    kept = {key: value for key, value in run.provenance.items() if key not in (*_RESULTS, "versions", "inputs_sha256")}
    recorded |= _flat("", kept)
    versions = run.provenance.get("versions", {})
    return recorded | _flat("version of", {name: version["installed"] for name, version in versions.items()})


def _flat(prefix: str, value: Any) -> dict[str, str]:
    """Nested mappings as one, the names of the levels joined."""
    if not isinstance(value, dict):
        return {prefix: "not known" if value is None else str(value)}
    flat: dict[str, str] = {}
    for key, part in value.items():
        flat |= _flat(f"{prefix} {key}".strip(), part)
    return flat
