"""One file of the hub: where it comes from, and what proves that a file on disk is it."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_url

from replication.base.config import HubFiles
from replication.base.files import read_json
from replication.base.hashes import git_blob_id


@dataclass(frozen=True)
class PinnedFile:
    """One file wanted."""

    source: HubFiles
    name: str
    target: Path

    @property
    def pinned(self) -> str | None:
        """SHA-256 it must have; None where only the commit pins it."""
        return self.source.sha256[self.name]

    @property
    def inside(self) -> str:
        """Path inside the repository."""
        return f"{self.source.path}/{self.name}".lstrip("/")

    @property
    def what(self) -> str:
        """The file, for messages."""
        return f"{self.inside} of {self.source.repo}"

    @property
    def origin(self) -> dict[str, str]:
        """What the file is a copy of."""
        return {
            "repo": self.source.repo,
            "repo_type": self.source.repo_type,
            "revision": self.source.revision,
            "path": self.inside,
        }

    @property
    def note(self) -> Path:
        """Where the origin of a file without a pinned hash is noted."""
        return self.target.with_name(f".{self.name}.origin")

    @property
    def pin(self) -> str:
        """Text that names the content."""
        return self.pinned or json.dumps(self.origin)

    @property
    def partial(self) -> Path:
        """Where the download grows; named by the pin, so whoever began it, it is the beginning of the same file."""
        return self.target.with_name(f".{self.name}.{hashlib.sha256(self.pin.encode()).hexdigest()[:8]}.partial")

    @property
    def all_partials(self) -> list[Path]:
        """What downloads to the target have left, under any pin; earlier versions added the machine and the process."""
        name = re.compile(rf"\.{re.escape(self.name)}\.[0-9a-f]{{8}}(-[0-9a-f]{{8}}-\d+)?\.partial")
        return [path for path in self.target.parent.iterdir() if name.fullmatch(path.name)]

    @property
    def address(self) -> str:
        """Address at the hub."""
        return hf_hub_url(
            self.source.repo,
            self.inside,
            repo_type=self.source.repo_type,
            revision=self.source.revision,
        )


def noted(file: PinnedFile) -> object:
    """The note beside a file without a pinned hash; None if there is none or it is torn."""
    try:
        return read_json(file.note)
    except (OSError, ValueError):
        return None


def flaw_of(file: PinnedFile, path: Path, digest: str, etag: str) -> str:
    """What shows that `path` is not the file; empty if it is."""
    if file.pinned is not None:
        return "" if digest == file.pinned else f"its SHA-256 is {digest} instead of {file.pinned}"
    if re.fullmatch("[0-9a-f]{64}", etag) and digest != etag:
        return f"its SHA-256 is {digest} instead of {etag}"
    if re.fullmatch("[0-9a-f]{40}", etag) and (blob := git_blob_id(path)) != etag:
        return f"its git blob id is {blob} instead of {etag}"
    if path.name.endswith(".json") or file.name.endswith(".json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return "it is not JSON"
    return ""
