"""The interactive page with hostile texts, as a file and opened in Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Page
from drawn_tables import Tables, made_up
from interactive_page import HOSTILE, NAME, TOKENS

from replication.figures import interactive


@pytest.fixture(scope="module")
def made() -> Tables:
    return made_up(TOKENS, title=f"Title {HOSTILE}")


@pytest.fixture(scope="module")
def text(made: Tables) -> str:
    return interactive.page(NAME, made.losses, made.effect, made.top10, made.record)


@pytest.fixture(scope="module")
def file(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "a page.html"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def loaded(browser: Page, file: Path) -> Page:
    browser.open(file)
    return browser


@pytest.fixture
def opened(loaded: Page) -> Iterator[Page]:
    """The page; whatever a test does, it must not complain."""
    yield loaded
    assert loaded.run("window.hacked") is None
    assert loaded.messages == []
