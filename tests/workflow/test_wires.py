"""What hangs on what in the Snakefile: what the configuration says reaches the jobs, and each job waits for its inputs.

One plan of a whole run from nothing names every job with its command line and with those of its inputs that other jobs
make. What must stand there is written down by hand.
"""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from repository_copy import copied
from run_snakemake import snakemake

from replication.base import paths
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml

SHIPPED = read_yaml(REPOSITORY / "config.yaml")
EXPERIMENTS = list(SHIPPED["experiments"])
CONTROLS = {
    "random_vectors": 7,
    "more_prompts": True,
    "sweep": True,
    "sweep_multiples": [0, 1, 2],
    "seed": 3,
    "sweep_jobs": 3,
}
CHANGED = {
    "model": "miniature",
    "numerics": "fast",
    "device": "cuda",
    "controls": CONTROLS,
    "pin_despite": "a-set,another",
    "pin_uncommitted": True,
    # Snakemake puts those that are changed first; so that the order stays, all are named.
    "experiments": {name: {} for name in EXPERIMENTS} | {"anger": {"steering": {"coefficient": 4}}},
}
RUN = "miniature/changed"
"""Such a run is not the one of config.yaml: its files lie in a folder of the configuration file's name."""
OF_THE_POST = [name for name in EXPERIMENTS if name != "anger"]
WITH_MODEL = {"measure", "controls", "sweep_part", "second_opinion", "published_values"}
"""Steps that compute with a model."""


class Job(NamedTuple):
    step: str
    arguments: list[str]
    """What follows the step and its model on the command line."""
    inputs: set[str]
    """Inputs that other jobs of the plan make."""

    def option(self, name: str) -> Any:
        """The value of an option that is there once."""
        (place,) = [i for i, argument in enumerate(self.arguments) if argument == name]
        return self.arguments[place + 1]


def planned(folder: Path, configuration: dict[str, Any], *targets: str) -> list[Job]:
    """Every job of a dry run with a configuration over the shipped one."""
    (folder / "changed.yaml").write_text(json.dumps(configuration))
    options = ("--configfile", str(folder / "changed.yaml"))
    text = snakemake(folder, *targets, "-n", "-p", *options, cores=4).stdout
    found = []
    for block in re.split(r"\n(?=\[)", text):
        if command := re.search(r"python -m replication step (.*)$", block, re.MULTILINE):
            # The one line for jobs with a message, the other for those without.
            made = re.search(r"Input files updated by another job: ([^;\n]*)|^    input: (.*)$", block, re.MULTILINE)
            _, _, step, _, *arguments = shlex.split(command[1])
            found.append(Job(step, arguments, set((made[1] or made[2]).split(", ")) if made else set()))
    return found


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """A whole run with a pin at its end, everything in it that can be configured changed."""
    return planned(tmp_path_factory.mktemp("plan"), CHANGED, "all", "pin")


