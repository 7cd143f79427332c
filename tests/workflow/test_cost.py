"""What a run says that it will cost, and the machine that is too small for it."""

import json
import re
from pathlib import Path

import pytest
from hub_setup import COMMIT, MODEL, TOTAL, WEIGHTS, cache, digest, leave_partial
from huggingface_hub import constants
from run_snakemake import snakemake

from replication.base import paths
from replication.base.config import HubFiles, Model
from replication.base.hashes import remember
from replication.base.paths import REPOSITORY
from replication.weights.obtain import to_fetch
from replication.workflow.announced import _weights, available_memory
from replication.workflow.cost import (
    GB,
    MB,
    MINIATURE,
    STEPS,
    XL,
    Job,
    Machine,
    Plan,
    cores_that_fit,
    cost_text,
    memory,
    seconds,
    shortage,
)

SIZED = MODEL.model_copy(update={"bytes": {"model.safetensors": TOTAL}})
LARGE = Machine(cores=4, memory=64 * GB, disk=500 * GB)
EXPERIMENTS = 4


def jobs(*rules: str, weights: int = XL) -> list[Job]:
    return [Job(rule, "gpt2-xl", weights) for rule in rules]


def whole_run(weights: int) -> list[Job]:
    """The default target's jobs."""
    each = ["measure", "controls", "summary", "figures"] * EXPERIMENTS
    once = set(STEPS) - set(each) - {"completions", "sweep_part", "join_sweep", "figure_for_print"}
    return jobs(*each, *once, weights=weights)


# Bytes to fetch


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def left(folder: Path, source: HubFiles = SIZED) -> int | None:
    """Bytes of the weights that are still to be fetched into `folder`."""
    model = Model(weights=source, lens_folder="a/lens")
    return to_fetch(model, folder, folder / "hashes.json")["model.safetensors"]


def test_what_is_not_there_counts_whole_and_a_partial_what_it_lacks(tmp_path):
    assert left(tmp_path) == TOTAL
    leave_partial(tmp_path / "model", WEIGHTS[:100_000], SIZED)
    assert left(tmp_path) == TOTAL - 100_000


def test_a_partial_of_other_content_counts_nothing(tmp_path):
    other = SIZED.model_copy(update={"sha256": {"model.safetensors": digest(b"other")}})
    leave_partial(tmp_path / "model", WEIGHTS[:100_000], other)
    assert left(tmp_path) == TOTAL


def test_a_partial_longer_than_a_rounded_size_leaves_nothing(tmp_path):
    leave_partial(tmp_path / "model", WEIGHTS, SIZED)
    assert left(tmp_path, SIZED.model_copy(update={"bytes": {"model.safetensors": TOTAL - 5}})) == 0


def test_a_file_that_is_there_or_in_the_cache_costs_nothing(tmp_path):
    cache(tmp_path, WEIGHTS)
    assert left(tmp_path / "elsewhere") == 0
    file = tmp_path / "model/model.safetensors"
    file.parent.mkdir()
    file.write_bytes(WEIGHTS)
    assert left(tmp_path, SIZED.model_copy(update={"revision": "0" * 40})) == 0


def test_a_file_known_to_be_another_than_the_pinned_one_counts_whole(tmp_path):
    file = tmp_path / "model/model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"an older pin's")
    remember(file, digest(b"an older pin's"), tmp_path / "hashes.json")
    assert left(tmp_path) == TOTAL


def test_without_a_size_in_the_configuration_the_file_is_named(tmp_path):
    assert left(tmp_path, MODEL) is None
    fetch = {"model.safetensors": None, "config.json": None, "params.pt": 30 * MB}
    assert "to fetch  30 MB and model.safetensors (config.yaml gives no size)\n" in cost_text(
        Plan(jobs("weights"), fetch), LARGE
    )


# Memory


def test_jobs_share_the_weights_and_each_has_memory_of_its_own():
    own = 1 * GB
    assert memory(jobs(*["measure"] * 4), cores=4) == (XL + 4 * own, XL, 4)
    assert memory(jobs(*["measure"] * 4), cores=2) == (XL + 2 * own, XL, 2)
    assert memory(jobs("measure"), cores=4) == (XL + own, XL, 1)


def test_the_largest_jobs_may_meet_and_the_download_meets_none():
    largest = STEPS["second_opinion"].own[1] * MB
    assert memory(jobs("measure", "second_opinion", "weights"), cores=1) == (XL + largest, XL, 1)
    assert memory(jobs("measure", "weights"), cores=4) == (XL + STEPS["measure"].own[1] * MB, XL, 1)
    alone = STEPS["weights"].own[1] * MB
    assert memory(jobs("weights"), cores=4) == (XL + alone, XL, 1)


