"""A 64-bit Arm under qemu-user: Debian's Python for it and wheels of the installed packages, in a folder of 1.5 GB.

    python tests/arm64.py        makes it, in minutes; `make arm64` does

Needs root, and Debian's debootstrap, qemu-user and binutils-aarch64-linux-gnu. No binary format is registered, and only
Python is ever started of the folder.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

FOLDER = Path(__file__).parent.parent / ".arm64"

PROCESSORS = ("neoverse-n1", "a64fx")
"""By qemu's names; the second has SVE, with which torch's libraries compute otherwise where they may."""

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SUITES = {"python3.11": "bookworm", "python3.13": "trixie"}
"""Which Debian has this Python; the wheels are for the Python that the tests run in."""

IMPORTED = ("torch", "pandas", "pydantic", "safetensors", "tokenizers", "pyyaml", "httpx2", "tqdm", "psutil")
"""What `fingerprints.py` imports, beside what these require."""

# torch ends while it is imported unless it finds a processor here: a Neoverse N1, as Linux describes it.
PROCESSOR = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n",
    "sys/devices/system/cpu/cpu0/regs/identification/midr_el1": "0x00000000413fd0c1\n",
}


def command(processor: str) -> list[str | Path]:
    """What starts this Python on an emulated processor."""
    root = FOLDER / "root"
    emulated = ["env", f"PYTHONPATH={FOLDER / 'packages'}:{FOLDER.parent}", "PYTHONDONTWRITEBYTECODE=1"]
    return [*emulated, "qemu-aarch64", "-L", root, "-cpu", processor, root / "usr/bin" / PYTHON]


def make() -> None:
    """Makes the folder anew; its `root` gets its name when all is there."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished = FOLDER / "unfinished"
    make_root(unfinished)
    packages = FOLDER / "packages"
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    subprocess.run([*install, "--target", packages, *pinned()], check=True)
    make_stubs(packages / "torch/lib")
    unfinished.rename(FOLDER / "root")


def make_root(root: Path) -> None:
    """Debian's Python for 64-bit Arm and what it needs, unpacked and not installed."""
    first = ["debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", "--include=python3,libgomp1,libstdc++6"]
    subprocess.run([*first, SUITES[PYTHON], root], check=True)
    for package in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        contents = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True).stdout
        unpack = ["tar", "--extract", "--keep-directory-symlink", "--directory", root]
        subprocess.run(unpack, input=contents, check=True)
    # In a container debootstrap links this machine's own, which are not to be written to.
    for folder in (root / "proc", root / "sys"):
        if folder.is_symlink():
            folder.unlink()
    for name, text in PROCESSOR.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def pinned() -> Iterator[str]:
    """`IMPORTED` and all that it requires, in the versions that are installed for this machine."""
    names, waiting = set(), list(IMPORTED)
    while waiting:
        name = waiting.pop()
        try:
            pin = f"{name}=={version(name).partition('+')[0]}"
        except PackageNotFoundError:  # for other machines only
            continue
        if name not in names:
            names.add(name)
            needed = map(Requirement, requires(name) or [])
            waiting += [each.name.lower() for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
            yield pin


def make_stubs(folder: Path) -> None:
    """Puts stubs of CUDA's libraries beside torch's, whose wheel for Arm is linked to them; the real ones are large."""
    libraries, undefined = set(), set()
    for file in folder.glob("lib*.so"):
        look = ["aarch64-linux-gnu-readelf", "-W", "--dynamic", "--dyn-syms", file]
        listed = subprocess.run(look, capture_output=True, text=True, check=True).stdout
        libraries |= set(re.findall(r"\(NEEDED\).*\[(lib(?:cu|nccl|nvrtc|nvshmem).*)\]", listed))
        undefined |= set(re.findall(r" UND (\S+)", listed))
    for library in libraries:
        # A library's functions bear its name as their version, or none.
        label = "NVSHMEM" if "nvshmem" in library else library
        names = [name.partition("@")[0] for name in undefined if name.endswith(f"@{label}")]
        names = names or [name for name in undefined if re.match("nccl|cuFile|curand|cusparseLt", name)]
        labels = "".join(f".globl {name}\n{name}:\n" for name in sorted(names))
        # The few that are called while torch is imported return 100: there is no device (CUDA's cudaErrorNoDevice).
        (folder / "stub.s").write_text(f".text\n{labels} mov w0, 100\n ret\n")
        (folder / "stub.map").write_text(f"{label} {{ *; }};\n")
        subprocess.run(["aarch64-linux-gnu-as", "stub.s", "-o", "stub.o"], cwd=folder, check=True)
        link = ["aarch64-linux-gnu-ld", "-shared", "stub.o", "-soname", library, "--version-script", "stub.map"]
        subprocess.run([*link, "-o", library], cwd=folder, check=True)


if __name__ == "__main__":
    make()
