"""Small random models that several test files share."""

from pathlib import Path

import pytest
from random_model import write_lens, write_model

from replication import weights
from replication.config import Model
from replication.models import Loaded, load, prepare_numerics


@pytest.fixture(scope="session")
def random_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a random 7-layer GPT-2 and a random lens for it."""
    folder = tmp_path_factory.mktemp("random")
    return write_model(folder / "model"), write_lens(folder / "lens")


@pytest.fixture(scope="session")
def random_loaded(random_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The random model, loaded by the package."""
    prepare_numerics(threads=1)
    model = Model(folder=str(random_folders[0]), lens_folder=str(random_folders[1]))
    scratch = tmp_path_factory.mktemp("scratch")
    return load(weights.obtain("random", model, scratch, scratch / "hashes.json"))
