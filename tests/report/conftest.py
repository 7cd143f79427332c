"""A whole run to report on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_setup import written_run


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a run of the test file's `MADE`, by the name m; the working directory meanwhile."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        written_run("m", request.module.MADE, note="A <b>note</b>")
        yield folder
