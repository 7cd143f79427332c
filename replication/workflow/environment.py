"""What a bug report should say: versions, torch's build, processor, settings and hashes, as text to paste."""

import os
from importlib.metadata import version
from pathlib import Path

from replication.base.files import read_json
from replication.base.paths import VERIFIED
from replication.engine import numerics
from replication.workflow.provenance import commit_text, surroundings

SETTINGS = (*numerics.SETTINGS, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""Environment variables that affect numbers."""

PRIVATE_SETTINGS = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE")
"""Environment variables that say where files come from; as addresses may hold passwords, only whether they are set."""

_INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile")
"""Instruction sets, as Linux names them, that decide which kernels run."""


def environment() -> str:
    """The environment as a fenced block of Markdown, one fact a line."""
    now = surroundings()
    sections = {
        "gpt2-steering-tuned-lens": {
            "version": version("gpt2-steering-tuned-lens"),
            "commit": commit_text(now),
        },
        "machine": now["machine"] | {"cores": os.cpu_count(), "instructions": _instructions()},
        "torch": numerics.torch_facts(),
        "settings": _settings(),
        "versions": {name: _version(**versions) for name, versions in now["versions"].items()},
        **_files(),
    }
    lines = []
    for heading, facts in sections.items():
        lines += ["", heading, *(f"  {name}: {value}" for name, value in facts.items())]
    return "\n".join(["```text", *lines[1:], "```"])


def _version(tested: str, installed: str | None) -> str:
    if installed is None:
        return f"not installed (tested: {tested})"
    # A build's own suffix, as in 2.13.0+cpu, is not another version.
    return installed if installed.split("+")[0] == tested else f"{installed} (tested: {tested})"


def _instructions() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "not known on this system"
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return ", ".join(name for name in _INSTRUCTIONS if name in flags) or "none of " + ", ".join(_INSTRUCTIONS)


def _settings() -> dict[str, str]:
    shown = {name: os.environ.get(name, "not set") for name in SETTINGS}
    return shown | {name: "set" if name in os.environ else "not set" for name in PRIVATE_SETTINGS}


def _files() -> dict[str, dict[str, str]]:
    """SHA-256 of the files of every model that has been verified below the working directory."""
    hashes = {}
    for stamp in sorted(Path().glob(VERIFIED.format(model="*"))):
        hashes[f"files of {stamp.parent.name}"] = read_json(stamp)["sha256"]
    return hashes
