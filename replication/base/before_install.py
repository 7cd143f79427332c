"""What `make env` checks before it installs anything; runs under any Python and imports nothing of this package.

Without arguments it exits with one sentence if the environment cannot be made. With `torch`, run by the environment's
own Python, it prints the build of torch to install, and on standard error what will be downloaded.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)
TO_COMPILE = (3, 14)
"""The first Python for which `immutables`, a dependency of Snakemake, has no wheel."""
BUILDS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def obstacle() -> str:
    """Why no environment can be made here, and what to do, in one sentence; empty if one can."""
    here = sys.version_info[:2]
    other = "choose another with: make env PYTHON=python3.13"
    if not OLDEST <= here <= NEWEST:
        no_torch = ", for which torch 2.13 has no build" if here > NEWEST else ""
        return f"Python 3.11 to 3.14 is needed, and this is {platform.python_version()}{no_torch}; {other}"
    system, machine = platform.system(), platform.machine()
    if (system, machine) not in BUILDS or _older_system(system):
        this = " ".join([system, *(part for part in (*platform.libc_ver(), platform.mac_ver()[0]) if part), machine])
        return (
            "torch has builds for Linux with glibc 2.28 or newer on x86-64 and arm64, and for macOS 14 or newer on "
            f"Apple silicon, and this is {this}"
        )
    if not find_spec("ensurepip"):
        return "Python's module venv is incomplete (no ensurepip); on Debian and Ubuntu: apt-get install python3-venv"
    if here >= TO_COMPILE and not _compiles():
        return (
            f"under Python {platform.python_version()} one package (immutables) has to be compiled, and there is no C "
            "compiler with Python's headers; on Debian and Ubuntu: apt-get install gcc libc6-dev python3-dev; or "
            f"{other}"
        )
    return ""


def _older_system(system: str) -> bool:
    if system == "Darwin":
        return int(platform.mac_ver()[0].split(".")[0]) < 14
    library, version = platform.libc_ver()
    return library != "glibc" or [int(part) for part in version.split(".")[:2]] < [2, 28]


def _compiles() -> bool:
    """Whether a C file that includes Python's headers compiles, by the compiler that setuptools would take."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-I", sysconfig.get_path("include"), "-fsyntax-only", "-x", "c", "-"]
    try:
        return not subprocess.run(command, input=b"#include <Python.h>\n", stderr=subprocess.DEVNULL).returncode
    except OSError:
        return False


def torch_to_take() -> str:
    """The requirement for torch: without an NVIDIA card the build for the CPU, if pip's index has it."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    requirement: str = re.findall(r'"(torch==[\d.]+)"', project)[0]
    if platform.system() != "Linux" or _has_card():
        return requirement
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    offered = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    cpu = requirement + "+cpu"
    return cpu if cpu.partition("==")[2] in re.split(r"[,\s]+", offered) else requirement


def _has_card() -> bool:
    return os.path.exists("/proc/driver/nvidia/version") or bool(shutil.which("nvidia-smi"))


def announcement(torch: str) -> str:
    """What will be installed, its size as measured, and how to choose a smaller build."""
    name = torch.replace("==", " ")
    if platform.system() != "Linux" or torch.endswith("+cpu"):
        return f"{name} and some 170 smaller packages; 2 GB on disk, a few minutes"
    text = f"{name} with CUDA's libraries and some 170 smaller packages; 6 GB on disk, some minutes"
    if _has_card():
        return text
    choice = f"PIP_EXTRA_INDEX_URL={CPU_INDEX} make env"
    return f"{text}.\nA third of it without CUDA, from an index that has such a build:\n    {choice}"


if __name__ == "__main__":
    if sys.argv[1:] == ["torch"]:
        requirement = torch_to_take()
        print(announcement(requirement), file=sys.stderr)
        print(requirement)
    elif obstacle():
        sys.exit(f"error: {obstacle()}")
