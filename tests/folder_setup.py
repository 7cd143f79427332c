"""Local folders of a model and a lens, as tests of what people have on their disks use them."""

import json
from pathlib import Path

from replication.base.config import Model
from replication.weights.model_files import Files
from replication.weights.obtain import obtain


def obtained(folders: tuple[Path, Path]) -> Files:
    """The files of a model and a lens, in folders beside each other."""
    model = Model(folder=str(folders[0]), lens_folder=str(folders[1]))
    return obtain("mine", model, folders[0].parent, folders[0].parent / "hashes.json")


def change_json(path: Path, **changes: object) -> None:
    """Changes keys of a JSON object; None takes one out."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
