"""What several test files share: small random models, the miniature and what it measures, and a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Page, chromium_page

from replication.engine import numerics

# Before anything imports torch, as in a run of the workflow.
numerics.prepare(numerics.PORTABLE, threads=1)

from random_model import write_lens, write_model  # noqa: E402

from replication.base.config import Model, checked  # noqa: E402
from replication.base.paths import REPOSITORY  # noqa: E402
from replication.base.strict_yaml import read_yaml  # noqa: E402
from replication.engine.loaded import Loaded, load  # noqa: E402
from replication.engine.measure import Measurement, measure  # noqa: E402
from replication.weights import obtain as weights  # noqa: E402


@pytest.fixture(scope="session")
def random_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a random 7-layer GPT-2 and a random lens for it."""
    folder = tmp_path_factory.mktemp("random")
    return write_model(folder / "model"), write_lens(folder / "lens")


@pytest.fixture(scope="session")
def random_loaded(random_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The random model, loaded by the package."""
    model = Model(folder=str(random_folders[0]), lens_folder=str(random_folders[1]))
    scratch = tmp_path_factory.mktemp("scratch")
    return load(weights.obtain("random", model, scratch, scratch / "hashes.json"))


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The embedded miniature, loaded by the package."""
    model = checked(read_yaml(REPOSITORY / "config.yaml")).models["miniature"]
    scratch = tmp_path_factory.mktemp("miniature")
    return load(weights.obtain("miniature", model, scratch, scratch / "hashes.json"))


@pytest.fixture(scope="session")
def miniature_measured(miniature: Loaded) -> dict[str, Measurement]:
    """The post's four experiments on the miniature, by name."""
    experiments = checked(read_yaml(REPOSITORY / "config.yaml")).experiments
    return {name: measure(miniature, experiment) for name, experiment in experiments.items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page in a Chromium of its own for each file of tests."""
    with chromium_page(tmp_path_factory.mktemp("profile")) as page:
        yield page
