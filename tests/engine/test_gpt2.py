"""Our forward pass against transformers' GPT-2 in eager attention, for all that a config.json can ask for."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from replication.base.errors import UserError
from replication.engine.gpt2 import ACTIVATIONS, GPT2, shapes
from replication.engine.gpt2_config import read_config
from replication.engine.weight_files import stored_tensors

IDS = torch.tensor([[50256, 40, 5465, 345, 780, 345, 821, 257], [50256, 18565, 220, 220, 50256, 39, 378, 11]])

SETTINGS: list[dict[str, Any]] = [
    *({"activation_function": name} for name in ACTIVATIONS),
    {"n_inner": 17},
    {"layer_norm_epsilon": 0.1},
    {"scale_attn_weights": False},
    {"scale_attn_by_inverse_layer_idx": True},
    {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True},
    {"tie_word_embeddings": False},
    {"n_head": 1},
]


def written(folder: Path, **settings: Any) -> GPT2LMHeadModel:
    """A random GPT-2 of transformers, written to `folder`."""
    config = GPT2Config(**{"n_layer": 3, "n_embd": 12, "n_head": 3, "n_positions": 16} | settings)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        # Biases start at 0 and gains at 1: random ones show a forgotten term.
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    model.save_pretrained(folder)
    model.eval().set_attn_implementation("eager")
    return model


def ours(folder: Path) -> GPT2:
    config, stored = read_config(folder), stored_tensors(folder / "model.safetensors")
    return GPT2(config, {name: stored[name] for name in shapes(config)})


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: "-".join(f"{k}={v}" for k, v in each.items()))
def test_every_layer_and_the_logits_equal_transformers(tmp_path, settings):
    theirs, gpt2 = written(tmp_path, **settings), ours(tmp_path)
    with torch.no_grad():
        answer = theirs(IDS, output_hidden_states=True)
        stream = gpt2.embedding(IDS)
        for layer in range(3):
            assert (stream - answer.hidden_states[layer]).abs().max() < 1e-5, f"entering block {layer}"
            stream = gpt2.block(layer, stream)
        difference = (gpt2.logits(stream) - answer.logits).abs().max()
    assert difference < 1e-4
    assert answer.logits.std() > 0.5, "all logits alike would show nothing"


def test_what_is_between_attention_and_mlp_is_what_enters_the_second_norm(tmp_path):
    theirs, gpt2 = written(tmp_path), ours(tmp_path)
    seen: list[torch.Tensor] = []
    theirs.transformer.h[1].ln_2.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        theirs(IDS)
        within = gpt2.attended(1, gpt2.block(0, gpt2.embedding(IDS)))
    assert (within - seen[0]).abs().max() < 1e-5


def test_a_later_token_changes_nothing_before_it(tmp_path):
    written(tmp_path)
    gpt2, other = ours(tmp_path), IDS.clone()
    other[:, 5:] = 7
    one, two = (gpt2.block(1, gpt2.block(0, gpt2.embedding(ids))) for ids in (IDS, other))
    assert torch.equal(one[:, :5], two[:, :5])
    assert not torch.equal(one[:, 5:], two[:, 5:])


def test_sdpa_on_the_same_weights_gives_the_same_bits(random_loaded):
    """The numbers of earlier versions, which ran transformers' blocks, are these."""
    theirs = GPT2LMHeadModel.from_pretrained(random_loaded.files.folder, attn_implementation="sdpa").eval()
    with torch.no_grad():
        answer = theirs(IDS, output_hidden_states=True)
        stream = random_loaded.gpt2.embedding(IDS)
        for layer in range(random_loaded.gpt2.config.n_layer):
            assert torch.equal(stream, answer.hidden_states[layer])
            stream = random_loaded.gpt2.block(layer, stream)


REFUSED = [
    ({"model_type": "gptj"}, "model_type is 'gptj'; only 'gpt2' is supported"),
    ({"add_cross_attention": True}, "add_cross_attention is True; cross-attention"),
    ({"pruned_heads": {"1": [0]}}, "pruned_heads is {'1': [0]}; pruned heads are not supported"),
    ({"activation_function": "gelu_10"}, "activation_function: "),
    ({"n_head": 5}, "n_head: 5 heads do not divide n_embd, 24"),
    ({"n_layer": 10**9}, "n_layer: "),
    ({"n_layer": "7"}, "n_layer: "),
    ({"scale_attn_weights": "no"}, "scale_attn_weights: "),
    ({"layer_norm_epsilon": 0}, "layer_norm_epsilon: "),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_is_not_computed_is_refused_by_name(random_folders, tmp_path, changes, sentence):
    values = json.loads((random_folders[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | changes))
    with pytest.raises(UserError) as caught:
        read_config(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: {sentence}")


def test_other_names_of_the_same_sizes_are_read(random_folders, tmp_path):
    values = json.loads((random_folders[0] / "config.json").read_text())
    named = {"num_hidden_layers": values.pop("n_layer"), "hidden_size": values.pop("n_embd"), **values}
    (tmp_path / "config.json").write_text(json.dumps(named))
    assert read_config(tmp_path) == read_config(random_folders[0])
