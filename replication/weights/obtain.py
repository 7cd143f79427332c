"""Obtaining a model's files: on disk, complete, with their SHA-256."""

from collections.abc import Callable, Collection
from pathlib import Path

from replication.base import config
from replication.base.errors import UserError
from replication.base.hashes import sha256
from replication.base.paths import local_folder
from replication.weights.fetch import fetch
from replication.weights.forms import lens_files, model_files
from replication.weights.hub_file import PinnedFile, still_to_fetch
from replication.weights.model_files import Files

Choice = Callable[[Path, Collection[str]], list[str]]
"""A folder and the names in it -> those that are read."""


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
    key, into = f"models.{name}", (resources / "model", resources / "lens")
    folder, files = _obtained(f"{key}.folder", model.folder, model.weights, into[0], model_files, memory)
    read = {f"model/{file}": digest for file, digest in files.items()}
    lens_folder = None
    if model.lens != config.NO_LENS:
        lens_folder, lens = _obtained(f"{key}.lens_folder", model.lens_folder, model.lens, into[1], lens_files, memory)
        read |= {f"lens/{file}": digest for file, digest in lens.items()}
    return Files(name, folder, lens_folder, dict(sorted(read.items())))


def without_lens(folder: Path, memory: Path) -> Files:
    """A model's files in a folder, hashed, for which there is no lens yet.

    Args:
        folder: The model's.
        memory: JSON file with the hashes of files already hashed.

    Raises:
        UserError: A file is missing.
    """
    folder = folder.resolve()
    _, files = _obtained("the model", str(folder), None, folder, model_files, memory)
    return Files(folder.name, folder, None, {f"model/{file}": digest for file, digest in sorted(files.items())})


def to_fetch(model: config.Model, resources: Path, memory: Path) -> dict[str, int | None]:
    """Bytes that `obtain` would still download, by file; None where the configuration does not give the size."""
    sources = ((model.weights, resources / "model"), (model.lens, resources / "lens"))
    return {
        file.path_in_repo: still_to_fetch(file, memory)
        for source, folder in sources
        if isinstance(source, config.HubFiles)
        for file in (PinnedFile(source, name, folder / name) for name in source.sha256)
    }


def _obtained(
    key: str, local: str | None, hub: config.HubFiles | None, destination: Path, choose: Choice, memory: Path
) -> tuple[Path, dict[str, str]]:
    """A folder with the files of one role, and the SHA-256 of those that are read."""
    if hub is not None:
        digests = fetch(hub, destination, memory)
        return destination, {file: digests[file] for file in choose(destination, digests)}
    folder = local_folder(str(local))
    try:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
        names = {path.name for path in folder.iterdir() if path.is_file()}
        return folder, {file: sha256(folder / file, memory) for file in choose(folder, names)}
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    except OSError as error:
        raise UserError(f"{key}: {error.filename or folder}: {error.strerror}") from None
