"""The lock that a killed run left behind: known by the process that held it, and removed once that has ended.

Snakemake's lock names files but no owner, and survives SIGKILL. So a run notes its process beside the lock when it
starts; Snakemake removes both when it ends. Works where only Snakemake is installed.
"""

import contextlib
import os
import sys
from pathlib import Path

from replication.base import processes
from replication.base.files import read_json, write_json

# Snakemake's folder; it reads only the names that it gives itself, and removes the whole folder when it unlocks.
LOCKS = Path(".snakemake/locks")


def note_owner() -> None:
    """Notes beside Snakemake's lock that this process holds it."""
    write_json(LOCKS / f"owner.{os.getpid()}.json", processes.this()._asdict())


def remove_stale() -> None:
    """Removes the lock of a run that was killed on this machine, or ended with it.

    It stays where an owner may live (running, on another machine, not readable), where nobody noted an owner, and
    where it is newer than the notes: Snakemake then says itself what to type.
    """
    owners = list(LOCKS.glob("owner.*.json"))
    if not owners or not all(map(_has_ended, owners)):
        return
    with contextlib.suppress(OSError):  # a folder that cannot be written, or another run that removes the same
        noted = max(file.stat().st_mtime_ns for file in owners)
        for lock in [*LOCKS.glob("*.lock"), *owners]:
            if lock.stat().st_mtime_ns <= noted:
                lock.unlink()
        print("The last run was killed; its lock is removed.", file=sys.stderr)


def _has_ended(owner: Path) -> bool:
    try:
        return processes.ended(processes.Process(**read_json(owner)))
    except (OSError, ValueError, TypeError):
        return False
