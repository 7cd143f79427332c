"""A real Slurm on this one machine, as root: a controller and two nodes, gone when the block ends.

Needs Debian's slurm-wlm and munge. Everything lies in one scratch folder, and only processes started here are ended.
"""

import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Slurm's commands look here by themselves; jobs do not inherit SLURM_CONF from snakemake's executor.
CONF = Path("/etc/slurm/slurm.conf")
NODES = ("n1", "n2")
CONTROLLER_PORT = 26817
SECONDS_TO_START = 60
# What a grouped job, and a job at its third attempt, may ask for, whatever this machine has: nothing is enforced here.
NODE_CORES = 4
NODE_MEGABYTES = 30_000

CONFIGURATION = """
ClusterName=one_machine
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_interval=1
MinJobAge=3600
SlurmdParameters=config_overrides
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
{nodes}
PartitionName=all Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def configuration(folder: Path) -> str:
    """The text of slurm.conf."""
    host = socket.gethostname()
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={CONTROLLER_PORT + 1 + i}"
        f" CPUs={NODE_CORES} RealMemory={NODE_MEGABYTES} State=UNKNOWN"
        for i, name in enumerate(NODES)
    )
    return CONFIGURATION.format(
        host=host, folder=folder, controller_port=CONTROLLER_PORT, nodes=nodes, names=",".join(NODES)
    )


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A daemon in the foreground while the block runs."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Slurm with both nodes idle.

    Raises:
        SystemExit: This machine has a Slurm of its own, or ours did not start.
    """
    if CONF.exists():
        raise SystemExit(f"error: {CONF} exists; this machine has a Slurm of its own, which is left alone")
    (folder / "state").mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    munge_files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
    daemons = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge_files],
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", node] for node in NODES),
    ]
    with ExitStack() as stack:
        stack.callback(CONF.unlink)
        CONF.write_text(configuration(folder))
        for i, command in enumerate(daemons):
            stack.enter_context(running(command, folder / f"{i}.{command[0]}.out"))
            if command[0] == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), folder)
        _wait(lambda: _states() == {"idle"}, folder)
        try:
            yield
        finally:
            subprocess.run(["scancel", "--full", "--signal=KILL", "--partition=all"], check=False)


def _states() -> set[str]:
    shown = subprocess.run(["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, check=False)
    return set(shown.stdout.split())


def _wait(ready: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(f"error: Slurm did not start; its logs are in {folder}")
        time.sleep(0.2)
