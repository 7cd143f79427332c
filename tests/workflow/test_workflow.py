"""The workflow as its user runs it: targets, reruns, and errors on screen."""

import html
import json
import re
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from random_model import write_hub, write_lens, write_model
from report_setup import write_pictures
from repository_copy import copied
from run_snakemake import MISSING_CONTAINER, SNAKEMAKE, lints, snakemake
from validators import crate_faults

from replication.base import paths
from replication.base.files import write_text
from replication.base.paths import KINDS, REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.figures.captions import caption
from replication.workflow.snakemake_records import STORE, jobs

TARGET = "results/mine/my_vector/losses.csv"

MINE = """
models:
  mine: {{folder: "{0}", lens_folder: "{1}"}}
experiments:
  my_vector:
    title: My vector
    prompt: I went up to my friend and said hello
    steering: {{layer: 3, coefficient: 4, added: I talk about weddings, subtracted: ""}}
    key_tokens: [" hello"]
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, random_folders: tuple[Path, Path]) -> Path:
    """A working folder, spaces in its name, with a user's configuration in it."""
    folder = tmp_path_factory.mktemp("a working folder")
    (folder / "mine.yaml").write_text(MINE.format(*random_folders))
    return folder


@pytest.fixture(scope="module")
def measured(mine: Path) -> Path:
    """The same folder after the user's vector has been measured."""
    (mine / "screen.txt").write_text(snakemake(mine, TARGET, "--configfile", str(mine / "mine.yaml")).stderr)
    return mine


def test_the_default_plan_needs_no_network_and_no_weights(tmp_path):
    plan = snakemake(tmp_path, "-n").stdout
    assert "measure of experiment=conspiracy,model=gpt2-xl" in plan
    assert not (tmp_path / "resources").exists()


