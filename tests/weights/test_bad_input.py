"""Files and experiments that do not fit end in one sentence, before anything is computed."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from folder_setup import change_json, obtained
from random_model import write_lens
from safetensors.torch import load_file, save_file

from replication.base.addition import Addition
from replication.base.config import Experiment
from replication.base.errors import UserError
from replication.engine import sides
from replication.engine.fit_checks import check
from replication.engine.loaded import Loaded
from replication.weights import model_files as verified


@pytest.fixture
def folders(random_folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the random model and lens that a test may damage."""
    return tuple(shutil.copytree(folder, tmp_path / folder.name) for folder in random_folders)  # type: ignore[return-value]


def sentence(folders: tuple[Path, Path], base_name: str | None = None) -> str:
    """What the step `weights` says about a damaged model."""
    with pytest.raises(UserError) as caught:
        check(obtained(folders), base_name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_undamaged_model_passes_and_says_what_was_checked(folders):
    said = check(obtained(folders), None)
    assert "88 weight tensors: names, shapes and finite values, float32" in said
    assert "lens: 7 translators of 24 x 24, finite, as the model needs" in said
    assert "lens: its config.json names the model random" in said


def test_a_missing_folder(folders):
    shutil.rmtree(folders[0])
    assert sentence(folders) == f"models.mine.folder: there is no folder {folders[0]}"


@pytest.mark.parametrize(("which", "file"), [(0, "model.safetensors"), (0, "tokenizer.json"), (1, "params.pt")])
def test_a_missing_file(folders, which, file):
    (folders[which] / file).unlink()
    assert f"{folders[which]} lacks the file {file}" in sentence(folders)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"layers": 6}, "the lens has 6 translators, the model 7 layers"),
        ({"d_model": 16}, "translator 0 has shape (16, 16); the model's d_model asks for (24, 24)"),
    ],
)
def test_a_lens_of_another_shape(folders, shape, said):
    shutil.rmtree(folders[1])
    write_lens(folders[1], **shape)
    assert said in sentence(folders)


def test_a_lens_that_names_another_model(folders):
    change_json(folders[1] / "config.json", base_model_name_or_path="gpt2-large")
    assert "this lens was trained for 'gpt2-large', the model is 'random'" in sentence(folders)


def test_the_repository_name_counts_more_than_the_folder(folders):
    change_json(folders[1] / "config.json", base_model_name_or_path="gpt2-xl")
    assert "this lens was trained for 'gpt2-xl', the model is 'openai-community/gpt2'" in sentence(
        folders, base_name="openai-community/gpt2"
    )


@pytest.mark.parametrize("which", [0, 1])
def test_a_side_that_names_no_model_is_said_and_not_refused(folders, which):
    change_json(folders[which] / "config.json", _name_or_path=None, base_model_name_or_path=None)
    assert check(obtained(folders), None)[3].startswith("NOT checked: whether the lens was trained for this model")


@pytest.mark.parametrize(
    ("named", "ours", "said"),
    [
        (None, "a" * 40, "NOT checked: for which revision of the model the lens was trained"),
        ("b" * 40, None, f"NOT checked: the lens was trained for revision {'b' * 40}"),
        ("b" * 40, "a" * 40, f"NOTE: the lens was trained for revision {'b' * 40}, this model is revision {'a' * 40}"),
        ("a" * 40, "a" * 40, "lens: trained for this revision of the model"),
    ],
)
def test_the_lens_revision_is_compared_as_far_as_it_is_known(folders, named, ours, said):
    change_json(folders[1] / "config.json", base_model_revision=named)
    assert check(obtained(folders), "owner/random", ours)[-1].startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor.index_fill(0, torch.tensor([3]), float("nan")), "h.2.ln_1.weight holds NaN or infinity"),
        (torch.Tensor.double, "h.2.ln_1.weight is stored as float64; only float32, float16 and bfloat16 are read"),
        (lambda tensor: tensor[:5].clone(), "h.2.ln_1.weight has shape (5,); config.json asks for (24,)"),
        (lambda tensor: None, "lacks the tensor h.2.ln_1.weight"),
    ],
    ids=["NaN", "double", "another shape", "missing"],
)
def test_a_tensor_that_does_not_fit(folders, change, said):
    path, name = folders[0] / "model.safetensors", "transformer.h.2.ln_1.weight"
    tensors = load_file(path)
    tensors[name] = change(tensors[name])
    save_file({key: value for key, value in tensors.items() if value is not None}, path)
    assert said in sentence(folders)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
@pytest.mark.parametrize(
    ("which", "file", "said"),
    [(0, "model.safetensors", "damaged"), (1, "params.pt", "damaged, or holds something other than tensors")],
)
def test_a_truncated_file(folders, which, file, said, keep):
    path = folders[which] / file
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path}: {said}" in sentence(folders)


