"""`device: cuda` without a card: a stand-in finds what is left on the CPU, and every refusal is one sentence."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stand_in_card import card as stand_in
from torch import Tensor
from typer.testing import CliRunner

from replication import api
from replication.base.addition import Addition
from replication.base.config import Experiment, MorePrompts
from replication.base.errors import UserError
from replication.base.files import write_json
from replication.base.paths import REPOSITORY, VERIFIED, path
from replication.engine import controls, cuda, second_opinion, steering
from replication.engine.loaded import Loaded, load
from replication.engine.measure import measure
from replication.engine.steering import SteeringVector
from replication.weights.model_files import stamp
from replication.workflow.cli import app

EXPERIMENT = Experiment(
    title="test",
    prompt="You're a wonderful person",
    steering=Addition(layer=3, coefficient=2, added="Love", subtracted="Hate"),
    more_prompts=MorePrompts(target=" wonderful", contrast=" terrible", neutral=("My new neighbor is a",)),
)
EXPERIMENTS = ("--settings", EXPERIMENT.model_dump_json())
CONTROLS = ("--control-settings", json.dumps({"random_vectors": 3, "sweep_multiples": [0, 1]}))
STEPS = {
    "measure": ("m", "e", *EXPERIMENTS),
    "controls": ("m", "e", *EXPERIMENTS, *CONTROLS, "--table=random_vectors", "--table=prompts", "--table=sweep"),
    "sweep_part": ("m", "e", *EXPERIMENTS, *CONTROLS, "--part", "1", "--parts", "3"),
    "second_opinion": ("m", "e"),
}
"""Every step that computes with a model; published values are in their own file, where there are sets to measure."""


@pytest.fixture(scope="module")
def measured(random_loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the random model `m` has been measured on the CPU."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_json(path(VERIFIED, "m"), stamp(random_loaded.files, None, []))
        run("measure", "cpu")
    return folder


@pytest.fixture
def work(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to work in, and a card's name to be asked for."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "stand-in")
    return tmp_path


def run(step: str, device: str) -> None:
    options = ("--numerics", "portable", "--device", device, "--threads", "1")
    result = CliRunner().invoke(app, ["step", step, *STEPS[step], *options])
    if result.exception:
        raise result.exception


def tables(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "results").rglob("*.csv")}


@pytest.mark.parametrize("step", STEPS)
def test_every_step_leaves_nothing_on_the_cpu_and_writes_the_same(work: Path, step: str) -> None:
    if step != "measure":
        run(step, "cpu")
    expected = tables(work)
    for file in (work / "results").rglob("*.csv"):
        file.unlink()
    with stand_in() as used:
        run(step, "cuda")
    assert used.operations > 100
    found = tables(work)
    assert found
    assert found == {name: expected[name] for name in found}


def test_from_python_too(random_folders: tuple[Path, Path], work: Path) -> None:
    words = {"added": "Love", "subtracted": "Hate", "layer": 3, "coefficient": 2}
    with stand_in():
        model = api.load(*random_folders, device="cuda")
        result = api.steer(model, EXPERIMENT.prompt, **words)
        assert "on cuda:0" in repr(model)
    assert result.numerics == "fast"


# Left behind on purpose


def on_cpu(function):
    """A function of torch's that leaves out the device it is given."""
    return lambda *given, device=None, **named: function(*given, **named)


def translators_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def left(*given: object) -> Loaded:
        loaded = load(*given)
        return replace(loaded, translators=load(loaded.files).translators)

    monkeypatch.setattr("replication.engine.loaded.load", left)


def ids_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def embedded(gpt2, texts):
        """As the engine's, where all texts are of one length."""
        return torch.nn.functional.embedding(torch.tensor([*map(list, texts)]), gpt2.tensors["wte.weight"])

    monkeypatch.setattr(steering, "embedded", embedded)


def vector_left(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = steering.scaled
    monkeypatch.setattr(steering, "scaled", lambda *given: scaled(*given).cpu())


def targets_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "tensor", on_cpu(torch.tensor))


def directions_left(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = controls.random_directions
    monkeypatch.setattr(controls, "random_directions", lambda *given: [(left(v),) for (v,) in drawn(*given)])


def swept_left(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplied = controls.multiplied
    monkeypatch.setattr(controls, "multiplied", lambda *given: left(multiplied(*given)))


def left(vector: SteeringVector) -> SteeringVector:
    return replace(vector, values=vector.values.cpu())


def batch_targets_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "zeros", lambda *given, **named: on_cpu(torch.ones)(*given, **named) * 0)


def second_translators_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion.TunedLens, "to", lambda lens, device: lens)


def second_vector_left(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = second_opinion._vector
    monkeypatch.setattr(second_opinion, "_vector", lambda *given: vector(*given).cpu())


def second_model_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # The ids go where the model is: with it they are all on the CPU, the lens on the card.
    monkeypatch.setattr(second_opinion.GPT2LMHeadModel, "to", lambda model, device: model)


def table_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: tensor)