def test_lint_misses_nothing_but_containers(tmp_path):
    """By the program, which all other tests here fork from a process that has it imported."""
    command = [SNAKEMAKE, "--lint", "--cores", "1", "--snakefile", REPOSITORY / "Snakefile", "--directory", tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert lints(said) == {MISSING_CONTAINER}


def test_a_users_vector_on_a_users_model_by_the_name_of_its_file(measured):
    """Beside experiments that this 7-layer model could not run: only what is asked for is checked."""
    made = {file.name for file in (measured / "results/mine/my_vector").iterdir()}
    assert made == {"losses.csv", "top10.csv", "effect.csv", "logit_lens.csv", "record.json"}
    record = json.loads((measured / "results/mine/my_vector/record.json").read_text())
    assert record["experiment"]["steering"]["added"] == "I talk about weddings"
    stamp = json.loads((measured / "resources/mine/verified.json").read_text())
    assert set(stamp["sha256"]) == {
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "lens/config.json",
        "lens/params.pt",
    }


def test_snakemakes_own_records_tell_what_made_a_table(measured):
    outputs = [TARGET, "results/mine/my_vector/record.json"]
    (job,) = jobs(outputs, measured / STORE)
    assert (job.rule, job.outputs) == ("measure", outputs)
    assert "resources/mine/verified.json" in job.inputs
    assert job.command.startswith(
        "python -m replication step --log logs/mine/my_vector/measure.log measure mine my_vector"
    )
    written = datetime.fromtimestamp((measured / TARGET).stat().st_mtime, UTC)
    assert job.started < written <= job.ended


def test_a_second_run_does_nothing_and_a_changed_value_reruns(measured, tmp_path):
    config = measured / "mine.yaml"
    assert "Nothing to be done" in snakemake(measured, TARGET, "-n", "--configfile", str(config)).stdout
    changed = tmp_path / "changed.yaml"
    changed.write_text(config.read_text().replace("coefficient: 4", "coefficient: 5"))
    plan = snakemake(measured, TARGET, "-n", "--configfile", str(changed))
    assert "measure of experiment=my_vector,model=mine" in plan.stdout
    assert "Params have changed" in plan.stdout
    assert "weights of model=mine" not in plan.stdout


@pytest.mark.slow
def test_new_code_reruns_what_it_touches(measured, tmp_path):
    """A copy of the repository, one module changed: the measuring job is planned again, the files' check is not."""
    repository = tmp_path / "repository"
    shutil.copytree(
        REPOSITORY / "replication", repository / "replication", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / name, repository / name)
    config = ("--configfile", str(measured / "mine.yaml"))
    snakemake(measured, TARGET, "--touch", *config, repository=repository)
    assert "Nothing to be done" in snakemake(measured, TARGET, "-n", *config, repository=repository).stdout
    lens = repository / "replication" / "engine" / "lens.py"
    formula = lens.read_text()
    lens.write_text(formula.replace("# Counted in", "# Another remark: counted in"))
    assert "Nothing to be done" in snakemake(measured, TARGET, "-n", *config, repository=repository).stdout
    lens.write_text(formula.replace("-(p * log_p)", "-2 * (p * log_p)"))
    plan = snakemake(measured, TARGET, "-n", *config, repository=repository)
    assert "measure of experiment=my_vector,model=mine" in plan.stdout
    assert "weights of model=mine" not in plan.stdout


@pytest.mark.slow
def test_snakemakes_own_report_holds_figures_with_captions(measured):
    """With stand-ins for the figures: what is looked at is the report around them."""
    config = ("--configfile", str(measured / "mine.yaml"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(measured)
        write_pictures("mine/mine", "my_vector")
        for pattern in (paths.SUMMARY, *paths.TOKEN_TABLES):
            write_text(paths.path(pattern, "mine", "my_vector"), "a stand-in")
    figures = ["figures/mine/mine/my_vector/post_raw.png", "results/mine/my_vector/summary.csv"]
    snakemake(measured, *figures, "--touch", *config)
    snakemake(measured, *figures, "--report", str(measured / "report.zip"), *config)
    with zipfile.ZipFile(measured / "report.zip") as archive:
        files = {name.rpartition("/")[2] for name in archive.namelist()}
        text = archive.read("report/report.html").decode("utf-8")
    assert {f"{kind}.png" for kind in KINDS} | {"my_vector.html"} <= files
    for kind in KINDS:
        shown = shown_in_report(text, f"figures/mine/mine/my_vector/{kind}.png")
        words = html.unescape(re.sub("<[^>]+>", "", shown["caption"]))
        assert " ".join(words.split()).startswith(caption(kind).replace("``", ""))
        assert shown["labels"]["experiment"] == "my_vector"
    posted = [shown_in_report(text, f"figures/mine/mine/my_vector/post_{name}.png") for name in ("raw", "centred")]
    assert [shown["labels"]["residuals"] for shown in posted] == ["raw", "centred"]


def shown_in_report(page: str, file: str) -> dict:
    """What Snakemake's report knows of a file: the object after its name in the page's script."""
    start = page.index(f'"{file}": ') + len(file) + 4
    return json.JSONDecoder().raw_decode(page, start)[0]


BAD = [
    ("model: mine\nmodel: mine\n", [], "the key 'model' is defined twice; remove one"),
    ("modle: mine\n", [], "modle: unknown key; check its spelling or remove it"),
    ("model: gpt9\n", [], "model: 'gpt9' is unknown; the models are gpt2-xl"),
    ("{}", ["results/gpt9/anger/losses.csv"], "no model is called 'gpt9'; the models are gpt2-xl"),
    ("{}", ["results/miniature/joy/losses.csv"], "no experiment is called 'joy'; the experiments are love_hate"),
    ("experiments: {anger: {prompt: ''}}", [], "experiments.anger.prompt: "),
    ("experiments: {anger: {steering: {coefficient: .nan}}}", [], "experiments.anger.steering.coefficient: "),
]


@pytest.mark.parametrize(("text", "targets", "sentence"), BAD, ids=[sentence[:40] for *_, sentence in BAD])
def test_bad_configuration_is_one_sentence_before_anything_runs(tmp_path, text, targets, sentence):
    (tmp_path / "bad.yaml").write_text(text)
    result = snakemake(tmp_path, *targets, "--configfile", str(tmp_path / "bad.yaml"), fails=True)
    assert sentence in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "results").exists()


def small_hub(folder: Path, layers: int) -> dict:
    """Random weights where gpt2-xl's repositories have theirs; returns its pins, hashes changed."""
    shape = {"layers": layers, "name": "gpt2-xl"}
    shipped = read_yaml(REPOSITORY / "config.yaml")["models"]["gpt2-xl"]
    pins = write_hub(folder / "hub", shipped, partial(write_model, **shape), partial(write_lens, **shape))
    (folder / "hashes.yaml").write_text(json.dumps({"models": {"gpt2-xl": pins}}))
    return pins


def run_on_hub(folder: Path, *targets: str) -> set[str]:
    """Runs the default model by the production path, only HF_ENDPOINT and hashes changed; names what was asked for."""
    with LoopbackHub(folder / "hub") as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
        snakemake(folder, *targets, "--configfile", str(folder / "hashes.yaml"), environment=environment)
        return {request.name for request in hub.requests}


def test_the_default_model_from_a_hub_one_experiment(tmp_path):
    pins = small_hub(tmp_path, layers=8)
    asked = run_on_hub(tmp_path, "results/gpt2-xl/love_hate/losses.csv", "results/gpt2-xl/published.csv")
    assert asked == {*pins["weights"]["sha256"], *pins["lens"]["sha256"]}, "only the named files are fetched"
    published = (tmp_path / "results/gpt2-xl/published.csv").read_text()
    assert "not run" in published
    assert "agrees" not in published


@pytest.mark.slow
def test_a_run_that_differs_ends_with_the_archive_and_what_to_do_with_it(tmp_path):
    repository = copied(tmp_path / "repository")
    pin = repository / paths.path(paths.PINS, "miniature", "anger")
    header, first, *rows = pin.read_text().splitlines()
    pin.write_text("\n".join([header, first.rpartition(",")[0] + ",99.0", *rows]) + "\n")
    arguments = ("verify", "--config", "model=miniature")
    run = snakemake(tmp_path / "work", *arguments, repository=repository, fails=True, cores=2)
    said = run.stdout + run.stderr
    assert "anger, pins: 1 cell differs; the largest difference is" in said
    *_, differ, packed = run.stderr.strip().splitlines()
    assert differ.startswith("Measured numbers differ; each is listed above")
    assert packed.startswith("Packed results/miniature.tar.gz: please send it to those who maintain this package")
    assert (tmp_path / "work/results/miniature.tar.gz").stat().st_size > 10_000


@pytest.mark.slow
def test_the_default_model_from_a_hub_the_whole_workflow(tmp_path, tmp_path_factory):
    small_hub(tmp_path, layers=48)
    run_on_hub(tmp_path)
    verdicts = json.loads((tmp_path / "results/gpt2-xl/verification.json").read_text())
    assert verdicts["passed"]
    assert verdicts["published"]["status"] == "not run"
    assert {checks["pins"]["status"] for checks in verdicts["experiments"].values()} == {"not run"}
    assert {checks["second_opinion"]["status"] for checks in verdicts["experiments"].values()} == {"agrees"}
    assert "GPT-2 steering through the tuned lens: `gpt2-xl`" in (tmp_path / "report/gpt2-xl/report.md").read_text()
    assert "#step-second_opinion" in (tmp_path / "results/gpt2-xl/ro-crate-metadata.json").read_text()
    assert crate_faults(tmp_path / "results/gpt2-xl", tmp_path_factory.mktemp("scratch")) == []


def test_what_only_the_model_can_tell_is_said_before_anything_runs_a_sentence_each(tmp_path, random_folders):
    text = MINE.format(*random_folders).replace("layer: 3", "layer: 7")
    (tmp_path / "bad.yaml").write_text(text)
    targets = (TARGET, "results/mine/anger/losses.csv", "--configfile", str(tmp_path / "bad.yaml"))
    sentence = "experiments.my_vector.steering.layer: 7 is too large; this model has layers 0 to 6"
    run = snakemake(tmp_path, *targets, fails=True)
    assert run.stderr.splitlines()[-1] == f"Error: {sentence}"
    assert not (tmp_path / "logs").exists()
    assert f"\n{sentence}\n" in snakemake(tmp_path, "-n", *targets).stdout
    # Of files that are not there yet nobody can tell.
    (tmp_path / "bad.yaml").write_text(text.replace(str(random_folders[0]), "/not/there"))
    assert "too large" not in snakemake(tmp_path, "-n", *targets).stdout


def test_a_failure_is_one_sentence_last_on_screen_and_in_the_jobs_log(tmp_path, random_folders):
    (tmp_path / "bad.yaml").write_text(MINE.format(random_folders[0], "/not/there"))
    run = snakemake(tmp_path, TARGET, "--configfile", str(tmp_path / "bad.yaml"), fails=True)
    sentence = "models.mine.lens_folder: there is no folder /not/there"
    assert run.stderr.splitlines()[-2:] == ["", f"error: weights of mine: {sentence}"]
    assert (run.stdout + run.stderr).count(sentence) == 1
    assert (tmp_path / "logs/mine/weights.log").read_text() == f"{sentence}\n"


def test_a_run_says_a_line_for_each_step_and_names_the_file_and_snakemakes_text_is_in_its_log(measured):
    lines = (measured / "screen.txt").read_text().splitlines()
    assert lines[-4] == "1 of 2  weights of mine"
    assert re.fullmatch(r"2 of 2  measure of my_vector +about \d+ (seconds|minutes) left", lines[-3])
    assert lines[-2:] == ["", TARGET]
    assert not [line for line in lines if "Select jobs" in line]
    first = min((measured / ".snakemake/log").glob("*.log"))
    assert "Select jobs to execute..." in first.read_text()
    told = snakemake(measured, TARGET, "--verbose", "--configfile", str(measured / "mine.yaml")).stderr
    assert "Building DAG of jobs..." in told
