"""Checkpoints in the forms that people have them: the same numbers as plain transformers has, or one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from folder_setup import change_json, obtained
from random_model import VOCABULARY, write_lens, write_model
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, GPT2LMHeadModel
from tuned_lens import TunedLens

from replication.base.addition import Addition
from replication.base.config import Experiment, Model
from replication.base.errors import UserError
from replication.engine.fit_checks import check, unembedding_hash
from replication.engine.loaded import Loaded, load
from replication.engine.measure import measure
from replication.engine.second_opinion import second_opinion
from replication.engine.tokenizer import Tokenizer
from replication.weights.obtain import obtain

PROMPT = "I hate you because you're a wonderful person"
# Of few tokens, as every one is read out at each layer into 50,257 logits.
EXPERIMENT = Experiment(
    title="t", prompt="I hate you", steering=Addition(layer=1, coefficient=5.0, added="Love", subtracted="Hate")
)
NAMED = "transformer.wte.weight"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("originals")
    return write_model(folder / "model", layers=2), write_lens(folder / "lens", layers=2)


@pytest.fixture
def folders(originals: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A model and a lens that a test may change."""
    return tuple(shutil.copytree(folder, tmp_path / folder.name) for folder in originals)  # type: ignore[return-value]


def loaded(folders: tuple[Path, Path]) -> tuple[Loaded, list[str]]:
    files = obtained(folders)
    return load(files), check(files, None)


def refusal(folders: tuple[Path, Path]) -> str:
    with pytest.raises(UserError) as caught:
        loaded(folders)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    stored = change(tensors(folder))
    safetensors.torch.save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})


def transformers_logits(folder: Path, ids: list[int]) -> torch.Tensor:
    """Plain transformers' logits: nothing of ours, the folder as it lies there."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def our_logits(ours: Loaded, ids: list[int]) -> torch.Tensor:
    stream = ours.gpt2.embedding(torch.tensor([ids]))
    for layer in range(ours.gpt2.config.n_layer):
        stream = ours.gpt2.block(layer, stream)
    return ours.gpt2.logits(stream)[0]


def assert_same_as_transformers(folders: tuple[Path, Path], expected: torch.Tensor | None = None) -> list[str]:
    """Our logits are plain transformers', and tuned-lens agrees on every cell; returns the checks' lines."""
    ours, lines = loaded(folders)
    ids = ours.tokenizer.with_bos(PROMPT)
    wanted = transformers_logits(folders[0], ids) if expected is None else expected
    torch.testing.assert_close(our_logits(ours, ids), wanted, rtol=0, atol=1e-4)
    measured = measure(ours, EXPERIMENT)
    opinion = second_opinion(*folders, {"t": measured.record})
    raw = measured.losses[measured.losses["protocol"] == "raw"]
    assert (raw["loss"].to_numpy() - opinion["loss"].to_numpy()).max() < 1e-4
    return lines


def sharded(folder: Path, form: str) -> None:
    """The folder's weights as transformers shards them, or as an older transformers pickled them."""
    stored = tensors(folder)
    (folder / "model.safetensors").unlink()
    suffix = "safetensors" if "safetensors" in form else "bin"
    names = [f"{form.split('.')[0]}-{i:05}-of-00002.{suffix}" for i in (1, 2)]
    parts = [dict(list(stored.items())[i::2]) for i in (0, 1)]
    for name, part in zip(names, parts, strict=True):
        if suffix == "bin":
            torch.save(part, folder / name)
        else:
            safetensors.torch.save_file(part, folder / name, metadata={"format": "pt"})
    where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    (folder / form).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))


