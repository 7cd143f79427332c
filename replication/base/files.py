"""Writing files so that a killed process leaves none incomplete under its final name."""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replication.base import processes

ABANDONED = 24 * 3600.0
"""Seconds without a change after which a temporary file of another machine's process is deleted."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which is renamed to `path` if the block ends without an error.

    The data are on the disk before the rename, and the rename is the last step: `path` is complete whenever it
    exists, even after SIGKILL or a power cut. Temporary files of killed processes are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    # The suffix stays last, because writers such as matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{processes.tag()}-{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        put(temporary, path)
    except OSError as error:
        # The error of a full disk names no file, and the temporary name means nothing to the user.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def put(temporary: Path, path: Path) -> None:
    """Renames a complete file, or a link, to `path`: its data are written to the disk first."""
    if not temporary.is_symlink():
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_orphans(path: Path) -> None:
    """Removes temporary files of `path` that ended processes of this machine left, and any that are a day old."""
    beginning, end = re.escape(f".{path.stem}."), re.escape(f".partial{path.suffix}")
    for file in path.parent.iterdir():
        if match := re.fullmatch(rf"{beginning}([0-9a-f]{{8}})-(\d+){end}", file.name):
            with contextlib.suppress(OSError):  # Another process may remove it too.
                dead = match[1] == processes.tag() and not processes.runs(int(match[2]))
                if dead or time.time() - file.stat().st_mtime > ABANDONED:
                    file.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 with line ends unchanged, completely or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, completely or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file that an earlier step wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def state(path: Path) -> dict[str, int]:
    """What changes when a file's content does: size, times (ns) and inode; for a link, those of the file it points to.

    Raises:
        OSError: There is no such file.
    """
    status = path.stat()
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        # The change time cannot be set back, unlike the modification time.
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
    }
