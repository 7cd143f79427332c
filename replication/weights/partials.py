"""Partial downloads: whose they are, and who may go on with one that a killed process left.

A partial carries in its name what is being fetched (the pin), the machine and the process that writes it:
`.model.safetensors.<pin>-<machine>-<process>.partial`. Only that process writes to it, so two at once need no
lock and cannot hurt each other, on file systems where locks do nothing either. What a process finds:

- a partial of its own, or of a process of this machine that no longer runs: taken over, by renaming it.
  Renaming is atomic, so of two heirs one gets it.
- any other (a process that runs, or one of another machine or container, of which nobody can know): copied.
  What it has so far is the beginning of the same file, whoever goes on with it; SHA-256 decides in the end.

Taken over or copied, the download continues at the byte it stopped at.
"""

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from replication.base import processes
from replication.base.files import ABANDONED


def own(target: Path, pin: str) -> Path:
    """The partial that only this process writes.

    Args:
        target: Where the whole file will lie; the partial lies beside it.
        pin: Text that names the content wanted: partials of another revision are no beginning of it.
    """
    tag = hashlib.sha256(pin.encode()).hexdigest()[:8]
    return target.with_name(f".{target.name}.{tag}-{processes.tag()}-{os.getpid()}.partial")


def claimed(target: Path, pin: str) -> Path:
    """This process's partial, having taken over the longest that a dead process left; it may not exist."""
    mine = own(target, pin)
    orphans = [path for path in _partials(target) if _same_pin(path, mine) and _is_ours(path)]
    for orphan in sorted(orphans, key=_size, reverse=True):
        if orphan == mine:
            break
        try:
            orphan.replace(mine)
            break
        except FileNotFoundError:
            continue  # Another heir was faster.
    return mine


def copied(target: Path, mine: Path) -> None:
    """Fills this process's partial with a copy of the longest other one, if that has more."""
    others = [path for path in _partials(target) if _same_pin(path, mine)]
    longest = max(others, key=_size, default=mine)
    if _size(longest) > _size(mine):
        # Its owner may finish meanwhile.
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(longest, mine)


def clean(target: Path) -> None:
    """Deletes the partials of a file that is complete: ours, dead processes', and a day-old stranger's."""
    for path in _partials(target):
        if _is_ours(path) or time.time() - _modified(path) > ABANDONED:
            path.unlink(missing_ok=True)


def _partials(target: Path) -> Iterator[Path]:
    for path in target.parent.iterdir():
        if path.name.startswith(f".{target.name}.") and _NAME.fullmatch(path.name[len(target.name) + 1 :]):
            yield path


_NAME = re.compile(r"\.([0-9a-f]{8})-([0-9a-f]{8})-(\d+)\.partial")


def _parts(path: Path) -> tuple[str, str, int]:
    """Pin, machine and process in a partial's name."""
    match = _NAME.search(path.name)
    assert match is not None
    return match[1], match[2], int(match[3])


def _same_pin(path: Path, mine: Path) -> bool:
    return _parts(path)[0] == _parts(mine)[0]


def _is_ours(path: Path) -> bool:
    """Whether this process, or one of this machine that certainly runs no more, wrote it."""
    _, machine, process = _parts(path)
    return machine == processes.tag() and (process == os.getpid() or not processes.runs(process))


def _size(path: Path) -> int:
    """Bytes in a partial; -1 when it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
