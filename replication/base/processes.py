"""Which process wrote something, and whether it certainly runs no more; works where Snakemake stands alone."""

import hashlib
import os
import socket
from typing import NamedTuple


class Process(NamedTuple):
    """What a process number needs to mean one process."""

    host: str
    """The machine: its name, and its identity where the system has one."""
    boot: str
    """The start of the machine; empty where the system does not tell (only Linux does)."""
    space: str
    """The space of process numbers: a container has its own."""
    number: int


def this() -> Process:
    """The process that asks."""
    return Process(
        f"{socket.gethostname()} {_text('/etc/machine-id')}".strip(),
        _text("/proc/sys/kernel/random/boot_id"),
        _link("/proc/self/ns/pid"),
        os.getpid(),
    )


def tag() -> str:
    """Eight digits for what a process number belongs to (host, its last start, the container), for names of files."""
    here = this()
    return hashlib.sha256("\n".join([here.host, here.boot, here.space]).encode()).hexdigest()[:8]


def ended(process: Process) -> bool:
    """Whether `process` certainly runs no more: False for one of another machine or container."""
    here = this()
    if process.host != here.host:
        return False
    if process.boot != here.boot:
        return True
    return process.space == here.space and not runs(process.number)


def runs(number: int) -> bool:
    """Whether this machine has a process of that number."""
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
