"""The command line: what people ask for first, the workflow's steps in a group of their own."""

import contextlib
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from replication.base.errors import UserError
from replication.workflow import commands, steps_on_tables, steps_with_model

app = typer.Typer(
    help="Questions about runs, and the steps of the replication; run the whole with: snakemake --cores 4",
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
def logged(log: Annotated[Path | None, typer.Option(help="File for errors; ours with traceback.")] = None) -> None:
    """Prepares the log that `main` writes errors to."""
    global _log
    _log = log
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")


def main() -> None:
    """Runs the command line; errors end with one sentence on screen, tracebacks go to the log."""
    try:
        app()
    except UserError as error:
        _end(str(error), str(error), error)
    except OSError as error:
        sentence = f"{error.filename or 'a file'}: {error.strerror or error}; fix this and run the same command again"
        _end(sentence, sentence, error)
    except Exception as error:
        sentence = f"a fault of this package: {type(error).__name__}: {error}"
        where = f"; the traceback is in {_log}" if _log else ""
        _end(f"{sentence}{where}", traceback.format_exc(), error)


def _end(sentence: str, log_text: str, error: Exception) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    if _log is not None:
        # Where the disk is full or may not be written, that is what the sentence on screen says.
        with contextlib.suppress(OSError), _log.open("a", encoding="utf-8") as file:
            file.write(log_text + "\n")
    # A command whose exit status is a verdict marks its errors.
    sys.exit(getattr(error, "exit_code", 1))
