"""Getting a model's files: on disk, complete, with their SHA-256."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication import config
from replication.errors import UserError
from replication.files import read_json
from replication.hashes import sha256
from replication.hub import fetch

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
LENS_FILES = ("config.json", "params.pt")


@dataclass(frozen=True)
class Files:
    """Where a model's files lie, and what they are."""

    name: str
    """Name of the model in the configuration."""
    folder: Path
    """Folder of the model and its tokenizer."""
    lens_folder: Path
    """Folder of the tuned lens."""
    sha256: dict[str, str]
    """SHA-256 of every file used, keyed `model/<file>` and `lens/<file>`."""


def obtain(name: str, model: config.Model, resources: Path, memory: Path) -> Files:
    """Every file of a model and its lens: on disk, and hashed.

    Args:
        name: Name of the model in the configuration.
        model: Where its files come from.
        resources: Folder for what has to be fetched.
        memory: File that remembers the hashes of files already hashed.

    Raises:
        UserError: A file cannot be had, or its SHA-256 is wrong.
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


def _local(
    name: str, key: str, folder: str | None, files: tuple[str, ...], memory: Path
) -> tuple[Path, dict[str, str]]:
    """A local folder, which must have `files`, and their hashes."""
    path = config.REPOSITORY / str(folder)
    if not path.is_dir():
        raise UserError(f"models.{name}.{key}: there is no folder {path}")
    for file in files:
        if not (path / file).is_file():
            raise UserError(f"models.{name}.{key}: {path} lacks the file {file}")
    return path, {file: sha256(path / file, memory) for file in files}


def stamp(files: Files, note: str | None, checks: list[str]) -> dict[str, Any]:
    """What the step `weights` leaves behind: deterministic, so that it reruns nothing by itself."""
    return {
        "model": files.name,
        "note": note,
        "folder": _portable(files.folder),
        "lens_folder": _portable(files.lens_folder),
        "sha256": files.sha256,
        "checks": checks,
    }


def verified(path: Path, memory: Path) -> Files:
    """The files that a stamp names, if they are still what it says.

    Raises:
        UserError: A file is gone or has changed since it was verified.
    """
    values = read_json(path)
    files = Files(
        values["model"],
        config.REPOSITORY / values["folder"],
        config.REPOSITORY / values["lens_folder"],
        values["sha256"],
    )
    for key, digest in files.sha256.items():
        kind, _, file = key.partition("/")
        where = (files.folder if kind == "model" else files.lens_folder) / file
        if not where.is_file() or sha256(where, memory) != digest:
            raise UserError(f"{where}: missing or changed since it was verified; delete {path} and run again")
    return files


def _portable(folder: Path) -> str:
    """A folder inside the repository relative to it, so that a stamp is the same on every machine."""
    absolute = folder.resolve()
    inside = absolute.is_relative_to(config.REPOSITORY)
    return str(absolute.relative_to(config.REPOSITORY) if inside else absolute)
