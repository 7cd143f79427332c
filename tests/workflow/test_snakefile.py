"""What a reviewer of the workflow catalogue looks for in the Snakefile and around it, checked once and for all."""

import re
from pathlib import Path

import pytest
from repository_copy import tracked
from run_snakemake import snakemake

from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml

SNAKEFILE = (REPOSITORY / "Snakefile").read_text()
_HEAD, *_PARTS = re.split(r"^ *(?:rule |use rule \w+ as )(\w+)(?: with)?:\n", SNAKEFILE, flags=re.MULTILINE)
RULES = dict(zip(_PARTS[::2], _PARTS[1::2], strict=True))
# Rules that only name targets run nothing.
JOBS = {name: text for name, text in RULES.items() if "output:" in text or "shell:" in text}

every_job = pytest.mark.parametrize("text", JOBS.values(), ids=JOBS)


def section(text: str, directive: str) -> str:
    """What stands under a directive of a rule."""
    block = re.search(rf"^( *){directive}:\n((?:\1    .*\n)+)", text, flags=re.MULTILINE)
    return block[2] if block else ""


def test_the_rules_are_found():
    assert len(RULES) == len(re.findall(r"^ *(?:use )?rule ", SNAKEFILE, flags=re.MULTILINE))
    assert {"measure", "report", "sweep_part", "pin"} <= set(JOBS)
    assert {"verify", "pdf"} <= set(RULES) - set(JOBS)


@every_job
def test_every_job_has_a_log_of_its_own(text):
    (log,) = re.findall(r'"(logs/[^"]*)"', section(text, "log"))
    assert SNAKEFILE.count(f'"{log}"') == 1
    assert "run:" not in text
    assert "script:" not in text


def test_shell_lines_quote_what_they_fill_in_and_name_no_file_by_its_place():
    lines = [section(text, "shell") for text in JOBS.values() if "shell:" in text]
    assert len(lines) == 4, "weights and claims, whose lines others inherit, pin and index"
    filled = [name for line in lines for name in re.findall(r"\{([^}]*)\}", line)]
    assert all(name.endswith(":q") for name in filled), filled
    assert not re.search(r"(input|output)\[", SNAKEFILE)


@pytest.mark.parametrize("name", [name for name in JOBS if name not in ("pin", "index")])
def test_new_code_reruns_a_job_since_its_step_is_a_parameter(name):
    assert re.match(rf'\s+\*\*step\("{name}"', section(JOBS[name], "params"))


@every_job
def test_outputs_are_spelled_in_the_package_only(text):
    texts = re.findall(r'"([^"]*)"', section(text, "output"))
    assert not [text for text in texts if "/" in text], "in_report() takes captions and labels, never a path"


def test_no_absolute_path_no_glued_path_and_nothing_protected():
    assert not re.search(r"""["'][/~]""", SNAKEFILE)
    assert not re.search(r"""["'] \+ |\+ ["']""", SNAKEFILE)
    assert "protected(" not in SNAKEFILE


def test_what_is_read_of_the_configuration_is_a_parameter_or_an_input():
    """Else a changed value would leave old numbers standing."""
    for name, text in JOBS.items():
        rest = text
        for directive in ("input", "params"):
            rest = rest.replace(section(text, directive), "")
        assert "config[" not in rest, name


def test_a_killed_run_goes_on_by_default():
    assert read_yaml(REPOSITORY / "profiles/default/profile.yaml")["rerun-incomplete"] is True


def test_the_slurm_profile_groups_rules_that_there_are():
    profile = read_yaml(REPOSITORY / "profiles/slurm/profile.yaml")
    grouped = dict(entry.split("=") for entry in profile["groups"])
    assert set(grouped) <= set(JOBS)
    assert {entry.split("=")[0] for entry in profile["group-components"]} == set(grouped.values())


def test_the_catalogue_finds_what_it_looks_for():
    assert read_yaml(REPOSITORY / ".snakemake-workflow-catalog.yml")["usage"]["report"] is True
    readme = (REPOSITORY / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    files = tracked()
    assert "Snakefile" in files
    assert not [name for name in files if name.startswith("workflow/")], "a workflow/ folder without a Snakefile"


def test_a_plan_writes_nothing(tmp_path):
    def tree(folder: Path) -> dict[Path, int]:
        return {
            file: file.stat().st_mtime_ns
            for part in ("replication", "tests", "profiles", "figures", "report")
            for file in (folder / part).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }

    def top() -> set[str]:
        return {file.name for file in REPOSITORY.iterdir() if not file.name.startswith(".")}

    before = tree(REPOSITORY), top()
    snakemake(tmp_path, "--dry-run")
    assert (tree(REPOSITORY), top()) == before
    assert [file.name for file in tmp_path.iterdir()] == [".snakemake"]
    assert [file.name for file in (tmp_path / ".snakemake/locks").iterdir()] == []
