"""A whole run to report on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_setup import written_run

from replication.base import posts


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a run of the test file's `MADE`, by the name m; the working directory meanwhile."""
    folder = tmp_path_factory.mktemp("run")
    settings = [made.record["experiment"] for made in request.module.MADE.values()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Those with a number stand for the post's, and for such as it says nothing about.
        patch.setattr(posts, "POSTS", (posts.POSTS[0], *(each for each in settings if each["number"])))
        written_run("m", request.module.MADE, note="A <b>note</b>")
        yield folder
