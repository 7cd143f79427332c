"""A model's verified files: where they are, their hashes, and whether they are still unchanged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.base.errors import UserError
from replication.base.files import read_json
from replication.base.hashes import sha256
from replication.base.paths import REPOSITORY
from replication.weights.forms import TOKENIZERS


@dataclass(frozen=True)
class Files:
    """Where a model's files are, and their hashes."""

    name: str
    """Name of the model in the configuration."""
    folder: Path
    """Folder of the model and its tokenizer."""
    lens_folder: Path | None
    """Folder of the tuned lens; None where every layer is read by the logit lens alone."""
    sha256: dict[str, str]
    """SHA-256 of every file that is read, keyed `model/<file>` and `lens/<file>`, sorted: the model's identity."""

    @property
    def weights(self) -> list[Path]:
        """The files that hold the model's tensors."""
        return [path for path in self._model if path.suffix in (".safetensors", ".bin")]

    @property
    def tokenizer(self) -> list[Path]:
        """tokenizer.json, or vocab.json and merges.txt."""
        return [self.folder / name for form in TOKENIZERS for name in form if self.folder / name in self._model]

    @property
    def _model(self) -> list[Path]:
        return [self.folder / key.removeprefix("model/") for key in self.sha256 if key.startswith("model/")]


def stamp(files: Files, note: str | None, checks: list[str]) -> dict[str, Any]:
    """What the step `weights` leaves behind: deterministic, so that writing it again reruns nothing."""
    return {
        "model": files.name,
        "note": note,
        "folder": _portable(files.folder),
        "lens_folder": files.lens_folder and _portable(files.lens_folder),
        "sha256": files.sha256,
        "checks": checks,
    }


def verified(path: Path, memory: Path) -> Files:
    """The files that a stamp names, if they are unchanged.

    Args:
        path: The stamp.
        memory: JSON file with the hashes of files already hashed.

    Raises:
        UserError: A file is gone or has changed since it was verified.
    """
    values = read_json(path)
    lens_folder = values["lens_folder"] and REPOSITORY / values["lens_folder"]
    folders = {"model": REPOSITORY / values["folder"], "lens": lens_folder}
    for key, digest in values["sha256"].items():
        kind, _, name = key.partition("/")
        file = folders[kind] / name
        if not file.is_file() or sha256(file, memory) != digest:
            raise UserError(f"{file}: missing or changed since it was verified; run the same command again")
    return Files(values["model"], folders["model"], folders["lens"], values["sha256"])


def _portable(folder: Path) -> str:
    """A folder inside the repository relative to it, so that a stamp is the same on every machine."""
    absolute = folder.resolve()
    inside = absolute.is_relative_to(REPOSITORY)
    return str(absolute.relative_to(REPOSITORY) if inside else absolute)
