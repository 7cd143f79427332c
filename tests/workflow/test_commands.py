"""`environment` and `cite`: what they print is what is so."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from replication.base.files import write_json
from replication.base.paths import REPOSITORY, VERIFIED, path
from replication.report.citation import references
from replication.workflow.environment import SETTINGS


def printed(*arguments: str, folder: Path, **settings: str) -> str:
    """What a command prints, run in a folder with settings in the environment."""
    # The engine, if another test has loaded it here, has set some of these.
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        [sys.executable, "-m", "replication", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(REPOSITORY), **settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_environment_says_versions_build_settings_and_hashes(tmp_path: Path) -> None:
    write_json(tmp_path / path(VERIFIED, "miniature"), {"sha256": {"model/model.safetensors": "38a9"}})
    secret = "https://user:password@mirror.example"
    text = printed("environment", folder=tmp_path, MKL_CBWR="COMPATIBLE", OMP_NUM_THREADS="1", HF_ENDPOINT=secret)
    facts = dict(line.strip().split(": ", 1) for line in text.splitlines() if ": " in line)
    assert text.startswith("```text\n")
    assert text.endswith("```\n")
    assert facts["torch"] == importlib.metadata.version("torch")
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (facts["MKL_CBWR"], facts["ATEN_CPU_CAPABILITY"], facts["HF_ENDPOINT"]) == ("COMPATIBLE", "not set", "set")
    assert facts["threads unless told otherwise"] == "1"
    assert facts["model/model.safetensors"] == "38a9"
    assert "password" not in text
    # torch's own summary, read another way: the number that follows each library's name.
    summary = torch.__config__.show()
    for pattern in (r"Math Kernel Library Version (\S+)", r"MKL-DNN v(\S+)"):
        for found in re.findall(pattern, summary):
            assert found in text


def test_environment_names_a_version_that_is_not_the_tested_one() -> None:
    from replication.workflow.environment import _version

    assert _version("1.0", "1.0") == "1.0"
    assert _version("1.0", "1.0+cpu") == "1.0+cpu"
    assert _version("1.0", "1.0.1") == "1.0.1 (tested: 1.0)"
    assert _version("1.0", None) == "not installed (tested: 1.0)"


def test_cite_prints_an_entry_for_every_reference(tmp_path: Path) -> None:
    text = printed("cite", folder=tmp_path)
    assert re.findall(r"^@misc\{(.*),$", text, re.MULTILINE) == [reference.key for reference in references()]
    assert text.count("@misc") >= 4
