"""Every command and example that README, CONTRIBUTING and docs/ print is tried, and most are run, as printed."""

import contextlib
import copy
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from printed import DOCUMENTS, commands, of_kind
from random_model import write_hub, write_lens, write_model
from repository_copy import tracked
from snakemake.utils import update_config
from typer.testing import CliRunner

from replication.base.config import checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.workflow.cli import app

SHIPPED = REPOSITORY / "config.yaml"

INSTALLS = "installs the environment, minutes; .ci/run starts with it"
THESE = "runs these very tests"
NOT_RUN = {
    "make demo": "minutes; .ci/run types it",
    "make env && source .venv/bin/activate": INSTALLS,
    "make test": THESE,
    "make test-all": THESE,
    "make coverage": THESE,
    "make lock": "asks a package index for the newest versions",
    "python -m replication train-lens /data/my-gpt2 --text /data/corpus.txt --out /data/my-lens": (
        "days, and needs a model; the one below it is run"
    ),
    "make compare": "minutes, and 7 GB of random weights",
    "make portability": "minutes under emulation; it runs tests/engine/test_portability.py, and .ci/run a part of it",
    "make rehearsal": "an hour, and 9 GB of random weights; tests/engine/test_differences.py rehearses on small ones",
    ".venv/bin/python -m pip install pre-commit && .venv/bin/pre-commit install": "installs, and changes .git",
    "make env && .venv/bin/python -m pip install --editable '.[slurm]' && source .venv/bin/activate": INSTALLS,
    "snakemake --cores 4 --config model=gpt2": "minutes; `snakemake --cores 4` runs the same on other weights",
    "snakemake --cores 4 --config device=cuda": "needs an NVIDIA card",
    "snakemake --profile profiles/slurm": "needs a cluster; tests/slurm/prove.py runs it on a Slurm of its own",
}
"""Commands that the tests do not run, and why; their parts are looked at all the same."""

OTHER_STATUS = {"diff": (0, 1)}
"""Commands whose exit status is a verdict, and the verdicts that an example may end with."""


def parts() -> list[str]:
    """Single commands, those joined by && apart."""
    return list(dict.fromkeys(part.strip() for command in commands() for part in command.split("&&")))


def starting_with(*words: str) -> list[list[str]]:
    """Arguments of the commands that start with these words."""
    split = [shlex.split(part) for part in parts()]
    return [arguments[len(words) :] for arguments in split if tuple(arguments[: len(words)]) == words]


def test_something_is_found_in_every_document_that_prints_commands():
    found = of_kind("command")
    assert {"README.md", "CONTRIBUTING.md", "docs/cluster.md", "docs/first-run.md", "docs/python.md"} <= set(found)
    assert len(commands()) >= 25
    kinds = ("yaml", "python", "command")
    assert set().union(*(of_kind(kind) for kind in kinds)) <= set(DOCUMENTS)


def test_what_is_exempt_is_printed_somewhere():
    assert set(NOT_RUN) <= set(commands()), set(NOT_RUN) - set(commands())


