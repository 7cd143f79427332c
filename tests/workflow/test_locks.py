"""A run that was killed leaves a lock; the same command works again, and a live run's lock is never touched."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_snakemake import SNAKEMAKE, snakemake

from replication.base import processes
from replication.base.paths import REPOSITORY
from replication.workflow import locks

TARGET = "resources/miniature/verified.json"


def killed(folder: Path) -> None:
    """Starts a run in `folder` and sends SIGKILL to all its processes while its first job runs."""
    command = [SNAKEMAKE, TARGET, "--cores", "1", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        assert any("weights of miniature" in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGKILL)


def test_after_a_kill_the_same_command_works_again(tmp_path):
    killed(tmp_path)
    assert sorted(file.name for file in (tmp_path / locks.LOCKS).glob("*.lock")) == ["0.output.lock"]
    assert not (tmp_path / TARGET).exists()
    again = snakemake(tmp_path, TARGET)
    assert "The last run was killed; its lock is removed." in again.stderr
    assert (tmp_path / TARGET).exists()
    assert not (tmp_path / locks.LOCKS).exists()


@pytest.mark.slow
def test_where_nobody_noted_an_owner_snakemake_names_the_one_command(tmp_path):
    """As when the plug is pulled between the lock and the note."""
    folder = tmp_path / locks.LOCKS
    folder.mkdir(parents=True)
    (folder / "0.output.lock").write_text(f"{TARGET}\n")
    assert "--unlock" in snakemake(tmp_path, TARGET, fails=True).stderr
    snakemake(tmp_path, TARGET, "--unlock")
    assert "Nothing to be done" not in snakemake(tmp_path, TARGET, "-n").stdout


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lock whose owner, noted after it, is gone; the working directory."""
    monkeypatch.chdir(tmp_path)
    locks.LOCKS.mkdir(parents=True)
    lock = locks.LOCKS / "0.output.lock"
    lock.write_text("table.csv\n")
    os.utime(lock, (1, 1))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    note(number=process.pid)
    return lock


def note(**differs: object) -> None:
    """Another run's note of itself: this process but for what differs."""
    owner = processes.this()._replace(**differs)
    (locks.LOCKS / f"owner.{owner.number}.json").write_text(json.dumps(owner._asdict()))


def test_the_lock_of_a_dead_run_is_removed(locked):
    locks.remove_stale()
    assert list(locks.LOCKS.iterdir()) == []


# Linux gives no number above 2**22.
NO_PROCESS = 2**22 + 1

MAY_LIVE = [
    {},
    {"host": "another-host", "boot": "another start", "number": NO_PROCESS},
    {"namespace": "pid:[1]", "number": NO_PROCESS},
]


@pytest.mark.parametrize("differs", MAY_LIVE, ids=["running", "another machine", "another container"])
def test_the_lock_of_a_run_that_may_live_stays(locked, differs):
    note(**differs)
    locks.remove_stale()
    assert locked.exists()


def test_a_process_that_belongs_to_someone_else_runs(monkeypatch):
    def refused(number: int, sent: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert processes.runs(os.getpid())


def test_a_run_before_the_machine_started_anew_has_ended(locked):
    note(boot="an earlier start")
    locks.remove_stale()
    assert not locked.exists()


def test_a_torn_note_may_be_of_a_live_run(locked):
    (locks.LOCKS / "owner.2.json").write_text("{")
    locks.remove_stale()
    assert locked.exists()


def test_a_lock_newer_than_every_note_belongs_to_a_run_that_has_just_started(locked):
    os.utime(locked, (4e9, 4e9))
    locks.remove_stale()
    assert locked.exists()


def test_without_a_kill_nothing_is_touched_or_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    locks.remove_stale()
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
