"""What `make env` asks before it installs anything."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from replication.base import before_install
from replication.base.paths import REPOSITORY

DEBIAN = {"system": "Linux", "machine": "x86_64", "libc_ver": ("glibc", "2.36"), "mac_ver": ("",)}
MAC = {"system": "Darwin", "machine": "arm64", "libc_ver": ("", ""), "mac_ver": ("14.0",)}


@pytest.fixture
def machine(monkeypatch):
    """Makes this another machine."""

    def pretend(python: str = "3.13.5", compiles: bool = True, ensurepip: bool = True, **names) -> None:
        monkeypatch.setattr(sys, "version_info", tuple(map(int, python.split("."))))
        monkeypatch.setattr(platform, "python_version", lambda: python)
        for name, value in names.items():
            monkeypatch.setattr(platform, name, lambda value=value: value)
        monkeypatch.setattr(before_install, "_compiles", lambda: compiles)
        monkeypatch.setattr(before_install, "find_spec", lambda name: ensurepip)

    return pretend


@pytest.mark.parametrize(
    "found",
    [
        DEBIAN | {"python": "3.11.0"},
        DEBIAN | {"python": "3.13.5", "compiles": False},
        DEBIAN | {"python": "3.14.8"},
        DEBIAN | {"machine": "aarch64", "libc_ver": ("glibc", "2.28")},
        MAC,
        MAC | {"mac_ver": ("26.1",)},
    ],
)
def test_nothing_stands_in_the_way_on_a_supported_machine(machine, found):
    machine(**found)
    assert before_install.obstacle() == ""


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (DEBIAN | {"python": "3.10.9"}, "Python 3.11 to 3.14 is needed, and this is 3.10.9; choose another"),
        (DEBIAN | {"python": "3.15.0"}, "and this is 3.15.0, for which torch 2.13 has no build; choose another"),
        (DEBIAN | {"python": "3.14.8", "compiles": False}, "apt-get install gcc libc6-dev python3-dev; or choose"),
        (DEBIAN | {"ensurepip": False}, "apt-get install python3-venv"),
        (DEBIAN | {"machine": "riscv64"}, "and this is Linux glibc 2.36 riscv64"),
        (DEBIAN | {"libc_ver": ("glibc", "2.17")}, "and this is Linux glibc 2.17 x86_64"),
        (DEBIAN | {"libc_ver": ("musl", "1.2.5")}, "and this is Linux musl 1.2.5 x86_64"),
        (DEBIAN | {"libc_ver": ("", "")}, "and this is Linux x86_64"),
        (MAC | {"machine": "x86_64"}, "and this is Darwin 14.0 x86_64"),
        (MAC | {"mac_ver": ("13.6.1",)}, "and this is Darwin 13.6.1 arm64"),
        ({"system": "Windows", "machine": "AMD64", "mac_ver": ("",)}, "and this is Windows"),
    ],
)
def test_what_stands_in_the_way_is_said_in_one_sentence(machine, found, sentence):
    machine(**found)
    said = before_install.obstacle()
    assert sentence in said
    assert "\n" not in said


def test_the_pythons_are_those_of_pyproject():
    asked = f'requires-python = ">={3}.{before_install.OLDEST[1]},<{3}.{before_install.NEWEST[1] + 1}"'
    assert asked in (REPOSITORY / "pyproject.toml").read_text()


@pytest.mark.parametrize("compiler", ["false", "/no/such/compiler", ""])
def test_headers_without_a_compiler_do_not_compile(monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(before_install.sysconfig, "get_config_var", lambda name: "false")
    assert not before_install._compiles()


def test_a_compiler_is_given_the_header(monkeypatch, tmp_path):
    (tmp_path / "cc").write_text(f"#!/bin/sh\ncat - > {tmp_path}/read\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("CC", f"{tmp_path}/cc -pthread")
    assert before_install._compiles()
    assert (tmp_path / "read").read_text() == "#include <Python.h>\n"


@pytest.mark.parametrize(
    ("offered", "card", "system", "taken"),
    [
        ("2.15.0, 2.13.0+cu130, 2.13.0+cpu, 2.13.0", False, "Linux", "torch==2.13.0+cpu"),
        ("2.15.0, 2.13.0+cu130, 2.13.0+cpu, 2.13.0", True, "Linux", "torch==2.13.0"),
        ("2.15.0, 2.13.0, 2.12.0+cpu", False, "Linux", "torch==2.13.0"),
        ("", False, "Linux", "torch==2.13.0"),
        ("2.13.0", False, "Darwin", "torch==2.13.0"),
    ],
)
def test_without_a_card_the_build_for_processors_is_taken_where_there_is_one(monkeypatch, offered, card, system, taken):
    answer = SimpleNamespace(stdout=f"torch (2.15.0)\nAvailable versions: {offered}\n")
    monkeypatch.setattr(before_install.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(before_install, "_has_card", lambda: card)
    monkeypatch.setattr(platform, "system", lambda: system)
    assert before_install.torch_to_take() == taken
    said = before_install.announcement(taken)
    with_cuda = system == "Linux" and taken == "torch==2.13.0"
    assert ("CUDA" in said) == with_cuda
    assert ("PIP_EXTRA_INDEX_URL" in said) == (with_cuda and not card)


def test_make_refuses_before_it_makes_anything(tmp_path):
    (tmp_path / "sitecustomize.py").write_text('import platform\nplatform.machine = lambda: "riscv64"\n')
    command = ["make", "env", f"VENV={tmp_path}/venv", f"PYTHON={sys.executable}"]
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "PIP_NO_INDEX": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: torch has builds for Linux with glibc 2.28 or newer")
    assert done.stdout == ""
    assert not (tmp_path / "venv").exists()
