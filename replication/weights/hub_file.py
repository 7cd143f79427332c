"""One file of the hub: where it comes from, and how a file on disk is proven to be it."""

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
    """A file to be obtained."""

    source: HubFiles
    name: str
    target: Path

    @property
    def pinned(self) -> str | None:
        """SHA-256 that it must have; None where only the commit pins it."""
        return self.source.sha256[self.name]

    @property
    def path_in_repo(self) -> str:
        """Path inside the repository."""
        return f"{self.source.path}/{self.name}".lstrip("/")

    @property
    def label(self) -> str:
        """How messages name the file."""
        return f"{self.path_in_repo} of {self.source.repo}"

    @property
    def origin(self) -> dict[str, str]:
        """What the file is a copy of."""
        return {
            "repo": self.source.repo,
            "repo_type": self.source.repo_type,
            "revision": self.source.revision,
            "path": self.path_in_repo,
        }

    @property
    def origin_path(self) -> Path:
        """Where the origin of a file without a pinned SHA-256 is recorded."""
        return self.target.with_name(f".{self.name}.origin")

    @property
    def pin(self) -> str:
        """Text that names the content."""
        return self.pinned or json.dumps(self.origin)

    @property
    def partial(self) -> Path:
        """Where the download is written; named by the pin alone, so that any process can continue it."""
        return self.target.with_name(f".{self.name}.{hashlib.sha256(self.pin.encode()).hexdigest()[:8]}.partial")

    @property
    def all_partials(self) -> list[Path]:
        """Partials under any pin; their names also held machine and process in earlier versions."""
        name = re.compile(rf"\.{re.escape(self.name)}\.[0-9a-f]{{8}}(-[0-9a-f]{{8}}-\d+)?\.partial")
        return [path for path in self.target.parent.iterdir() if name.fullmatch(path.name)]

    @property
    def address(self) -> str:
        """Address at the hub."""
        return hf_hub_url(
            self.source.repo,
            self.path_in_repo,
            repo_type=self.source.repo_type,
            revision=self.source.revision,
        )


def recorded_origin(file: PinnedFile) -> object:
    """The record beside a file without a pinned SHA-256; None if there is none or it is not JSON."""
    try:
        return read_json(file.origin_path)
    except (OSError, ValueError):
        return None


def mismatch_of(file: PinnedFile, path: Path, digest: str, etag: str) -> str:
    """The difference that shows that `path` is not the file; empty if it is."""
    if file.pinned is not None:
        return "" if digest == file.pinned else f"its SHA-256 is {digest} instead of {file.pinned}"
    if re.fullmatch("[0-9a-f]{64}", etag) and digest != etag:
        return f"its SHA-256 is {digest} instead of {etag}"
    if re.fullmatch("[0-9a-f]{40}", etag) and (blob := git_blob_id(path)) != etag:
        return f"its git blob id is {blob} instead of {etag}"
    if file.name.endswith(".json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return "it is not valid JSON"
    return ""