def test_a_smaller_model_takes_less_in_proportion():
    least, most = STEPS["measure"].own
    (half,) = jobs("measure", weights=XL // 2)
    assert half.own == pytest.approx(MB * (least + most) / 2)


def test_weights_of_half_precision_are_copied_by_each_job_but_the_one_that_checks_them():
    """float32 takes twice the file's bytes; what the job holds beside the weights is as with a file of float32."""
    stored = XL // 2
    measuring, checking = (Job(rule, "gpt2-xl", stored, half=True) for rule in ("measure", "weights"))
    assert measuring.own == 2 * stored + STEPS["measure"].own[1] * MB
    assert checking.own == STEPS["weights"].own[1] * MB
    assert memory([measuring] * 4, cores=4) == (stored + 4 * measuring.own, stored, 4)


def test_steps_on_tables_hold_no_weights():
    most, weights, at_once = memory(jobs(*["figures"] * 4), cores=4)
    assert (weights, at_once) == (0, 4)
    assert most < GB


def test_too_little_memory_gives_the_number_of_cores_that_fit():
    plan = Plan(jobs(*["measure"] * 4), {})
    machine = Machine(4, XL + 3 * GB, 500 * GB)
    assert cores_that_fit(plan.jobs, machine) == 3
    assert shortage(plan, machine) == "--cores 4 takes 10.4 GB of memory, and 9.4 GB are available: run with --cores 3"
    assert shortage(plan, machine._replace(cores=3)) == ""
    assert shortage(plan, machine._replace(memory=XL + 4 * GB)) == ""


def test_one_job_fits_if_its_own_memory_does_since_weights_can_be_read_again():
    plan = Plan(jobs(*["measure"] * 4), {})
    assert shortage(plan, Machine(2, 1 * GB, 500 * GB)).endswith(": run with --cores 1")
    assert shortage(plan, Machine(1, 1 * GB, 500 * GB)) == ""
    assert "with 1 job at a time; " in cost_text(plan, Machine(1, 64 * GB, 500 * GB)), "it shares weights with none"
    assert shortage(plan, Machine(1, 1 * GB - 1, 500 * GB)).startswith("one job takes 1.0 GB of memory of its own")


@pytest.mark.parametrize("plan", [Plan(jobs("measure", weights=0), {}), Plan(jobs("measure"), {}, here=False)])
def test_nothing_is_said_of_memory_for_weights_of_unknown_size_or_jobs_elsewhere(plan):
    assert "memory" not in cost_text(plan, LARGE)
    assert shortage(plan, Machine(4, 0, 500 * GB)) == ""


def test_a_container_has_what_its_limit_leaves(tmp_path):
    here = tmp_path / Path("/proc/self/cgroup").read_text().strip().rpartition("0::/")[2]
    here.mkdir(parents=True, exist_ok=True)
    (here / "memory.stat").write_text("anon 1000\nfile 5000\n")
    (here / "memory.max").write_text("3000\n")
    assert available_memory(tmp_path) == 2000
    (here / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) > 1 * MB


# Disk


def test_too_little_disk_says_how_much_is_missing():
    plan = Plan(jobs("weights"), {"model.safetensors": 6 * GB, "params.pt": 1 * GB})
    assert shortage(plan, Machine(1, 64 * GB, 7 * GB)) == ""
    assert shortage(plan, Machine(1, 64 * GB, 4 * GB)).startswith(
        "this run writes 7.0 GB, and 4.0 GB are free here: free 3.0 GB more"
    )


# Time


def test_the_miniatures_whole_run_takes_what_it_was_measured_to():
    """74 s by `make demo CORES=2`, quiet, 2026-11-26."""
    assert seconds(whole_run(MINIATURE), 2) == pytest.approx(74, abs=8)


def test_a_job_that_runs_alone_anyway_is_asked_for_no_fewer_cores():
    assert shortage(Plan(jobs("measure"), {}), Machine(4, 1 * GB, 500 * GB)) == ""


def test_more_cores_than_were_measured_promise_nothing_and_the_longest_job_is_waited_for():
    work = jobs(*["measure"] * 4)
    assert seconds(work, 8) == seconds(work, 2) == seconds(work, 1) / 2
    assert seconds([*work, *jobs("published_values")], 2) == STEPS["published_values"].seconds[1]
    assert seconds([*work, *jobs("weights")], 2) == seconds(work, 2) + STEPS["weights"].seconds[1]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(jobs("measure", weights=XL // 2), {}),
        Plan(jobs("measure", "sweep_part"), {}),
        Plan(jobs("measure"), {}, timed=False),
    ],
    ids=["another model", "another step", "other settings"],
)
def test_no_time_is_given_that_was_not_measured(plan):
    assert [row.split()[0] for row in cost_text(plan, LARGE).splitlines()[1:]] == ["disk", "memory"]


def test_the_whole_text_for_gpt2_xl():
    text = cost_text(Plan(whole_run(XL), {"model.safetensors": XL, "params.pt": 491_849_251}), LARGE)
    head, *rows = text.splitlines()
    assert head == "What these jobs cost:"
    assert [row.split()[0] for row in rows] == ["to", "disk", "memory", "time"]
    assert "6.9 GB" in rows[0]
    assert "500.0 GB are free" in rows[1]
    assert "with 4 jobs at once, 6.4 GB of it weights that they share; 64.0 GB are available" in rows[2]
    assert re.search(r"about 2\d minutes after the download; measured on 2 cores of an AMD EPYC", rows[3])


# In the workflow


def test_every_step_of_the_snakefile_has_its_cost():
    named = set(re.findall(r'\*\*step\("(\w+)"', (REPOSITORY / "Snakefile").read_text()))
    assert named == set(STEPS)


@pytest.mark.parametrize(
    ("settings", "half"), [({"dtype": "float32"}, False), ({"torch_dtype": "bfloat16"}, True), ({}, False)]
)
def test_a_models_weights_are_all_its_shards_and_config_json_says_their_precision(tmp_path, settings, half):
    model = {"folder": str(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    for name, size in (("a.safetensors", 10), ("b.safetensors", 20), ("training_args.bin", 99)):
        (tmp_path / name).write_bytes(bytes(size))
    index = json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert _weights("mine", model) == (30 + len(index), half)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Snakemake takes one experiment on the miniature for measured."""
    folder = tmp_path_factory.mktemp("tables")
    for pattern in (paths.VERIFIED, paths.LOSSES, paths.TOP10, paths.EFFECT, paths.LOGIT_LENS, paths.RECORD):
        file = folder / paths.path(pattern, "miniature", "anger")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a stand-in")
    snakemake(folder, "results/miniature/anger/losses.csv", "--touch")
    return folder


def test_a_dry_run_says_it_of_the_jobs_that_would_run(tmp_path):
    plan = snakemake(tmp_path, "-n", environment={"HF_HOME": str(tmp_path)}).stdout
    assert plan.count("What these jobs cost:\n    to fetch  6.9 GB\n") == 2, "below both of Snakemake's tables of jobs"
    assert plan.count(" with 1 job at a time; ") == 2


def test_drawing_again_fetches_nothing_and_holds_no_model(tables):
    plan = snakemake(tables, "figures/miniature/anger/lens.png", "-n").stdout
    assert "What these jobs cost:" in plan
    assert "to fetch" not in plan
    assert "0.2 GB with 1 job at a time" in plan


@pytest.mark.slow
def test_where_nothing_is_to_be_done_nothing_is_said(tables):
    for arguments in ([], ["-n"]):
        result = snakemake(tables, "results/miniature/anger/losses.csv", *arguments)
        assert "Nothing to be done" in result.stdout + result.stderr
        assert "cost" not in result.stdout + result.stderr


@pytest.mark.slow
def test_a_run_says_it_once_and_its_jobs_own_processes_do_not(tmp_path):
    run = snakemake(tmp_path, "resources/miniature/verified.json")
    assert (run.stdout + run.stderr).count("What these jobs cost:") == 1


def refused(folder: Path, model: dict, cores: int) -> str:
    """What a run of a model that is too large says before anything has run, and a dry run as well."""
    targets = [f"results/large/{experiment}/losses.csv" for experiment in ("anger", "conspiracy")]
    (folder / "large.yaml").write_text(json.dumps({"models": {"large": model}}))
    arguments = (*targets, "--configfile", str(folder / "large.yaml"))
    run = snakemake(folder, *arguments, cores=cores, fails=True)
    assert "Traceback" not in run.stdout + run.stderr
    assert not (folder / "resources").exists()
    assert not (folder / "logs").exists()
    assert list(folder.glob(".snakemake/locks/*.lock")) == []
    sentence = run.stderr.strip().splitlines()[-1].removeprefix("Error: ")
    # What is available changes by the second.
    beginning = re.split(r", and [\d.]+ GB are", sentence)[0]
    assert f"\n{beginning}, and " in snakemake(folder, "-n", *arguments, cores=cores).stdout
    return sentence


@pytest.mark.slow
def test_a_run_that_does_not_fit_on_the_disk_does_not_start(tmp_path):
    source = {"repo": "owner/model", "revision": COMMIT, "sha256": {"model.safetensors": None}}
    large = source | {"bytes": {"model.safetensors": 10**18}}
    assert "this run writes 1000000000.0 GB" in refused(tmp_path, {"weights": large, "lens_folder": "/a/lens"}, 1)


@pytest.mark.slow
def test_a_run_that_does_not_fit_into_memory_names_the_cores_that_do(tmp_path):
    """A file of no content but its length: one job has enough of its own, two with the weights have not."""
    (tmp_path / "model").mkdir()
    with (tmp_path / "model/model.safetensors").open("wb") as file:
        file.truncate(2 * available_memory())
    model = {"folder": str(tmp_path / "model"), "lens_folder": str(tmp_path)}
    assert refused(tmp_path, model, cores=2).endswith(": run with --cores 1")
