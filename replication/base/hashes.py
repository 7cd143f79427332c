"""SHA-256 of files, recorded so that gigabytes are not hashed again on every run.

The memory is a JSON file: for every path and device the file's state (`files.state`) when it was hashed, and its
SHA-256. A file whose state has changed is hashed again, and so is one on another device; the machines of a cluster,
each of which numbers a network folder's device differently, have entries of their own. The memory only saves time: if
it is missing, damaged or not writable it is ignored, and if two processes write it at once the later one wins and the
other's file is hashed again.
"""

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

from replication.base.files import read_json, state, write_json
from replication.base.progress import bar

_CHUNK = 1 << 20


def sha256(path: Path, memory: Path) -> str:
    """SHA-256 of a file, from the memory if the file has not changed since it was hashed.

    Args:
        path: File; a symbolic link counts as the file it points to.
        memory: JSON file with the hashes of files already hashed.

    Raises:
        OSError: The file cannot be read.
    """
    before = state(path)
    if known := remembered(path, memory):
        return known
    digest = digest_of(path)
    # The hash of a file that changed while it was read is not recorded.
    if state(path) == before:
        remember(path, digest, memory)
    return digest


def remembered(path: Path, memory: Path) -> str | None:
    """SHA-256 of a file that has not changed since it was hashed; None if it would have to be hashed."""
    entry = _entries(memory).get(_key(path))
    if isinstance(entry, dict) and entry.items() >= state(path).items() and _is_digest(entry.get("sha256")):
        return str(entry["sha256"])
    return None


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read now, with a progress bar if that takes long."""
    return _digest(path, hashlib.sha256())


def git_blob_id(path: Path) -> str:
    """The id git gives a file's content (SHA-1), which is the hub's ETag of files not in LFS."""
    return _digest(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size))


def remember(path: Path, digest: str, memory: Path) -> None:
    """Records the SHA-256 that the file has in its present state."""
    entries = _entries(memory)
    entries[_key(path)] = {**state(path), "sha256": digest}
    # A memory in a read-only folder costs time, not correctness.
    with contextlib.suppress(OSError):
        write_json(memory, entries)


def _digest(path: Path, algorithm: "hashlib._Hash") -> str:
    with path.open("rb") as file, bar(f"checking {path.name}", path.stat().st_size) as progress:
        while chunk := file.read(_CHUNK):
            algorithm.update(chunk)
            progress.update(len(chunk))
    return algorithm.hexdigest()


def _key(path: Path) -> str:
    return f"{path.resolve()} on device {path.stat().st_dev}"


def _entries(memory: Path) -> dict[str, Any]:
    try:
        entries = read_json(memory)
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None