@pytest.mark.parametrize("form", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_shards_are_read_as_their_index_says(folders, form):
    sharded(folders[0], form)
    assert_same_as_transformers(folders)
    files = loaded(folders)[0].files
    assert {key for key in files.sha256 if "0000" in key or form in key} == {
        f"model/{path.name}" for path in folders[0].iterdir() if "0000" in path.name or path.name == form
    }, "shards and index are part of the model's identity"
    next(folders[0].glob("*-00002-*")).unlink()
    assert f"-of-00002.{form.split('.')[1]}, which {form} names" in refusal(folders)


@pytest.mark.parametrize("content", ["[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}', "x"])
def test_an_index_that_names_no_files_beside_it_is_refused(folders, content):
    sharded(folders[0], "model.safetensors.index.json")
    (folders[0] / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json: " in refusal(folders)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_of_tensors_alone_is_read(folders, legacy):
    stored = tensors(folders[0])
    (folders[0] / "model.safetensors").unlink()
    torch.save(stored, folders[0] / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert_same_as_transformers(folders)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_exactly(folders, dtype):
    rewrite(folders[0], lambda stored: {name: tensor.to(dtype) for name, tensor in stored.items()})
    kind = str(dtype).removeprefix("torch.")
    change_json(folders[0] / "config.json", dtype=kind)
    assert any(f"stored as {kind}, computed with in float32" in line for line in assert_same_as_transformers(folders))
    ours = loaded(folders)[0]
    for name, tensor in tensors(folders[0]).items():
        read = ours.gpt2.tensors[name.removeprefix("transformer.")]
        assert torch.equal(read.to(dtype), tensor)
        assert read.dtype == torch.float32
    assert measure(ours, EXPERIMENT).record["numerics"]["widened_from"] == kind


def test_float32_is_neither_copied_nor_mentioned(folders):
    ours, lines = loaded(folders)
    assert "widened_from" not in measure(ours, EXPERIMENT).record["numerics"]
    assert any(line.endswith("finite values, float32") for line in lines)


@pytest.mark.parametrize("kept", ["under the unembedding's name", "twice", "twice, and differ"])
def test_tied_weights_are_read_under_either_name(folders, kept):
    def change(stored):
        embedding = stored[NAMED]
        if kept == "under the unembedding's name":
            del stored[NAMED]
        factor = 2 if kept == "twice, and differ" else 1
        return stored | {"lm_head.weight": factor * embedding.clone()}

    rewrite(folders[0], change)
    lines = assert_same_as_transformers(folders)
    assert any("both are stored and differ: not tied" in line for line in lines) == (kept == "twice, and differ")


LEFT_OVER = {
    "output_attentions": True,
    "output_hidden_states": True,
    "return_dict": False,
    "torchscript": True,
    "use_cache": False,
    "gradient_checkpointing": True,
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "_attn_implementation": "flash_attention_2",
}


@pytest.mark.parametrize("key", LEFT_OVER)
def test_what_training_left_in_config_json_is_ignored_and_said(folders, key):
    plain = transformers_logits(folders[0], loaded(folders)[0].tokenizer.with_bos(PROMPT))
    change_json(folders[0] / "config.json", **{key: LEFT_OVER[key]})
    lines = assert_same_as_transformers(folders, plain)
    assert f"NOTE: ignored in config.json: {key}: {json.dumps(LEFT_OVER[key])}" in lines


REFUSED = {
    "adapter": (["adapter_config.json", "adapter_model.safetensors"], "merge it into its base model (peft's"),
    "adapter beside the model": (["adapter_config.json", "model.safetensors"], "merge it into its base model"),
    "GGUF": (["gpt2.Q4_K_M.gguf"], "holds GGUF weights alone: have transformers read them"),
    "TensorFlow": (["tf_model.h5"], "has weights as tf_model.h5 alone: load them with transformers"),
    "nothing": ([], "lacks the file model.safetensors (or its shards with model.safetensors.index.json, or pytorch_"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_of_checkpoints_are_refused_by_name(folders, kind):
    names, said = REFUSED[kind]
    (folders[0] / "model.safetensors").rename(folders[0] / "away")
    for name in names:
        (folders[0] / name).write_text("{}")
    assert said in refusal(folders)


def test_quantized_tensors_are_refused_by_name(folders):
    name = "transformer.h.1.mlp.c_fc.weight"
    rewrite(folders[0], lambda stored: stored | {name: stored[name].to(torch.int8)})
    assert "h.1.mlp.c_fc.weight is stored as int8; only float32, float16 and bfloat16 are read" in refusal(folders)


def spoiled(folder: Path) -> None:
    """A tokenizer.json that was used with truncation and padding, trained with dropout, and adds a token."""
    from tokenizers import Tokenizer as Library

    tokenizer = Library.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=20)
    tokenizer.model.dropout = 0.9
    tokenizer.post_processor = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 50256)])
    tokenizer.save(str(folder / "tokenizer.json"))


def test_settings_that_an_earlier_use_stored_never_reach_a_prompt(folders):
    expected = loaded(folders)[0].tokenizer.encode(PROMPT)
    spoiled(folders[0])
    ours, lines = loaded(folders)
    assert ours.tokenizer.encode(PROMPT) == expected
    assert len(expected) > 3
    ignored = "truncation, padding, dropout, a post-processor that adds tokens"
    assert f"NOTE: ignored in tokenizer.json: {ignored}" in lines


TEXTS = [
    PROMPT,
    "  two  spaces",
    "naïve émoji 😀👩‍👩‍👧",
    "<|endoftext|>x<|endoftext|>",
    "I'll\n\n\tdon't 12345",
    "",
    "한국어 עברית",
]


def test_vocabulary_and_merges_stand_for_a_tokenizer_json(folders, tmp_path):
    (folders[0] / "tokenizer.json").unlink()
    assert "lacks the file tokenizer.json (or vocab.json and merges.txt)" in refusal(folders)
    shutil.copy(VOCABULARY / "encoder.json", folders[0] / "vocab.json")
    shutil.copy(VOCABULARY / "vocab.bpe", folders[0] / "merges.txt")
    ours, judge = loaded(folders)[0].tokenizer, AutoTokenizer.from_pretrained(folders[0])
    for text in TEXTS:
        assert ours.encode(text) == judge(text, add_special_tokens=False)["input_ids"], text
    write_model(tmp_path / "other", layers=1)
    whole = Tokenizer([tmp_path / "other" / "tokenizer.json"])
    assert [ours.text(i) for i in range(len(ours))] == [whole.text(i) for i in range(len(whole))]


def test_a_lens_of_half_precision_is_read_exactly(folders):
    state = torch.load(folders[1] / "params.pt", weights_only=True)
    torch.save({name: tensor.half() for name, tensor in state.items()}, folders[1] / "params.pt")
    assert_same_as_transformers(folders)
    weight, bias = loaded(folders)[0].translators[1]
    assert torch.equal(weight, state["1.weight"].half().float())
    assert torch.equal(bias, state["1.bias"].half().float())


def test_a_lens_without_biases_is_refused_since_tuned_lens_cannot_read_it(folders):
    """TunedLens(bias=False) ends in an AttributeError."""
    state = torch.load(folders[1] / "params.pt", weights_only=True)
    torch.save({name: tensor for name, tensor in state.items() if "weight" in name}, folders[1] / "params.pt")
    assert "has no biases, and tuned-lens, which every run asks for a second opinion, cannot read" in refusal(folders)


@pytest.mark.parametrize("says", [{"d_model": 25}, {"num_hidden_layers": 3}])
def test_a_lens_whose_settings_contradict_its_tensors_is_refused(folders, says):
    (key, value), *_ = says.items()
    change_json(folders[1] / "config.json", **says)
    assert f"config.json: {key} is {value}; the tensors in params.pt have {24 if key == 'd_model' else 2}" in refusal(
        folders
    )


def test_the_hash_of_the_unembedding_is_tuned_lens_own(folders):
    model = GPT2LMHeadModel.from_pretrained(folders[0])
    theirs = TunedLens.from_model(model).unembed.unembedding_hash()
    ours = model.lm_head.weight.detach()
    assert unembedding_hash(ours) == theirs
    assert unembedding_hash(ours.flip(0)) != theirs
    with np.printoptions(threshold=10, edgeitems=1, suppress=True):
        assert unembedding_hash(ours) == theirs


MINE, OTHERS = "its own", "0" * 64
ORIGINS = [
    # The lens' hash, the names that lens and model give for the model, and what is said.
    (MINE, "gpt2-large", "random", "lens: its unembed_hash is that of this model"),
    (OTHERS, "random", "random", "NOTE: lens: its config.json names the model random, but its unembed_hash is not"),
    (OTHERS, "./", "random", "this lens was trained for another model: its unembed_hash is not that of these weights"),
    (OTHERS, "gpt2", "random", "this lens was trained for 'gpt2', the model is 'random'"),
    (None, "gpt2", "random", "this lens was trained for 'gpt2', the model is 'random'"),
    (None, "random", "/home/me/random", "NOT checked: whether the lens was trained for this model (the model's"),
    (None, "random", "./", "NOT checked: whether the lens was trained for this model (the model's"),
    (None, "random", "out/checkpoint-500", "NOT checked: whether the lens was trained for this model (the model's"),
    (None, "/cache/models--gpt2/snapshots/" + 40 * "a", "random", "NOT checked: whether the lens was trained for this"),
    (None, "owner/random", "random", "lens: its config.json names the model owner/random"),
]


@pytest.mark.parametrize(("hashed", "lens_says", "model_says", "said"), ORIGINS)
def test_whether_a_lens_belongs_to_the_weights_is_decided_by_its_hash_then_by_names(
    folders, hashed, lens_says, model_says, said
):
    own = unembedding_hash(tensors(folders[0])[NAMED])
    change_json(
        folders[1] / "config.json",
        unembed_hash=own if hashed == MINE else hashed,
        base_model_name_or_path=lens_says,
    )
    change_json(folders[0] / "config.json", _name_or_path=model_says)
    try:
        lines = loaded(folders)[1]
    except UserError as error:
        lines = [str(error)]
    assert any(said in line for line in lines), lines
    assert said.startswith("this lens was trained") == (len(lines) == 1)


def test_a_folder_below_the_home_is_named_with_a_tilde(folders, monkeypatch):
    monkeypatch.setenv("HOME", str(folders[0].parent))
    files = obtain(
        "mine", Model(folder="~/model", lens_folder="~/lens"), folders[0].parent, folders[0].parent / "hashes.json"
    )
    assert (files.folder, files.lens_folder) == folders
