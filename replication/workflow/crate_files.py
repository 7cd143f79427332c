"""The files of an RO-Crate as entities with hashes, inside its folder by their path, outside by their content."""

import base64
import mimetypes
from pathlib import Path

from rocrate.model import Entity, File
from rocrate.rocrate import ROCrate

from replication.base.hashes import digest_of
from replication.base.paths import REPOSITORY

mimetypes.add_type("text/markdown", ".md")
mimetypes.add_type("application/x-tex", ".tex")


class Files:
    """The files of a crate: each becomes one entity, however often it is named."""

    def __init__(self, crate: ROCrate, folder: Path) -> None:
        """Adds to `crate`, which describes the contents of `folder`."""
        self._crate, self._folder = crate, folder
        self._entities: dict[str, Entity] = {}

    def entity(self, name: str) -> Entity:
        """The file at the path `name`, hashed once."""
        if name not in self._entities:
            file = Path(name)
            digest, properties = digest_of(file), {"contentSize": str(file.stat().st_size)}
            inside = file.is_relative_to(self._folder)
            place = {"dest_path": file.relative_to(self._folder)} if inside else {"source": by_content(digest)}
            self._add(name, digest, properties, **place)
        return self._entities[name]

    def known(self, name: str, digest: str) -> Entity:
        """A file outside the crate whose SHA-256 is known already: gigabytes are not hashed again."""
        if name not in self._entities:
            self._add(name, digest, {}, source=by_content(digest))
        return self._entities[name]

    def _add(self, name: str, digest: str, properties: dict[str, str], **place: str | Path) -> None:
        media = mimetypes.guess_type(name)[0] or "application/octet-stream"
        inside = Path(name).is_relative_to(REPOSITORY)
        label = str(Path(name).relative_to(REPOSITORY)) if inside else name
        properties |= {"name": label, "sha256": digest, "encodingFormat": media}
        self._entities[name] = self._crate.add(File(self._crate, properties=properties, **place))


def by_content(digest: str) -> str:
    """The name that a file has by its content: a `ni` URI (RFC 6920).

    Args:
        digest: SHA-256, 64 hexadecimal digits.
    """
    return f"ni:///sha-256;{base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip('=')}"
