"""What Snakemake itself remembers of the jobs that made files: rule, command, inputs, times.

Its store is a folder with one JSON file per output, named after the output's path in base 64; a name that is too long
is split into folders that begin with @, and the file. A missing or damaged record is skipped: a run that keeps no
records, or keeps them in a database, leaves jobs undescribed, never misdescribed.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STORE = Path(".snakemake/metadata")
"""Where Snakemake keeps its records, below the folder it works in."""


@dataclass(frozen=True)
class Job:
    """A job that has succeeded."""

    rule: str
    command: str
    inputs: list[str]
    """Paths as Snakemake has them: relative to where it works, or absolute."""
    outputs: list[str]
    """Those of its outputs that `jobs` was called with."""
    started: datetime
    ended: datetime


def jobs(outputs: Iterable[str], store: Path = STORE) -> list[Job]:
    """The jobs that made `outputs`, by the time they started."""
    named = set(outputs)
    by_command: dict[str, dict[str, dict[str, Any]]] = {}
    for output, record in sorted(_records(store).items()):
        if output in named:
            by_command.setdefault(record["shellcmd"], {})[output] = record
    return sorted((_job(made) for made in by_command.values()), key=lambda job: (job.started, job.command))


def _job(made: dict[str, dict[str, Any]]) -> Job:
    """One job from the records of its outputs."""
    records = list(made.values())
    started, ended = min(each["starttime"] for each in records), max(each["endtime"] for each in records)
    return Job(
        records[0]["rule"],
        records[0]["shellcmd"],
        records[0]["input"],
        list(made),
        datetime.fromtimestamp(started, UTC),
        datetime.fromtimestamp(ended, UTC),
    )


def _records(store: Path) -> dict[str, dict[str, Any]]:
    """Every whole record, by the path of its output."""
    records = {}
    for file in store.rglob("*"):
        if not file.is_file():
            continue
        try:
            name = "".join(part.removeprefix("@") for part in file.relative_to(store).parts)
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["shellcmd"] and record["starttime"] and record["endtime"] and not record["incomplete"]:
                records[urlsafe_b64decode(name).decode("utf-8")] = record
        except (ValueError, KeyError, TypeError, OSError):
            continue
    return records
