"""What the last bits of every number depend on, settled in one place before torch is imported."""

import os
import platform
import re
import sys
from typing import Any

from replication.base.config import FAST, PORTABLE, PORTABLE_ARM
from replication.base.progress import say

SETTINGS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
"""Variables that make torch's float32 arithmetic the same on every x86-64 processor with AVX2; all three are needed."""

ARM_SETTINGS = {"ATEN_CPU_CAPABILITY": "default", "NVPL_BLAS_DEBUG_CPU_TYPE": "1", "OPENBLAS_CORETYPE": "ARMV8"}
"""The same for 64-bit Arm processors under Linux, whose kinds of SVE would each have bits of their own.

The second is for torch's builds with NVPL BLAS (1: no SVE), the third for those with OpenBLAS. oneDNN has no such
variable there and is switched off.
"""

MULTIPLE = 16
"""Rows of a product are padded to a multiple of this. With other numbers of rows, kernels treat rows at the edge
differently, and a row's last bits depend on its place; for up to four threads, 16 is the least that helps."""


_LIBRARIES = ("Math Kernel", "MKL-DNN", "oneDNN", "OpenMP", "LAPACK", "CPU capability", "CUDA Runtime", "CuDNN", "HIP")
"""What a line of torch's summary names if it is about a library."""


def prepare(requested: str, threads: int) -> None:
    """Fixes what the last bits depend on; to be called before anything imports torch.

    The first large exp, log or sqrt of a fresh process with several threads can be wrong by thousands of units in
    the last place (pytorch issue 188792), so each is called once on one thread first.

    Args:
        requested: "portable": the same bits on every x86-64 processor with AVX2, and other bits, again the same, on
            every 64-bit Arm processor under Linux; "fast": whatever is fastest here.
        threads: Threads for the arithmetic.
    """
    if "torch" not in sys.modules:
        for name in SETTINGS | ARM_SETTINGS:
            os.environ.pop(name, None)
        if requested == PORTABLE:
            os.environ.update(_settings())
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if requested == PORTABLE and _settings() is ARM_SETTINGS:
        torch.backends.mkldnn.set_flags(False)
    torch.set_num_threads(1)
    warm = torch.linspace(0.1, 1.0, 1 << 16)
    for function in (torch.exp, torch.log, torch.sqrt, torch.tanh):
        function(warm)
    warm.log_softmax(-1)
    torch.set_num_threads(threads)
    if requested == PORTABLE and (obstacle := _obstacle()):
        say(f"portable arithmetic is not available ({obstacle}): numbers agree with pins within rounding, not in bits")


def mode() -> str:
    """The arithmetic of this process, whatever was requested: `PORTABLE`, `PORTABLE_ARM` or `FAST`.

    `FAST` also if portable is not available: torch was imported before with other settings, or the processor is of
    neither kind.
    """
    if _obstacle():
        return FAST
    return PORTABLE if _settings() is SETTINGS else PORTABLE_ARM


def _obstacle() -> str:
    """Why this process has no portable arithmetic; empty where it has."""
    import torch

    settings = _settings()
    if not settings:
        return f"not on {platform.machine()} under {platform.system()}"
    if any(os.environ.get(name) != value for name, value in settings.items()):
        return "torch was imported before"
    capability = settings["ATEN_CPU_CAPABILITY"].upper()
    has_it = torch.backends.cpu.get_cpu_capability().upper() == capability
    return "" if has_it else f"this processor has no {capability}"


def _settings() -> dict[str, str]:
    """The portable settings of this machine's kind of processor; none for others."""
    kinds = {("x86_64", "Linux"): SETTINGS, ("aarch64", "Linux"): ARM_SETTINGS}
    return kinds.get((platform.machine(), platform.system()), {})


def build() -> dict[str, str]:
    """The build of torch: portable numbers are the same bits where commit, BLAS (mostly MKL) and oneDNN are."""
    import torch

    summary = torch.__config__.show()
    libraries = {
        "mkl": r"Math Kernel Library Version (\S+?)-Product Build (\d+)",
        "onednn": r"MKL-DNN v(\S+) \(Git Hash (\w{10})",
    }
    matches = {name: re.search(pattern, summary) for name, pattern in libraries.items()}
    versions = {name: f"{match[1]} ({match[2]})" if match else "none" for name, match in matches.items()}
    if not matches["mkl"] and (blas := re.search(r"BLAS_INFO=(\w+)", summary)):
        versions["mkl"] = f"none, BLAS is {blas[1]}"
    return {"torch": str(torch.__version__), "commit": str(torch.version.git_version)[:10], **versions}


def torch_facts() -> dict[str, Any]:
    """Threads, accelerator, and how torch was built, by the lines of its own summary that name libraries."""
    import torch

    lines = [line.strip(" -") for line in torch.__config__.show().splitlines()]
    named = [line for line in lines if any(name in line for name in _LIBRARIES) and not line.startswith("Build")]
    return {
        "threads by default": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        **{f"build, {i}": line for i, line in enumerate(named, start=1)},
    }
