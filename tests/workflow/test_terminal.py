"""What a run says on the screen: made-up messages of Snakemake, and what is made of them."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from replication.base.files import write_json, write_text
from replication.base.paths import CLAIMS, CONTROLS, DIFFERENCES, VERDICT, VERIFICATION, path
from replication.verification.findings import closing_lines
from replication.workflow.cost import MINIATURE, PRIOR, STEPS, XL, Job, expected, seconds_left
from replication.workflow.terminal import Screen

OVER = "WorkflowError:\nAt least one job did not complete successfully."
WEIGHTS = {"repo": "owner/mine", "bytes": {"model.safetensors": XL}}
CONFIG = {"model": "mine", "models": {"mine": {"weights": WEIGHTS, "lens_folder": "nowhere"}}}


class Jobs:
    """A made-up run of Snakemake with these jobs, and what it says."""

    def __init__(self, *rules: str, run: str = "", targets: tuple[str, ...] = (), **settings: Any) -> None:
        asked = dict.fromkeys(("verbose", "quiet", "printshellcmds", "debug_dag", "dryrun")) | settings
        job = [SimpleNamespace(jobid=i, rule=_rule(rule), wildcards={"model": "mine"}) for i, rule in enumerate(rules)]
        target = SimpleNamespace(rule=_rule("sweep", norun=True), input=["results/mine/e/sweep.csv"])
        dag = SimpleNamespace(needrun_jobs=lambda exclude_finished: [*job, target], targetjobs=[target])
        self.workflow = SimpleNamespace(
            output_settings=SimpleNamespace(**asked),
            exec_mode=SimpleNamespace(name="DEFAULT"),
            touch=False,
            dag=dag,
            dag_settings=SimpleNamespace(targets=set(targets)),
            resource_settings=SimpleNamespace(cores=2),
        )
        self.log = logging.getLogger("snakemake.logging")
        theirs = logging.StreamHandler()
        theirs.name = "DefaultStreamHandler"
        self.log.handlers, self.log.propagate = [theirs], False
        self.log.setLevel(logging.INFO)
        self.screen = Screen(self.workflow)
        self.screen.about(CONFIG, run)
        self.rules = rules
        self.say("Config file is extended")
        self.say("Workflow has started!", LogEvent.WORKFLOW_STARTED)
        self.say("Building DAG of jobs...")
        self.say("Job stats: ...", LogEvent.RUN_INFO, stats={})

    def say(self, text: str, event: LogEvent | None = None, level: int = logging.INFO, **extra: Any) -> None:
        self.log.log(level, text, extra={"event": event, **extra})

    def begin(self, job: int, **of: str) -> None:
        rule = self.rules[job]
        wildcards = {"model": "mine", **of} if rule != "pin" else {}
        self.say("Rule", LogEvent.JOB_INFO, jobid=job, rule_name=rule, wildcards=wildcards)

    def end(self, job: int) -> None:
        self.say("Finished", LogEvent.JOB_FINISHED, job_id=job)

    def fail(self, job: int, sentence: str | None) -> None:
        log = Path(f"{job}.log")
        if sentence is not None:
            log.write_text(f"Traceback\n  ...\n{sentence}\n" if "fault" in sentence else f"{sentence}\n")
        self.say("RuleException:\nCalledProcessError in file Snakefile", LogEvent.ERROR, logging.ERROR)
        self.say("Error in rule", LogEvent.JOB_ERROR, logging.ERROR, jobid=job, log=[str(log)])

    def over(self) -> None:
        self.say("Shutting down, this might take some time.")
        self.say("Exiting because a job execution failed. Look above for error messages", None, logging.ERROR)
        self.say(OVER, LogEvent.ERROR, logging.ERROR)


def _rule(name: str, norun: bool = False) -> SimpleNamespace:
    return SimpleNamespace(name=name, norun=norun)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("snakemake.logging")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "handlers", log.handlers)
    monkeypatch.setattr(log, "propagate", log.propagate)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_each_step_is_one_line_with_its_number_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """By the measured times of GPT-2 XL's size: controls 510 seconds of one core, measuring 27, figures 11."""
    jobs = Jobs("weights", "controls", "measure", "figures")
    jobs.say("Select jobs to execute...")
    jobs.begin(0)
    jobs.end(0)
    jobs.begin(1, experiment="anger")
    jobs.begin(1, experiment="anger")  # a cluster tries it again
    jobs.say("This is odd.", level=logging.WARNING)
    jobs.end(1)
    jobs.begin(2, experiment="anger")
    lines = said(capsys)
    assert lines[0] == "1 of 4  weights of mine", "nobody knows how long a download takes"
    assert lines[1].split("  about ") == ["2 of 4  controls of anger".ljust(44), "5 minutes left"]
    assert lines[2] == "This is odd."
    assert lines[3].split("  about ") == ["3 of 4  measure of anger".ljust(44), "10 seconds left"]
    assert len(lines) == 4


