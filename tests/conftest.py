"""What several test files share: small random models, the miniature and what it measures, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import Page, chromium

from replication.base.config import Model, checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.weights import obtain as weights

if TYPE_CHECKING:
    from replication.engine.loaded import Loaded
    from replication.engine.measure import Measurement


def pytest_configure(config: pytest.Config) -> None:
    """Before any file of tests imports torch, as in a run of the workflow.

    Of two processes that test, a third waits for what they say: it reads this file, and is spared torch.
    """
    if not getattr(config.option, "numprocesses", None):
        from replication.engine import numerics

        numerics.prepare(numerics.PORTABLE, threads=1)


@pytest.fixture(scope="session", autouse=True)
def one_vocabulary() -> Iterator[None]:
    """Reads the random models' tokenizer.json once: each has the same, and reading takes 0.2 s."""
    from random_model import tokenizer_json

    from replication.engine import tokenizer

    read, kept = tokenizer._read, []

    def read_once(files: list[Path]) -> object:
        if len(files) > 1 or files[0].read_text(encoding="utf-8") != tokenizer_json():
            return read(files)
        if not kept:
            kept.append(read(files))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_read", read_once)
        yield


@pytest.fixture(scope="session")
def random_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a random 7-layer GPT-2 and a random lens for it."""
    from random_model import write_lens, write_model

    folder = tmp_path_factory.mktemp("random")
    return write_model(folder / "model"), write_lens(folder / "lens")


@pytest.fixture(scope="session")
def random_loaded(random_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The random model, loaded by the package."""
    from replication.engine.loaded import load

    model = Model(folder=str(random_folders[0]), lens_folder=str(random_folders[1]))
    scratch = tmp_path_factory.mktemp("scratch")
    return load(weights.obtain("random", model, scratch, scratch / "hashes.json"))


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The embedded miniature, loaded by the package."""
    from replication.engine.loaded import load

    model = checked(read_yaml(REPOSITORY / "config.yaml")).models["miniature"]
    scratch = tmp_path_factory.mktemp("miniature")
    return load(weights.obtain("miniature", model, scratch, scratch / "hashes.json"))


@pytest.fixture(scope="session")
def miniature_measured(miniature: Loaded) -> dict[str, Measurement]:
    """The post's four experiments on the miniature, by name."""
    from replication.engine.measure import measure

    experiments = checked(read_yaml(REPOSITORY / "config.yaml")).experiments
    return {name: measure(miniature, experiment) for name, experiment in experiments.items()}


@pytest.fixture(scope="session")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Those of a Chromium, one for all files: each start took two seconds."""
    with chromium(tmp_path_factory.mktemp("profile")) as pipes:
        yield pipes


@pytest.fixture(scope="module")
def browser(pipes: tuple[int, int]) -> Iterator[Page]:
    """A page of its own for each file of tests."""
    page = Page(*pipes)
    yield page
    page.close()