@pytest.fixture(scope="module")
def asked_by_default(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files that the default target asks for, of the miniature."""
    return asked_for(tmp_path_factory.mktemp("default"), "--config", "model=miniature")


def asked_for(folder: Path, *options: str) -> set[str]:
    plan = snakemake(folder, "-n", *options).stdout
    (asked,) = set(re.findall(r"^rule all:\n    input: (.*)$", plan, re.MULTILINE))
    return set(asked.split(", "))


def of_step(jobs: list[Job], step: str) -> list[Job]:
    return [job for job in jobs if job.step == step]


def test_arithmetic_reaches_every_job_with_a_model_on_one_thread(jobs: list[Job]) -> None:
    computing = [job for job in jobs if "--numerics" in job.arguments]
    assert {job.step for job in computing} == WITH_MODEL
    for job in computing:
        assert [job.option(f"--{name}") for name in ("numerics", "device", "threads")] == ["fast", "cuda", "1"]


def test_what_may_be_pinned_reaches_the_steps_that_judge_and_pin(jobs: list[Job], tmp_path: Path) -> None:
    (verification,), (pin,) = of_step(jobs, "verification"), of_step(jobs, "pin")
    assert verification.arguments == [*EXPERIMENTS, "--despite=a-set", "--despite=another"]
    assert pin.arguments == [*OF_THE_POST, "--uncommitted"], "of what is not the post's there are no pins"
    for job in planned(tmp_path, {"model": "miniature"}, "all", "pin"):
        assert not {"--despite=", "--uncommitted"} & set(job.arguments)


def test_the_default_target_asks_for_every_file_that_a_job_makes(asked_by_default: set[str]) -> None:
    """Else one that is lost would not be made again."""
    each = {paths.path(pattern, "miniature", name) for name in EXPERIMENTS for pattern in (*SHOWN, *CONTROL_FIGURES)}
    patterns = (*VERDICTS, paths.VERIFIED, paths.SECOND_OPINION, paths.REPORT, paths.REPORT_PAGE, paths.PROVENANCE)
    once = {paths.path(pattern, "miniature") for pattern in (*patterns, paths.VERDICT, paths.CRATE)}
    assert {*map(str, each | once)} <= asked_by_default


@pytest.mark.parametrize("device", ["cuda", pytest.param("cpu", marks=pytest.mark.slow)])
def test_jobs_with_a_model_ask_for_a_card_where_the_device_is_one(tmp_path: Path, device: str) -> None:
    snakefile = copied(tmp_path / "copy") / "Snakefile"
    # Snakemake prints a job's message in place of its resources.
    snakefile.write_text(re.sub(r"    message:\n.*\n", "", snakefile.read_text()))
    (tmp_path / "changed.yaml").write_text(json.dumps(CHANGED | {"device": device}))
    options = ("-n", "--configfile", str(tmp_path / "changed.yaml"))
    text = snakemake(tmp_path, *options, repository=snakefile.parent).stdout
    asked = dict(re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", text, re.MULTILINE))
    assert set(asked) >= WITH_MODEL | {"weights", "figures", "report"}
    for step, resources in asked.items():
        cards = re.findall(r"\bgpu=(\d+)", resources)
        assert cards == (["1"] if device == "cuda" and step in WITH_MODEL else []), (step, resources)
        assert ("mem_mb=10000" in resources) == (step in WITH_MODEL | {"weights"})


def test_a_machine_has_one_card_and_a_cluster_one_for_each_job() -> None:
    assert read_yaml(REPOSITORY / "profiles/default/profile.yaml")["resources"] == ["gpu=1"]
    assert read_yaml(REPOSITORY / "profiles/slurm/profile.yaml")["set-resource-scopes"] == ["gpu=local"]


def test_settings_of_experiments_and_of_the_model_reach_their_jobs(jobs: list[Job]) -> None:
    wanted = json.loads(json.dumps(SHIPPED["experiments"]))
    wanted["anger"]["steering"]["coefficient"] = 4
    wanted["anger"]["number"] = None  # it is no longer the post's
    for step, times in (("measure", 1), ("controls", 1), ("sweep_part", 3)):
        found = [(job.arguments[0], json.loads(job.option("--settings"))) for job in of_step(jobs, step)]
        assert sorted(found, key=str) == sorted([*wanted.items()] * times, key=str)
    (weights,) = of_step(jobs, "weights")
    assert json.loads(weights.option("--settings")) == SHIPPED["models"]["miniature"]


def test_settings_of_the_controls_reach_their_jobs(jobs: list[Job]) -> None:
    steering = [*of_step(jobs, "controls"), *of_step(jobs, "sweep_part")]
    assert [json.loads(job.option("--control-settings")) for job in steering] == [CONTROLS] * len(steering)
    for job in of_step(jobs, "controls"):
        assert [each for each in job.arguments if "table" in each] == [
            f"--table={name}" for name in paths.CONTROL_TABLES if name != "sweep"
        ]
    parts = {(job.arguments[0], job.option("--part"), job.option("--parts")) for job in of_step(jobs, "sweep_part")}
    assert parts == {(name, part, "3") for name in EXPERIMENTS for part in "012"}
    joined = sorted(job.arguments for job in of_step(jobs, "join_sweep"))
    assert joined == sorted([name, "--parts", "3"] for name in EXPERIMENTS)
    (judged,) = of_step(jobs, "judge_controls")
    assert judged.arguments == [*EXPERIMENTS, *(f"--table={name}" for name in paths.CONTROL_TABLES)]


def test_a_control_that_is_switched_off_is_asked_of_no_job(tmp_path: Path) -> None:
    found = planned(tmp_path, {"model": "miniature", "controls": {"more_prompts": False, "sweep_jobs": 1}})
    assert not of_step(found, "sweep_part")
    for job in of_step(found, "controls"):
        assert "--table=sweep" in job.arguments
    (judged,) = of_step(found, "judge_controls")
    assert judged.arguments == [
        *EXPERIMENTS,
        *(f"--table={name}" for name in paths.CONTROL_TABLES if name != "prompts"),
    ]
    (drawn,) = of_step(found, "control_figures")
    assert not [each for each in drawn.arguments if "prompts" in each]
    (report,) = of_step(found, "report")
    assert not [each for each in report.inputs if "prompts." in each and "results" in each]


def test_without_random_vectors_there_is_no_figure_over_all(tmp_path: Path) -> None:
    without = planned(tmp_path, {"model": "miniature", "controls": {"random_vectors": 0}})
    (report,) = of_step(without, "report")
    assert not [each for each in report.inputs if "beyond_chance" in each]


@pytest.mark.parametrize("step", ["second_opinion", "claims", "verification", "report", "provenance", "crate"])
def test_steps_over_all_experiments_are_given_all_in_their_order(jobs: list[Job], step: str) -> None:
    (job,) = of_step(jobs, step)
    assert job.arguments[: len(EXPERIMENTS)] == EXPERIMENTS


def test_a_page_links_to_all_experiments_of_the_run(jobs: list[Job]) -> None:
    assert [job.arguments[1:] for job in of_step(jobs, "figures")] == [EXPERIMENTS] * len(EXPERIMENTS)


MEASURED = (paths.LOSSES, paths.TOP10, paths.EFFECT, paths.LOGIT_LENS, paths.RECORD)
CONTROL_TABLES = (paths.RANDOM_VECTORS, paths.RANDOM_BY_LAYER, paths.PROMPTS, paths.SWEEP)
FIGURES = tuple(paths.figure(kind, suffix) for kind in paths.KINDS for suffix in ("png", "svg"))
CONTROL_FIGURES = tuple(
    paths.figure(kind, suffix) for kind in ("random_vectors", "prompts", "sweep") for suffix in ("png", "svg")
)
SHOWN = (*MEASURED, *CONTROL_TABLES, paths.SUMMARY, *paths.TOKEN_TABLES, *FIGURES, paths.INTERACTIVE)
BEYOND_CHANCE = tuple(f"figures/{{model}}{{run}}/beyond_chance.{suffix}" for suffix in ("png", "svg"))
VERDICTS = (*BEYOND_CHANCE, paths.CONTROLS, paths.CLAIMS, paths.PUBLISHED, paths.VERIFICATION)

WIRES = {
    "second_opinion": (paths.VERIFIED, paths.RECORD),
    "published_values": (paths.VERIFIED,),
    "control_figures": (paths.RECORD, *CONTROL_TABLES),
    "judge_controls": (paths.RECORD, *CONTROL_TABLES),
    "claims": (paths.LOSSES, paths.TOP10, paths.RECORD),
    "verification": (paths.VERIFIED, paths.LOSSES, paths.RECORD, paths.SECOND_OPINION, paths.PUBLISHED),
    "report": (paths.VERIFIED, *SHOWN, *CONTROL_FIGURES, *VERDICTS),
    "verdict": (paths.VERIFICATION, paths.REPORT, paths.PROVENANCE),
    "provenance": (paths.LOSSES, paths.RECORD, paths.VERIFIED, paths.REPORT),
    "crate": (
        *(paths.VERIFIED, *SHOWN, *CONTROL_FIGURES, *VERDICTS),
        *(paths.SECOND_OPINION, paths.REPORT, paths.REPORT_PAGE, paths.PROVENANCE),
        *(paths.KEY_TOKENS_TABLE, paths.VERDICTS_TABLE),
    ),
    "pin": (paths.LOSSES, paths.RECORD, paths.VERDICT, paths.PROVENANCE),
}
"""What each step over all experiments reads of what other jobs write."""


@pytest.mark.parametrize("step", WIRES)
def test_a_job_waits_for_all_that_it_reads(jobs: list[Job], step: str) -> None:
    (job,) = of_step(jobs, step)
    names = OF_THE_POST if step == "pin" else EXPERIMENTS
    assert job.inputs == {str(paths.path(pattern, RUN, name)) for pattern in WIRES[step] for name in names}


@pytest.mark.parametrize(
    ("step", "read"),
    [
        ("measure", (paths.VERIFIED,)),
        ("controls", (paths.VERIFIED,)),
        ("summary", (paths.VERIFIED, paths.LOSSES, paths.RECORD)),
        ("figures", MEASURED),
    ],
)
def test_a_job_of_one_experiment_waits_for_its_own(jobs: list[Job], step: str, read: tuple[str, ...]) -> None:
    found = {job.arguments[0]: job.inputs for job in of_step(jobs, step)}
    assert found == {e: {str(paths.path(pattern, "miniature", e)) for pattern in read} for e in EXPERIMENTS}


COMPLETED = {"model": "miniature", "experiments": {"anger": {"completions": {"prompt": "I think", "tokens": 9}}}}


def test_texts_are_written_for_the_experiments_that_ask_for_them(tmp_path: Path) -> None:
    found = planned(tmp_path, COMPLETED)
    (job,) = of_step(found, "completions")
    assert job.arguments[0] == "anger"
    wanted = COMPLETED["experiments"]["anger"]["completions"]
    assert json.loads(job.option("--settings")) == SHIPPED["experiments"]["anger"] | {"completions": wanted}
    assert job.inputs == {str(paths.path(paths.VERIFIED, "miniature"))}
    files = {str(paths.path(pattern, "miniature", "anger")) for pattern in paths.OF_COMPLETIONS}
    for step in ("report", "crate"):
        (reader,) = of_step(found, step)
        assert reader.inputs >= files
        assert "--completed=anger" in reader.arguments
    for reader in of_step(found, "figures"):
        own = reader.arguments[0] == "anger"
        assert ("--completed" in reader.arguments, files <= reader.inputs) == (own, own)
    # What measures nothing anew must not be in what measures.
    for job in [*of_step(found, "measure"), *of_step(found, "controls")]:
        assert json.loads(job.option("--settings")) == SHIPPED["experiments"][job.arguments[0]]


def test_without_such_an_experiment_nothing_is_said_of_texts(jobs: list[Job]) -> None:
    assert not of_step(jobs, "completions")
    assert not [each for job in jobs for each in (*job.arguments, *job.inputs) if "complet" in each]


@pytest.mark.slow
def test_a_changed_pin_makes_verification_run_again(tmp_path: Path) -> None:
    """With stand-ins, all of one time, for what the jobs before it write."""
    repository, folder = copied(tmp_path / "repository"), tmp_path / "work"
    before = (paths.VERIFIED, paths.SECOND_OPINION, paths.PUBLISHED, *MEASURED, paths.VERIFICATION)
    for file in {folder / paths.path(pattern, "miniature", name) for pattern in before for name in EXPERIMENTS}:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
        os.utime(file, (2e9, 2e9))
    target = str(paths.path(paths.VERIFICATION, "miniature"))

    def plan() -> str:
        return snakemake(folder, target, "-n", "--config", "model=miniature", repository=repository).stdout

    assert "Nothing to be done" in plan()
    for pattern in (paths.PINS, paths.PIN_RECORD):
        pin = repository / paths.path(pattern, "miniature", "conspiracy")
        os.utime(pin, (2e9 + 60, 2e9 + 60))
        (reason,) = re.findall("^Reason: (.*)$", plan(), re.MULTILINE)
        assert reason == f"Updated input files: {pin}"
        os.utime(pin, (1e9, 1e9))


OWN = """
model: miniature
only: [kindness]
experiments:
  kindness:
    title: Kindness
    prompt: I hate you because you're a wonderful person
    steering: {layer: 10, coefficient: 4, added: Love}
"""


def test_a_run_of_ones_own_writes_nothing_that_the_posts_has(asked_by_default: set[str], tmp_path: Path) -> None:
    """But for what is measured of a model whatever the experiments: its files, and what others published of it."""
    (tmp_path / "mine.yaml").write_text(OWN)
    asked = asked_for(tmp_path, "--configfile", str(tmp_path / "mine.yaml"))
    both = asked & asked_by_default
    assert both == {str(paths.path(pattern, "miniature")) for pattern in (paths.VERIFIED, paths.PUBLISHED)}
    below = {"results/miniature/mine", "results/miniature/kindness", "figures/miniature/mine", "report/miniature/mine"}
    assert {str(Path(*Path(file).parts[:3])) for file in asked - both} == below
