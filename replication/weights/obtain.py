"""Obtaining a model's files: on disk, complete, with their SHA-256."""

from pathlib import Path

from replication.base import config
from replication.base.errors import UserError
from replication.base.hashes import sha256
from replication.base.paths import REPOSITORY
from replication.weights.fetch import fetch
from replication.weights.hub_file import PinnedFile, still_to_fetch
from replication.weights.model_files import Files

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
LENS_FILES = ("config.json", "params.pt")


def obtain(name: str, model: config.Model, resources: Path, memory: Path) -> Files:
    """Brings every file of a model and its lens to disk, and hashes it.

    Args:
        name: Name of the model in the configuration.
        model: Where its files come from.
        resources: Folder for downloads.
        memory: JSON file with the hashes of files already hashed.

    Raises:
        UserError: A file cannot be obtained, or its SHA-256 is wrong.
    """
    folder, lens_folder = resources / "model", resources / "lens"
    if model.weights is not None:
        weights = fetch(model.weights, folder, memory)
    else:
        folder, weights = _local(name, "folder", model.folder, MODEL_FILES, memory)
    if model.lens is not None:
        lens = fetch(model.lens, lens_folder, memory)
    else:
        lens_folder, lens = _local(name, "lens_folder", model.lens_folder, LENS_FILES, memory)
    hashes = {f"model/{file}": digest for file, digest in weights.items()}
    return Files(name, folder, lens_folder, hashes | {f"lens/{file}": digest for file, digest in lens.items()})


def to_fetch(model: config.Model, resources: Path, memory: Path) -> dict[str, int | None]:
    """Bytes that `obtain` would still download, by file; None where the configuration does not give the size."""
    sources = ((model.weights, resources / "model"), (model.lens, resources / "lens"))
    return {
        file.path_in_repo: still_to_fetch(file, memory)
        for source, folder in sources
        if source is not None
        for file in (PinnedFile(source, name, folder / name) for name in source.sha256)
    }


def _local(
    name: str, key: str, folder: str | None, files: tuple[str, ...], memory: Path
) -> tuple[Path, dict[str, str]]:
    """A local folder, which must have `files`, and their hashes."""
    path = REPOSITORY / str(folder)
    try:
        if not path.is_dir():
            raise UserError(f"models.{name}.{key}: there is no folder {path}")
        for file in files:
            if not (path / file).is_file():
                raise UserError(f"models.{name}.{key}: {path} lacks the file {file}")
        return path, {file: sha256(path / file, memory) for file in files}
    except OSError as error:
        raise UserError(f"models.{name}.{key}: {error.filename or path}: {error.strerror}") from None