class Canary:
    """A pickle that would write a file when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_lens_is_not_executed(folders, tmp_path, legacy):
    canary, path = tmp_path / "canary", folders[1] / "params.pt"
    if legacy:
        path.write_bytes(pickle.dumps({"0.weight": Canary(canary)}))
    else:
        torch.save({"0.weight": Canary(canary)}, path)
    assert "holds something other than tensors, so it was not loaded" in sentence(folders)
    assert not canary.exists()
    torch.load(path, weights_only=False) if not legacy else pickle.loads(path.read_bytes())
    assert canary.exists(), "the canary itself must work, or this test shows nothing"


@pytest.mark.parametrize("program", [b"\x80\x02a.", b"\x80\x02K\x01K\x02s.", b"\x80\x02\x85.", b"\x80\x02R."])
def test_a_pickle_that_makes_no_sense_is_refused(folders, program):
    """Found by fuzzing: torch's unpickler ends such programs with IndexError, TypeError and others."""
    path = folders[1] / "params.pt"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, program if name.endswith("/data.pkl") else data)
    assert "damaged, or holds something other than tensors" in sentence(folders)


def test_a_lens_with_nan_or_strange_names(folders):
    state = torch.load(folders[1] / "params.pt", weights_only=True)
    torch.save(state | {"3.bias": state["3.bias"] * float("inf")}, folders[1] / "params.pt")
    assert "3.bias holds NaN or infinity" in sentence(folders)
    torch.save({f"x{name}": tensor for name, tensor in state.items()}, folders[1] / "params.pt")
    assert "expected tensors 0.weight, 0.bias, 1.weight" in sentence(folders)
    torch.save([1, 2], folders[1] / "params.pt")
    assert "does not hold a dictionary of tensors" in sentence(folders)


def test_config_json_of_another_architecture_or_damaged(folders):
    change_json(folders[0] / "config.json", model_type="llama")
    assert "model_type is 'llama'; only 'gpt2' is supported" in sentence(folders)
    (folders[0] / "config.json").write_text("{")
    assert "cannot be read as JSON" in sentence(folders)


def test_a_tokenizer_that_does_not_fit(folders):
    change_json(folders[0] / "config.json", bos_token_id=7)
    assert "<|endoftext|> is token 50256, config.json's bos_token_id is 7" in sentence(folders)
    (folders[0] / "tokenizer.json").write_text("{}")
    assert "cannot be read as a tokenizer" in sentence(folders)


def experiment(prompt: str = "I hate you because", key_tokens: tuple[str, ...] = (), **steering: object) -> Experiment:
    values = {"layer": 3, "coefficient": 1.0, "added": "Love", "subtracted": "Hate"} | steering
    return Experiment(title="test", prompt=prompt, steering=Addition(**values), key_tokens=key_tokens)


EXPERIMENT_FAULTS = [
    ({"layer": 7}, "steering.layer: 7 is too large; this model has layers 0 to 6"),
    ({"prompt": "I"}, "prompt: 'I' has 2 tokens with <|endoftext|>, the steering vector 3; the prompt must not be"),
    ({"prompt": "a " * 70}, "tokens with <|endoftext|>; this model's context is 64"),
    ({"key_tokens": ("hat",)}, "key_tokens: the prompt has no token 'hat'; it splits into 1 'I', 2 ' hate', 3 ' you'"),
    ({"key_tokens": (5,)}, "key_tokens: there is no token at place 5; it splits into 1 'I', 2 ' hate', 3 ' you', 4 "),
]


@pytest.mark.parametrize(("changes", "expected"), EXPERIMENT_FAULTS, ids=[str(c)[:40] for c, _ in EXPERIMENT_FAULTS])
def test_an_experiment_that_does_not_fit_the_model(random_loaded: Loaded, changes, expected):
    with pytest.raises(UserError) as caught:
        sides.check(random_loaded.tokenizer, random_loaded.gpt2.config, experiment(**changes))
    assert expected in str(caught.value)


def test_a_file_changed_after_it_was_verified_is_refused(folders, tmp_path, monkeypatch):
    memory, files = tmp_path / "hashes.json", obtained(folders)
    stamp = tmp_path / "verified.json"
    stamp.write_text(json.dumps(verified.stamp(files, None, [])))
    assert verified.verified(stamp, memory) == files
    with (folders[1] / "params.pt").open("r+b") as file:
        file.seek(2000)
        file.write(b"\1\2\3")
    with pytest.raises(UserError, match="missing or changed since it was verified; run"):
        verified.verified(stamp, memory)
