"""The command line: commands for users, and the workflow's steps in a group of their own."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from replication.base.errors import UserError
from replication.workflow import commands, steps_on_tables, steps_with_model

app = typer.Typer(
    help="Commands about runs, and the steps of the replication; run all of it with: snakemake --cores 4",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
steps = typer.Typer(help="The workflow's steps, as the Snakefile runs them.", no_args_is_help=True)

commands.add_to(app)
steps_with_model.add_to(steps)
steps_on_tables.add_to(steps)
app.add_typer(steps, name="step")

_log: Path | None = None


@steps.callback()
def logged(
    log: Annotated[Path | None, typer.Option(help="File for errors, not the screen; bugs with traceback.")] = None,
) -> None:
    """Prepares the log that `main` writes errors to."""
    global _log
    _log = log
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")


def main() -> None:
    """Runs the command line; errors end with one sentence, on screen or in the log, where tracebacks go as well."""
    try:
        app()
    except UserError as error:
        _end(str(error), error)
    except OSError as error:
        _end(f"{error.filename or 'a file'}: {error.strerror or error}; fix this and run the same command again", error)
    except Exception as error:
        where = f"; the traceback is in {_log}" if _log else ""
        _end(f"a fault of this package: {type(error).__name__}: {error}{where}", error, traceback.format_exc())


def _end(sentence: str, error: Exception, fault: str = "") -> None:
    """Writes the sentence to the log, whose last line a run shows at its end; without a log, to the screen."""
    try:
        if _log is None:
            print(f"error: {sentence}", file=sys.stderr)
        else:
            with _log.open("a", encoding="utf-8") as file:
                file.write(f"{fault}{sentence}\n")
    except OSError:  # the disk is full or may not be written, which is what the sentence says
        print(f"error: {sentence}", file=sys.stderr)
    # A command whose exit status is a verdict marks its errors.
    sys.exit(getattr(error, "exit_code", 1))
