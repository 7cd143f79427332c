"""The workflow where nothing but Snakemake is installed, as the workflow catalogue lints it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake
from run_snakemake import MISSING_CONTAINER, lints

from replication.base.paths import REPOSITORY


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snakemake command of a fresh environment; its variables name no other Python."""
    environment = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    command = [environment / "bin/python", "-m", "pip", "install", "--quiet", f"snakemake=={snakemake.__version__}"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        if os.environ.get("REPLICATION_REQUIRE_INDEX"):
            pytest.fail(installed.stderr)
        pytest.skip(f"no package index to install Snakemake from: {installed.stderr.strip().splitlines()[-1]}")
    return environment / "bin/snakemake"


def said(program: Path, folder: Path, *arguments: str, status: int = 0) -> str:
    """What this snakemake says, in `folder`."""
    command = [program, "--snakefile", REPOSITORY / "Snakefile", "--directory", folder, *arguments]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.mark.slow
def test_the_default_configuration_lints_and_plans_with_snakemake_alone(alone, tmp_path):
    listed = subprocess.run([alone.with_name("pip"), "list"], capture_output=True, text=True, check=True).stdout
    assert not any(name in listed for name in ("torch", "numpy", "pandas", "typer", "transformers"))
    assert lints(said(alone, tmp_path, "--lint", status=1)) == {MISSING_CONTAINER}
    plan = said(alone, tmp_path, "--dry-run")
    assert "measure of experiment=conspiracy,model=gpt2-xl" in plan
    assert "total" in plan
