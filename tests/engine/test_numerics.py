"""Which arithmetic a process has: by its processor and system, what torch found, and what the environment says."""

import platform

import pytest
import torch

from replication.base.config import FAST, PORTABLE, PORTABLE_ARM
from replication.engine import numerics
from replication.verification.pins import same_bits_expected

X86 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
ARM = {"ATEN_CPU_CAPABILITY": "default", "NVPL_BLAS_DEBUG_CPU_TYPE": "1", "OPENBLAS_CORETYPE": "ARMV8"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Makes this process look like one on another machine."""

    def become(processor: str, system: str, capability: str, environment: dict[str, str]) -> None:
        monkeypatch.setattr(platform, "machine", lambda: processor)
        monkeypatch.setattr(platform, "system", lambda: system)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", True)
        for name in X86 | ARM:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return become


MACHINES = {
    "x86-64": ("x86_64", "Linux", "AVX2", X86, PORTABLE, ""),
    "x86-64, left free": ("x86_64", "Linux", "AVX512", {}, FAST, "torch was imported before"),
    "x86-64, one setting missing": (
        "x86_64",
        "Linux",
        "AVX2",
        X86 | {"MKL_CBWR": ""},
        FAST,
        "torch was imported before",
    ),
    "x86-64 without AVX2": ("x86_64", "Linux", "DEFAULT", X86, FAST, "this processor has no AVX2"),
    "arm64": ("aarch64", "Linux", "DEFAULT", ARM, PORTABLE_ARM, ""),
    "arm64, one setting missing": (
        "aarch64",
        "Linux",
        "DEFAULT",
        {"ATEN_CPU_CAPABILITY": "default"},
        FAST,
        "torch was imported before",
    ),
    "arm64, left free": ("aarch64", "Linux", "SVE256", {}, FAST, "torch was imported before"),
    "a Mac": ("arm64", "Darwin", "DEFAULT", ARM, FAST, "not on arm64 under Darwin"),
    "Windows": ("AMD64", "Windows", "AVX2", X86, FAST, "not on AMD64 under Windows"),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_the_arithmetic_is_told_and_where_portable_cannot_be_had_one_line_says_why(machine, capsys, kind):
    *what, mode, obstacle = MACHINES[kind]
    machine(*what)
    assert numerics.mode() == mode
    numerics.prepare(PORTABLE, threads=1)
    assert torch.backends.mkldnn.enabled == ("aarch64" not in what), "oneDNN has no portable setting on Arm"
    said = capsys.readouterr().err
    assert said.count("\n") == (mode == FAST)
    assert (f"portable arithmetic is not available ({obstacle}): numbers agree with pins within rounding" in said) == (
        mode == FAST
    )
    numerics.prepare(FAST, threads=1)
    assert capsys.readouterr().err == ""


def test_bits_of_different_processors_are_not_compared():
    """Portable on x86-64 and on Arm are two arithmetics, each with pins of its own."""
    build = {"commit": "c", "mkl": "none", "onednn": "o"}

    def side(mode: str) -> dict:
        return {"numerics": {"mode": mode, "build": build}}

    assert same_bits_expected(side(PORTABLE_ARM), side(PORTABLE_ARM))
    assert same_bits_expected(side(PORTABLE), side(PORTABLE))
    assert not same_bits_expected(side(PORTABLE), side(PORTABLE_ARM))
    assert not same_bits_expected(side(FAST), side(FAST))


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("- Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605", "2024.2 (20240605)"),
        ("- Build settings: BLAS_INFO=nvpl, BUILD_TYPE=Release", "none, BLAS is nvpl"),
        ("- Build settings: BUILD_TYPE=Release", "none"),
    ],
)
def test_the_blas_that_stands_in_for_mkl_is_named(monkeypatch, library, said):
    """On Arm two builds of one commit differ in it, and so do their bits."""
    monkeypatch.setattr(torch.__config__, "show", lambda: f"PyTorch built with:\n  {library}\n")
    assert numerics.build()["mkl"] == said
