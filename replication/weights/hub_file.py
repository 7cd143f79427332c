"""One file of the hub: where it comes from, and how a file on disk is proven to be it."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_url, try_to_load_from_cache

from replication.base.config import HubFiles
from replication.base.files import read_json
from replication.base.hashes import git_blob_id, remembered


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
        """Text that identifies the content."""
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
    def cached(self) -> str | None:
        """Path of the copy in the user's Hugging Face cache, which nothing has verified; None if there is none."""
        source = self.source
        found = try_to_load_from_cache(
            source.repo, self.path_in_repo, revision=source.revision, repo_type=source.repo_type
        )
        return found if isinstance(found, str) else None

    @property
    def address(self) -> str:
        """Address at the hub."""
        return hf_hub_url(
            self.source.repo,
            self.path_in_repo,
            repo_type=self.source.repo_type,
            revision=self.source.revision,
        )


def still_to_fetch(file: PinnedFile, memory: Path) -> int | None:
    """Bytes of the file that are not on disk yet; None if the configuration does not give its size.

    What is there is not hashed for this: only verified files have the name, but the pin may have changed since.

    Args:
        file: The file.
        memory: JSON file with the hashes of files already hashed.
    """
    if file.cached or (file.target.exists() and remembered(file.target, memory) in (None, file.pinned)):
        return 0
    size = file.source.bytes.get(file.name)
    begun = file.partial.stat().st_size if file.partial.exists() else 0
    return None if size is None else max(0, size - begun)


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