def test_a_make_target_is_there():
    targets = [arguments[0] for arguments in starting_with("make")]
    planned = subprocess.run(
        ["make", "--dry-run", *dict.fromkeys(targets)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0, planned.stderr


@pytest.mark.parametrize("arguments", starting_with("python", "-m", "replication"), ids=shlex.join)
def test_a_subcommand_and_its_options_are_there(arguments):
    options = [argument for argument in arguments if argument.startswith("--")]
    name = [argument for argument in arguments[:1] if argument not in options]
    help_page = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert help_page.exit_code == 0, help_page.output
    missing = [option for option in options if option not in help_page.output]
    assert not missing


PLANS = """
import json, logging, sys
from snakemake.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["snakemake", *arguments]
    try:
        main(arguments)
    except SystemExit as end:
        print(json.dumps([arguments, end.code]))
"""


@pytest.mark.slow
def test_a_snakemake_command_has_a_plan(tmp_path):
    """In one process, since each start takes seconds; a report and an unlocking have no plan."""
    write_configurations(tmp_path)
    asked = [each for each in starting_with("snakemake") if not {"--report", "--unlock", "--profile"} & set(each)]
    where = ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(tmp_path)]
    plans = [[*filled(each), *where, "--quiet", "all", "--dry-run"] for each in asked]
    command = [sys.executable, "-c", PLANS, json.dumps(plans)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]
    assert [arguments for arguments, _ in ended] == plans, done.stderr
    assert not [arguments for arguments, status in ended if status], done.stderr


def filled(arguments: list[str]) -> list[str]:
    """A command with its placeholder filled in."""
    return [argument.replace("model=NAME", "model=miniature") for argument in arguments]


def write_configurations(folder: Path) -> None:
    """The file that README has the reader write."""
    (folder / "mine.yaml").write_text(of_kind("yaml")["README.md"][0])


@pytest.mark.parametrize("document", of_kind("yaml"))
def test_a_yaml_example_is_a_valid_configuration(document, tmp_path):
    shipped = read_yaml(SHIPPED)
    for text in of_kind("yaml")[document]:
        (tmp_path / "mine.yaml").write_text(text)
        # As Snakemake merges a file of one's own over config.yaml.
        update_config(merged := copy.deepcopy(shipped), read_yaml(tmp_path / "mine.yaml"))
        checked(merged)


# tests/test_other_packages.py runs the pieces of docs/vectors.md, which need other packages.
@pytest.mark.parametrize("document", [each for each in of_kind("python") if each != "docs/vectors.md"])
def test_the_python_examples_of_a_document_run_and_print_what_they_say(document, tmp_path, monkeypatch):
    (tmp_path / "replication").symlink_to(REPOSITORY / "replication")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for text in of_kind("python")[document]:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(text, namespace)
        for promised in re.findall(r"print\(.*\)  # (.*)", text):
            assert promised in printed.getvalue().splitlines()
    assert {file.name for file in tmp_path.iterdir()} > {"replication"}, "the examples write files"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what git knows of this checkout, after `make env`, and after `make demo` has measured."""
    folder = tmp_path / "checkout"
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    write_configurations(folder)
    return folder


@pytest.fixture
def variables(checkout: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose hub has random weights in the places of GPT-2 XL's, and a checkout that pins those."""
    shape = {"layers": 8, "name": "gpt2-xl"}
    config = checkout / "config.yaml"
    shipped = read_yaml(config)["models"]["gpt2-xl"]
    pins = write_hub(tmp_path / "hub", shipped, partial(write_model, **shape), partial(write_lens, **shape))
    text = config.read_text()
    for part in ("weights", "lens"):
        for name, digest in shipped[part]["sha256"].items():
            text = text.replace(f"{name}: {digest}", f"{name}: {pins[part]['sha256'][name]}")
    config.write_text(text)
    with LoopbackHub(tmp_path / "hub") as hub:
        yield os.environ | {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "NO_COLOR": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(checkout),
        }


def committed(folder: Path) -> None:
    """Commits all that is there: pins are recorded of committed code."""
    (folder / ".gitignore").open("a").write("/.venv\n")
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "A checkout"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("document", of_kind("command"))
def test_the_commands_of_a_document_run_in_their_order(document, checkout, variables):
    committed(checkout)
    pairs = product(read_yaml(SHIPPED)["experiments"], ("losses", "random_by_layer"))
    measured = [f"results/miniature/{name}/{table}.csv" for name, table in pairs]
    typed(["snakemake", "--cores", "2", "--config", "model=miniature", "--", *measured], checkout, variables)
    for command in of_kind("command")[document]:
        if command not in NOT_RUN:
            typed(in_copy(command), checkout, variables)


def in_copy(command: str) -> list[str]:
    """The words of a command; make is told that the environment is there."""
    words = filled(shlex.split(command))
    return [*words, "-o", "env", "-o", ".venv/installed"] if words[0] == "make" else words


def typed(words: list[str], folder: Path, variables: dict[str, str]) -> None:
    """Runs a command as a reader would, by a shell with the environment active."""
    line = f". .venv/bin/activate && {shlex.join(words)}"
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True, check=False)
    allowed = next((OTHER_STATUS[word] for word in words if word in OTHER_STATUS), (0,))
    print(f"{done.returncode} {shlex.join(words)}")
    assert done.returncode in allowed, f"{shlex.join(words)}\n{(done.stdout + done.stderr)[-3000:]}"