LEFT_BEHIND = [
    ("measure", translators_left),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            ("measure", ids_left),
            ("measure", vector_left),
            ("measure", targets_left),
            ("measure", table_left),
            ("controls", directions_left),
            ("controls", vector_left),
            ("controls", batch_targets_left),
            ("controls", table_left),
            ("sweep_part", swept_left),
            ("second_opinion", second_translators_left),
            ("second_opinion", second_vector_left),
            ("second_opinion", second_model_left),
        ]
    ),
]


@pytest.mark.parametrize(("step", "leave"), LEFT_BEHIND)
def test_what_is_left_behind_is_found(work: Path, monkeypatch: pytest.MonkeyPatch, step: str, leave) -> None:
    leave(monkeypatch)
    run(step, "cpu")
    with stand_in(), pytest.raises((RuntimeError, TypeError), match="cuda:0"):
        run(step, "cuda")


# The record


def test_the_record_says_device_card_and_driver_and_never_portable(
    random_loaded: Loaded, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "nvidia-smi").write_text("#!/bin/sh\necho 595.10\necho 595.10\n")
    (work / "nvidia-smi").chmod(0o755)
    on_cpu = measure(random_loaded, EXPERIMENT).record
    with stand_in():
        loaded = load(random_loaded.files, "cuda")
        unknown = measure(loaded, EXPERIMENT).record["numerics"]
        monkeypatch.setenv("PATH", str(work), prepend=":")
        known = measure(loaded, EXPERIMENT).record
    kept = {name: on_cpu["numerics"][name] for name in ("build", "dtype", "threads")}
    assert on_cpu["numerics"] == {"mode": on_cpu["numerics"]["mode"], "device": "cpu", **kept}
    assert known["numerics"] == {
        "mode": "fast", "device": "cuda:0", "card": "stand-in", "driver": "595.10", **kept
    }  # fmt: skip
    assert unknown == known["numerics"] | {"driver": "unknown"}
    assert {**known, "numerics": {}} == {**on_cpu, "numerics": {}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "before", ["", "torch.backends.fp32_precision = 'tf32'", "torch.set_float32_matmul_precision('high')"]
)
def test_tf32_is_off_whatever_was_set_before(before: str) -> None:
    """By a fresh process, with the variable by which NVIDIA's own images switch TF32 on."""
    script = f"""if True:
        import torch
        {before or "pass"}
        from replication.engine.numerics import prepare
        prepare("fast", 1)
        matmuls = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
        print(torch.get_float32_matmul_precision(), *(each.fp32_precision for each in matmuls))
    """
    command = [sys.executable, "-c", script]
    variables = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["highest", "ieee", "ieee"], result.stderr


# Refusals


SAID = {
    "Torch not compiled with CUDA enabled": "install torch's build for CUDA",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU": "install a driver",
    "The NVIDIA driver on your system is too old (found version 11040). Please update": "install a driver",
    "No CUDA GPUs are available": "let CUDA_VISIBLE_DEVICES name a card that nvidia-smi lists",
    "CUDA error: invalid device ordinal\nGPU device may be out of range": "let CUDA_VISIBLE_DEVICES name a card",
    "CUDA error: out of memory\nCUDA kernel errors might be": "free its memory",
    "CUDA error: all CUDA-capable devices are busy or unavailable": "see what nvidia-smi says",
}
"""What torch says, and what there is to do."""


@pytest.mark.parametrize("step", ["measure", "controls", "sweep_part", "second_opinion"])
def test_without_a_card_every_step_says_what_torch_says(work: Path, step: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("here is a card")
    with pytest.raises(UserError, match=r"^device: cuda cannot be used, torch says '[^']+'; .+, or set device to cpu$"):
        run(step, "cuda")


@pytest.mark.parametrize("said", SAID)
def test_a_card_that_cannot_be_used_ends_in_one_sentence(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: object, **__: object) -> None:
        raise (AssertionError if "compiled" in said else RuntimeError)(said)

    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(UserError) as found:
        cuda.check("cuda")
    sentence = str(found.value)
    assert SAID[said] in sentence
    assert said.splitlines()[0].split(". ")[0] in sentence
    assert sentence.endswith("set device to cpu")
    assert "\n" not in sentence
    assert ". " not in sentence


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0", "mps"])
def test_another_device_is_refused_in_one_sentence(random_loaded: Loaded, device: str) -> None:
    sentence = f"device: must be cpu or cuda, found '{device}'; CUDA_VISIBLE_DEVICES says which card cuda is"
    with pytest.raises(UserError) as found:
        load(random_loaded.files, device)
    assert str(found.value) == sentence


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 6 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
@pytest.mark.parametrize("step", STEPS)
def test_a_card_that_fills_up_on_the_way_ends_in_one_sentence(
    work: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("replication.engine.gpt2.GPT2.block", full)
    monkeypatch.setattr("replication.engine.second_opinion._cells", full)
    with (
        stand_in(),
        pytest.raises(UserError, match=r"^device: cuda cannot be used, torch says .CUDA .*; free its memory"),
    ):
        run(step, "cuda")


def test_other_faults_on_a_card_stay_faults(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("replication.engine.gpt2.GPT2.block", fails)
    with pytest.raises(RuntimeError, match="device-side assert"):
        run("measure", "cpu")
