"""Runs Snakemake once for each line of its input, in a fork that finds it imported: that took half of a plan's time.

A line is a JSON object: `command` and `environment` as of a process, `said` and `told`, files for its output and its
errors. The answer is a line with the exit status. It ends when its input does.
"""

import json
import os
import sys
from typing import Any, NoReturn

from snakemake.cli import get_argument_parser, main


def run(command: list[str], environment: dict[str, str], said: str, told: str) -> NoReturn:
    """What the `snakemake` program does, and how a process of its own would have begun and ended."""
    for number, (file, mode) in enumerate([(os.devnull, os.O_RDONLY), (said, os.O_WRONLY), (told, os.O_WRONLY)]):
        os.dup2(os.open(file, mode | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    sys.exit(main())


def serve() -> None:
    """Answers every line, one after the other."""
    get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**request)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
