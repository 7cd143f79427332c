"""Where the package and its outputs lie, and whose they are: odd names, read-only folders, full disks, no home.

Tests run as root, whom permissions do not stop: folders are made read-only, and disks small, by mounts that only a
process of the test's own sees.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository_copy import copied
from run_snakemake import SNAKEMAKE, snakemake

from replication.base.paths import REPOSITORY

TARGET = "resources/miniature/verified.json"
MINIATURE = REPOSITORY / "replication/miniature"
TABLE = "results/miniature/anger/losses.csv"
FIGURE = "figures/miniature/anger/lens.png"


def privately(script: str, **values: object) -> "subprocess.CompletedProcess[str]":
    """Runs a shell script that may mount what only it sees; the test is skipped where that is not allowed."""
    allowed = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    if allowed.returncode:
        pytest.skip("this user may not mount, so no folder can be made read-only or small")
    variables = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY), "SNAKEMAKE": f"{SNAKEMAKE} --cores 1 --snakefile {REPOSITORY}/Snakefile",
        **{name: str(value) for name, value in values.items()},
    }  # fmt: skip
    command = ["unshare", "--mount", "bash", "-uc", script]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_a_file_that_a_full_disk_stops_is_named_and_leaves_the_old_one(tmp_path: Path):
    run = privately(
        """mount -t tmpfs -o size=64k tmpfs $PLACE && cd $PLACE && printf old > table.csv
        write='import replication.base.files as f, pathlib; f.write_text(pathlib.Path("table.csv"), "x" * 100_000)'
        $PYTHON -c "$write" 2>&1 | tail -1; ls -A; cat table.csv; echo
        mount -o remount,size=1m $PLACE; $PYTHON -c "$write"; ls -A; wc -c < table.csv""",
        PLACE=tmp_path,
    )
    assert run.stdout == (
        "OSError: [Errno 28] No space left on device: 'table.csv'\ntable.csv\nold\ntable.csv\n100000\n"
    ), run


@pytest.mark.parametrize("log", ["x.log", "logs/x.log"])
def test_a_step_in_a_read_only_folder_ends_in_one_sentence(tmp_path: Path, log: str):
    run = privately(
        "mount --bind $PLACE $PLACE && mount -o remount,ro,bind $PLACE && cd $PLACE && "
        f"$PYTHON -m replication step --log {log} figures miniature anger",
        PLACE=tmp_path,
    )
    place = log.partition("/")[0]
    assert run.stderr == f"error: {place}: Read-only file system; fix this and run the same command again\n"
    assert run.returncode == 1


@pytest.mark.slow
def test_a_disk_that_fills_up_during_a_run(tmp_path: Path):
    """Room for Snakemake's own notes, not for a table; with more room the same command works."""
    command = f"$SNAKEMAKE {TABLE} --directory $PLACE"
    run = privately(
        f"""mount -t tmpfs -o size=900k tmpfs $PLACE; {command}; echo "first: $?"; ls -A $PLACE/results/miniature/anger
        mount -o remount,size=20m $PLACE; {command}; echo "second: $?"; ls -A $PLACE/results/miniature/anger""",
        PLACE=tmp_path,
    )
    assert ".csv: No space left on device; fix this and run the same command again" in run.stderr, run.stderr
    assert "Traceback" not in run.stderr
    after = run.stdout.split("first: 1\n")[1]
    assert after == "second: 0\neffect.csv\nlogit_lens.csv\nlosses.csv\nrecord.json\ntop10.csv\n"


@pytest.mark.slow
def test_a_read_only_results_folder(tmp_path: Path):
    (tmp_path / "results").mkdir()
    run = privately(
        "mount --bind $PLACE/results $PLACE/results && mount -o remount,ro,bind $PLACE/results && "
        f"$SNAKEMAKE {TABLE} --directory $PLACE",
        PLACE=tmp_path,
    )
    assert run.returncode
    assert "Read-only file system" in run.stderr
    assert "results" in run.stderr


@pytest.mark.slow
def test_a_repository_that_is_read_only_serves_another_folder(tmp_path: Path):
    run = privately(
        "mount --bind $REPOSITORY $REPOSITORY && mount -o remount,ro,bind $REPOSITORY && "
        f"! touch $REPOSITORY/x && cd / && $SNAKEMAKE {TABLE} --directory $PLACE",
        PLACE=tmp_path,
        REPOSITORY=REPOSITORY,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / TABLE).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("target", [TARGET, pytest.param(FIGURE, marks=pytest.mark.slow)])
def test_a_user_without_a_name_and_without_a_home(tmp_path: Path, target: str):
    """As in a container that is run under a number: nobody knows the user, and no HOME can be made."""
    run = privately(
        "mount --bind /dev/null /etc/passwd && mount --bind /dev/null /etc/nsswitch.conf && "
        f"HOME=/dev/null/home $SNAKEMAKE {target} --directory $PLACE",
        PLACE=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / target).is_file()
    assert "Matplotlib" not in run.stderr, "it complains that it cannot keep its list of fonts"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with spaces", "käse 汉字 😀", 'it\'s "quoted"', "$HOME; `true` & (x)"])
def test_repository_and_folder_with_odd_names(tmp_path: Path, name: str):
    repository, work = copied(tmp_path / f"r {name}"), tmp_path / f"w {name}"
    work.mkdir()
    snakemake(work, TARGET, repository=repository)
    assert (work / TARGET).is_file()
    assert "Nothing to be done" in snakemake(work, TARGET, "-n", repository=repository).stdout


def test_a_repository_with_braces_in_its_name_is_refused_in_one_sentence(tmp_path: Path):
    repository = copied(tmp_path / "{braces}")
    result = snakemake(tmp_path, "-n", TARGET, repository=repository, fails=True)
    assert "Snakemake takes braces in a folder's name for wildcards; rename it" in result.stdout + result.stderr


@pytest.mark.slow
def test_a_folder_with_braces_in_its_name_to_run_in(tmp_path: Path):
    (tmp_path / "{braces}").mkdir()
    snakemake(tmp_path / "{braces}", TARGET)


@pytest.mark.slow
def test_installed_without_its_repository_every_command_works_or_says_what_it_needs(tmp_path: Path):
    """A copy of the package alone, as pip puts it into site-packages; nothing is written beside it."""
    site, work = tmp_path / "site", tmp_path / "work"
    shutil.copytree(REPOSITORY / "replication", site / "replication", ignore=shutil.ignore_patterns("__pycache__"))
    work.mkdir()
    there = sorted(site.rglob("*"))

    def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=work, env=environment, check=False)

    needs = {"environment": "pyproject.toml", "cite": "CITATION.cff", "schema": "docs"}
    for command, file in needs.items():
        ended = python("-m", "replication", command)
        assert ended.returncode == 1
        assert ended.stderr == (
            f"error: this needs {file}, which is in the repository and not in the installed package "
            f"({site / 'replication'}): clone the repository and type make env there\n"
        )
    pins = str(REPOSITORY / "replication/pins/miniature")
    assert python("-m", "replication", "diff", pins, pins).returncode == 0
    loaded = f"replication.load({str(MINIATURE / 'model')!r}, {str(MINIATURE / 'lens')!r}, name='miniature')"
    ended = python("-c", f"import replication; print({loaded}, replication.__file__)")
    assert ended.returncode == 0, ended.stderr
    assert str(site) in ended.stdout
    assert sorted(site.rglob("*")) == there
    assert list(work.iterdir()) == []
