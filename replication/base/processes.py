"""Which process wrote something, and whether it has certainly ended; works where only Snakemake is installed."""

import hashlib
import os
import socket
from typing import NamedTuple


class Process(NamedTuple):
    """A process number, and what makes it unique."""

    host: str
    """The machine: its name, and its identity where the system has one."""
    boot: str
    """Identity of the machine's last boot; empty except on Linux."""
    namespace: str
    """Namespace of process numbers: a container has its own."""
    number: int


def this() -> Process:
    """The current process."""
    return Process(
        f"{socket.gethostname()} {_text('/etc/machine-id')}".strip(),
        _text("/proc/sys/kernel/random/boot_id"),
        _link("/proc/self/ns/pid"),
        os.getpid(),
    )


def tag() -> str:
    """Eight digits for host, boot and process namespace, for names of files."""
    current = this()
    return hashlib.sha256("\n".join([current.host, current.boot, current.namespace]).encode()).hexdigest()[:8]


def ended(process: Process) -> bool:
    """Whether `process` has certainly ended: False for one of another machine or container."""
    current = this()
    if process.host != current.host:
        return False
    if process.boot != current.boot:
        return True
    return process.namespace == current.namespace and not runs(process.number)


def runs(number: int) -> bool:
    """Whether this machine runs a process of that number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # Someone else's process.
    return True


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
