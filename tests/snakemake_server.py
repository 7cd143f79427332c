"""Runs Snakemake once for each line of its input, in a fork that finds it imported: that took half of a plan's time.

A line is a JSON object: `command` and `environment` as of a process, `repository` whose Snakefile is run, `said` and
`told`, files for its output and its errors. The answer is a line with the exit status. It ends when its input does.

Of what was left, two thirds went to this repository's own modules and to reading them all for the steps' digests: a
fork finds that done too. One for a copy of the repository starts without, as that may hold other code.
"""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from snakemake.cli import get_argument_parser, main

REPOSITORY = Path(__file__).resolve().parent.parent


def read_package() -> None:
    """Imports what the Snakefile does and digests every step, but nothing that reads its environment while imported."""
    sys.path.insert(0, str(REPOSITORY))
    from replication.base import config  # noqa: F401
    from replication.workflow import announced, cost, jobs, terminal  # noqa: F401
    from replication.workflow.code_digest import digest

    for step in cost.STEPS:
        digest(step)
    import smart_open  # noqa: F401  (Snakemake does while it reads a Snakefile)

    assert not {"huggingface_hub", "torch", "matplotlib"} & set(sys.modules)
    sys.path.remove(str(REPOSITORY))


def forget_package() -> None:
    """As if nothing of this repository had been imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "replication"]:
        del sys.modules[name]


def run(command: list[str], environment: dict[str, str], repository: str, said: str, told: str) -> NoReturn:
    """What the `snakemake` program does, and how a process of its own would have begun and ended."""
    if Path(repository).resolve() != REPOSITORY:
        forget_package()
    for number, (file, mode) in enumerate([(os.devnull, os.O_RDONLY), (said, os.O_WRONLY), (told, os.O_WRONLY)]):
        os.dup2(os.open(file, mode | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.exit(main())


def serve() -> None:
    """Answers every line, one after the other."""
    get_argument_parser()  # imports the plugins
    read_package()
    gc.freeze()  # what is here stays, so that no fork looks through it, and copies it by that
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**request)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
