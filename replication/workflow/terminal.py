"""What a run says on the screen in place of Snakemake's own text, which goes to its log in .snakemake/log.

One line per step, with its number, their total and the time left; at the end the results and where they are, or each
failure's sentence once. A dry run shows Snakemake's plan, and a run with an option for more or less output
(`--verbose`, `--printshellcmds`, `--debug-dag`, `--quiet`) Snakemake's text. Works where only Snakemake is installed.
"""

import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from replication.base import paths
from replication.workflow.announced import job_of
from replication.workflow.cost import STEPS, duration, expected, seconds_left

BEFORE = ("Config file ", "Assuming unrestricted shared filesystem usage")
"""Beginnings of messages of Snakemake's before a run has started that are not shown."""

SHOWN = ("Nothing to be done", "Terminating processes", "Will exit after", "Trying to restart")
"""Beginnings of its messages about a run that are shown, besides warnings and errors."""

OF_JOBS = ("At least one job did not complete", "Exiting because a job execution failed", "CalledProcessError in ")
"""Text in those errors of Snakemake's that only repeat that a job has failed."""


class Screen(logging.Handler):
    """Prints what a run does, and leaves Snakemake's own handler only the rest."""

    def __init__(self, workflow: Any) -> None:
        """Takes the place of Snakemake's text, unless the command line asks for that.

        Args:
            workflow: Snakemake's workflow, which is read whenever something is printed.
        """
        super().__init__()
        self._workflow, self._model = workflow, ""
        self._config: dict[str, Any] = {}
        self._running = False
        self._seconds: dict[int, float] = {}
        """What each job that is to run is expected to take, by its number."""
        self._begun: dict[int, str] = {}
        self._done: set[int] = set()
        self._since = 0.0
        """When the first job began that does not depend on a download."""
        self._failures: dict[str, list[str]] = {}
        asked = workflow.output_settings
        own = asked.verbose or asked.quiet or asked.printshellcmds or asked.debug_dag or asked.dryrun
        log = logging.getLogger("snakemake.logging")
        for handler in [each for each in log.handlers if each.name == "DefaultStreamHandler"]:
            if not own and workflow.exec_mode.name == "DEFAULT":
                handler.addFilter(self._left_to_snakemake)
                log.addHandler(self)

    def about(self, config: dict[str, Any], run: str) -> None:
        """Sets the configuration once it is known, and what {run} in a path stands for."""
        self._config, self._model = config, f"{config['model']}{run}"

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a line of its own at some of Snakemake's messages."""
        event = getattr(getattr(record, "event", None), "name", "")
        if event == "WORKFLOW_STARTED":
            self._running = True
        if not self._running or self._workflow.touch:
            return
        if hasattr(record, "stats"):
            jobs = [job for job in self._workflow.dag.needrun_jobs(exclude_finished=False) if not job.rule.norun]
            self._seconds = {job.jobid: _expected(job, self._config) for job in jobs}
        elif event == "JOB_INFO" and record.jobid in self._seconds:  # type: ignore[attr-defined]
            self._begin(record)
        elif event == "JOB_FINISHED":
            self._done.add(record.job_id)  # type: ignore[attr-defined]
        elif event in ("JOB_ERROR", "GROUP_ERROR"):
            for job in getattr(record, "job_error_info", [record.__dict__]):
                self._failures.setdefault(_last_line(job["log"]), []).append(self._begun[job["jobid"]])
        elif OF_JOBS[0] in record.getMessage():
            self._end_of_a_failure()
        elif record.getMessage().startswith(SHOWN[0]):
            self.end()

    def end(self) -> None:
        """Prints, below all else, the results and where they are."""
        if self._workflow.touch or self._workflow.output_settings.quiet:
            return
        targets = sorted(self._workflow.dag_settings.targets)
        verdict = paths.path(paths.VERDICT, self._model)  # not there if the command line ends the run before it
        if set(targets) <= {"all"}:
            if verdict.exists():
                # It needs pandas, which the parsing of a Snakefile does without.
                from replication.verification.findings import closing_lines

                _say("", *closing_lines(self._model))
            return
        rules = {job.rule.name: list(job.input) for job in self._workflow.dag.targetjobs if job.rule.norun}
        files = [file for target in targets for file in rules.get(target, [target])]
        if "verify" in targets and verdict.exists():
            _say("", verdict.read_text(encoding="utf-8").strip())
        made = [file for file in files if Path(file).exists()]
        more = f" and {len(made) - 4} more" if len(made) > 4 else ""
        if made:
            _say("", f"{', '.join(made[:4])}{more}")

    def _left_to_snakemake(self, record: logging.LogRecord) -> bool:
        """Whether Snakemake's own handler shows a message."""
        event, text = getattr(getattr(record, "event", None), "name", ""), record.getMessage()
        if not self._running:
            return event != "WORKFLOW_STARTED" and not text.startswith(BEFORE)
        if self._workflow.touch or hasattr(record, "of_ours"):
            return True
        if record.levelno >= logging.ERROR:
            return event not in ("JOB_ERROR", "GROUP_ERROR") and not any(part in text for part in OF_JOBS)
        return record.levelno >= logging.WARNING or text.startswith(SHOWN)

    def _begin(self, record: Any) -> None:
        """Prints one line: the number of the step that begins, what it is, and how long the rest takes."""
        if record.jobid in self._begun:  # it is tried again
            return
        of = [value for name, value in record.wildcards.items() if name != "model"]
        of = of or [record.wildcards.get("model", self._model)]
        self._begun[record.jobid] = f"{record.rule_name} of {', '.join(of)}"
        rest = sum(seconds for job, seconds in self._seconds.items() if job not in self._done)
        line = (
            f"{len(self._begun):>{len(str(len(self._seconds)))}} of {len(self._seconds)}  {self._begun[record.jobid]}"
        )
        # How long a download takes is not known.
        if record.rule_name != "weights":
            self._since = self._since or time.monotonic()
            done = sum(self._seconds[job] for job in self._done if not self._begun[job].startswith("weights"))
            took = seconds_left(rest, done, time.monotonic() - self._since, self._workflow.resource_settings.cores or 2)
            line = f"{line:44}  about {duration(took)} left"
        _say(line)

    def _end_of_a_failure(self) -> None:
        """Prints a sentence for each failure; about numbers that differ the Snakefile prints more, at the very end."""
        if paths.path(paths.DIFFERENCES, self._model).exists():
            return
        for sentence, jobs in self._failures.items():
            several = f"{jobs[0]} and {len(jobs) - 1} more" if len(jobs) > 1 else jobs[0]
            _say("", f"error: {several}: {sentence or 'it was killed, or left no message'}")
        if not self._failures:
            _say("", "Stopped before all was done; run the same command again to continue.")


def _say(*lines: str) -> None:
    """Prints lines to where Snakemake's own text goes."""
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def _last_line(logs: Iterable[str]) -> str:
    """The sentence that a job's log ends with; empty if it has none."""
    lines = [
        line for log in logs if Path(log).exists() for line in Path(log).read_text("utf-8", "replace").splitlines()
    ]
    return lines[-1] if lines else ""


def _expected(job: Any, config: dict[str, Any]) -> float:
    """Seconds that one of Snakemake's jobs is expected to take; what has no cost in `STEPS` takes hardly any."""
    return expected(job_of(job, config)) if job.rule.name in STEPS else 1.0
