"""What a run says of its own code: the commit, whether anything is not committed, or that it is not known."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from replication.base.files import write_text
from replication.workflow.provenance import code_state, commit_text


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the package takes for its checkout; no git repository yet."""
    folder = tmp_path / "repository"
    write_text(folder / "replication/a.py", "")
    write_text(folder / "config.yaml", "")
    monkeypatch.setattr("replication.workflow.provenance.REPOSITORY", folder)
    return folder


def commit(folder: Path) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "code"]):
        subprocess.run(["git", *author, *command], cwd=folder, check=True)
    run = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return run.stdout.strip()


def git_program(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """A shell script called git before all others on the PATH."""
    write_text(folder / "git", f"#!/bin/sh\n{line}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_what_a_run_makes_is_no_uncommitted_code(repository):
    """A changed file of the code is, and so is a new one; figures, reports, pins and the configuration are not."""
    head = commit(repository)
    for file in ("figures/m/a.png", "report/m/report.md", "replication/pins/m/e.csv", "config.yaml"):
        write_text(repository / file, "made by a run")
    assert code_state() == {"commit": head, "uncommitted_changes": False}
    assert commit_text(code_state()) == head
    write_text(repository / "replication/b.py", "new")
    assert code_state() == {"commit": head, "uncommitted_changes": True}
    assert commit_text(code_state()) == f"{head}, with uncommitted changes"


def unknown(why: str) -> dict[str, object]:
    return {"commit": None, "uncommitted_changes": None, "why": why}


def test_an_unpacked_archive_is_no_checkout_even_inside_another_repository(repository):
    assert code_state() == unknown("not a git checkout")
    assert commit_text(code_state()) == "not a git checkout"
    commit(repository.parent)
    assert code_state() == unknown("not a git checkout"), "the commit of the repository around it is not ours"


def test_without_git_the_commit_is_not_known(repository, monkeypatch):
    commit(repository)
    monkeypatch.setenv("PATH", str(repository))
    assert code_state() == unknown("not known: there is no git program to ask")


def test_a_checkout_of_another_owner_is_one(repository, tmp_path, monkeypatch):
    """Git refuses those of other owners (a container's mount, a shared folder) unless it is told that they are safe."""
    head = commit(repository)
    git_program(tmp_path / "bin", monkeypatch, f'GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"')
    refused = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=False)
    assert "dubious ownership" in refused.stderr, "the case itself must hold, or this test shows nothing"
    assert code_state() == {"commit": head, "uncommitted_changes": False}


def test_a_checkout_that_git_refuses_is_not_called_none(repository, tmp_path, monkeypatch):
    commit(repository)
    git_program(tmp_path / "bin", monkeypatch, "echo 'fatal: no' >&2; exit 128")
    assert code_state() == unknown("not known: git says 'fatal: no'")


def test_a_git_that_calls_us_does_not_lend_its_repository(repository, tmp_path, monkeypatch):
    """A hook of another repository sets GIT_DIR for everything below it."""
    head = commit(repository)
    write_text(tmp_path / "other/a", "")
    commit(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository))
    assert code_state() == {"commit": head, "uncommitted_changes": False}