def test_a_step_without_wildcards_is_of_the_configured_model(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs("pin")
    jobs.begin(0)
    assert said(capsys)[0].startswith("1 of 1  pin of mine")


def test_a_failure_is_its_one_sentence_once_and_last(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs("measure", "controls", "report")
    jobs.begin(0, experiment="anger")
    jobs.begin(1, experiment="anger")
    jobs.fail(0, "prompt: too short")
    jobs.end(1)
    jobs.over()
    assert said(capsys)[2:] == ["", "error: measure of anger: prompt: too short"]


@pytest.mark.parametrize(
    ("sentences", "shown"),
    [
        (["the disk is full", "the disk is full"], ["", "error: measure of a and 1 more: the disk is full"]),
        (["one", "two"], ["", "error: measure of a: one", "", "error: measure of b: two"]),
        (["a fault of this package: KeyError", None], ["", "error: measure of a: a fault of this package: KeyError"]),
        ([None], ["", "error: measure of a: it was killed, or left no message"]),
        ([], ["", "Stopped before all was done; run the same command again to continue."]),
    ],
)
def test_of_several_failures_each_sentence_stands_once(
    capsys: pytest.CaptureFixture[str], sentences: list[str | None], shown: list[str]
) -> None:
    jobs = Jobs("measure", "measure", "report")
    for job, name in enumerate("ab"):
        jobs.begin(job, experiment=name)
    for job, sentence in enumerate(sentences):
        jobs.fail(job, sentence)
    jobs.over()
    assert said(capsys)[2 : 2 + len(shown)] == shown


def test_a_group_of_a_cluster_names_the_jobs_that_failed_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs("claims", "report")
    jobs.begin(0)
    jobs.begin(1)
    Path("0.log").write_text("")
    Path("1.log").write_text("no such table\n")
    errors = [{"jobid": 1, "rule_name": "report", "log": ["1.log"]}]
    jobs.say("Error in group", LogEvent.GROUP_ERROR, logging.ERROR, job_error_info=errors)
    jobs.over()
    assert said(capsys)[-1] == "error: report of mine: no such table"


def test_of_numbers_that_differ_the_snakefile_says_more(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs("verdict", run="/r")
    write_text(path(DIFFERENCES, "mine/r"), "Measured numbers differ")
    jobs.begin(0)
    jobs.fail(0, "measured numbers differ")
    jobs.over()
    assert len(said(capsys)) == 1


def test_what_snakemake_finds_wrong_itself_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs("measure")
    jobs.say("LockException:\nDirectory cannot be locked.", LogEvent.ERROR, logging.ERROR)
    assert said(capsys) == ["LockException:", "Directory cannot be locked."]


@pytest.mark.parametrize("asked", ["verbose", "quiet", "printshellcmds", "debug_dag", "dryrun"])
def test_who_asks_for_snakemakes_own_text_has_it(capsys: pytest.CaptureFixture[str], asked: str) -> None:
    jobs = Jobs("measure", **{asked: True})
    jobs.begin(0)
    assert said(capsys)[:2] == ["Config file is extended", "Workflow has started!"]
    assert jobs.screen not in jobs.log.handlers


def verdicts(model: str) -> None:
    write_json(
        path(CLAIMS, model), {"e": [{"verdict": "holds"}, {"verdict": "does not hold"}], "f": [{"verdict": None}]}
    )
    controls = {
        "e": {"random_vectors": {"verdict": "holds"}, "sweep": {}},
        "f": {"random_vectors": {"verdict": "holds"}},
    }
    write_json(path(CONTROLS, model), controls)
    checks = {"pins": {"status": "agrees"}, "second_opinion": {"status": "agrees"}}
    checked = {"e": checks, "f": checks | {"pins": {"status": "not run"}}}
    write_json(path(VERIFICATION, model), {"experiments": checked, "published": {"status": "not run"}})


def test_the_end_says_in_three_lines_what_was_found_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts("mine/r")
    jobs = Jobs("measure", run="/r")
    jobs.screen.end()
    assert said(capsys) == [], "the command line had it end before the verdict"
    write_text(path(VERDICT, "mine/r"), "")
    jobs.screen.end()
    assert said(capsys) == [
        "",
        "Found on mine/r: 1 of 2 statements of the post hold; 2 of 2 vectors do more than random ones of their norms.",
        "Checked: pins 1 agrees, 1 not run; second opinion 2 agree; published values not run.",
        "The report: report/mine/r/report.html (to read), report/mine/r/report.md (the same for GitHub)",
    ]
    jobs.say("Nothing to be done (all requested files are present and up to date).")
    assert said(capsys)[2:3] == closing_lines("mine/r")[:1], "it is said of what is there already, too"


def test_the_end_of_a_run_for_some_files_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    file = "results/mine/e/losses.csv"
    write_text(Path(file), "")
    Jobs("measure", targets=(file,)).screen.end()
    assert said(capsys) == ["", file]
    write_text(Path("results/mine/e/sweep.csv"), "")
    Jobs("sweep_part", targets=("sweep",)).screen.end()
    assert said(capsys) == ["", "results/mine/e/sweep.csv"]
    Jobs("pin", targets=("pin",)).screen.end()
    assert said(capsys) == [], "it makes no file that Snakemake knows"
    write_text(path(VERDICT, "mine"), "anger  pins  agrees\n")
    Jobs("verdict", targets=("verify",)).screen.end()
    assert said(capsys) == ["", "anger  pins  agrees"]


def test_the_time_left_is_what_was_measured_until_this_machine_has_shown_its_own() -> None:
    assert seconds_left(60, 0, 0, cores=1) == 60
    assert seconds_left(60, 0, 0, cores=2) == seconds_left(60, 0, 0, cores=8) == 30
    assert seconds_left(60, 1000, 1000, cores=1) == pytest.approx(60)
    # Half as fast as the machine where the times were measured.
    assert seconds_left(60, 100 * PRIOR, 200 * PRIOR, cores=1) == pytest.approx(120, rel=0.01)


def test_a_model_between_those_measured_is_expected_between_their_times() -> None:
    least, most = STEPS["measure"].seconds or (0, 0)
    times = [expected(Job("measure", "m", weights)) for weights in (0, MINIATURE, XL // 2, XL)]
    assert times == [least, pytest.approx(least, rel=0.01), pytest.approx((least + most) / 2), most]
    assert expected(Job("sweep_part", "m", 0)) > 0, "nobody has measured it"
