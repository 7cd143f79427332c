"""Training of a GPT-2 and its lens: what is trained on, what is saved, and what the KL of a lens means."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch

from replication.engine import train_gpt2, train_lens
from replication.engine.gpt2 import GPT2, shapes
from replication.engine.gpt2_config import Config
from replication.engine.lens import log_probabilities, translated
from replication.engine.lens_file import read_lens
from replication.engine.steering import embedded, through_block
from replication.engine.train_gpt2 import IGNORED, Training
from replication.engine.weight_files import stored_tensors

CONFIG = Config(n_layer=3, n_head=2, n_embd=16, n_positions=16, vocab_size=9, bos_token_id=8)


def documents(seed: int) -> Iterator[list[int]]:
    """Token ids that count upwards from a random start, so that there is something to learn."""
    chance = Random(seed)
    while True:
        start = chance.randrange(3)
        yield [8, *range(start, start + chance.randrange(2, 6)), 8]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A folder with a model, one with its lens, and the loss reached."""
    folder = tmp_path_factory.mktemp("trained")
    model, lens = folder / "model", folder / "lens"
    gpt2, loss = train_gpt2.train(CONFIG, 0.2, documents(0), Training(60, 8, 1e-2, 5), seed=0)
    train_gpt2.save(gpt2, model, "tiny")
    train_lens.train(model, lens, "tiny", documents(1), Training(60, 8, 1e-2, 5))
    return model, lens, loss


def test_every_token_but_the_first_is_a_target_and_padding_is_none():
    tokens, targets = train_gpt2.batch([[8, 1, 2, 3, 8], [8, 4, 8]])
    assert tokens[0].tolist() == [8, 1, 2, 3]
    assert targets.tolist() == [[1, 2, 3, 8], [4, 8, IGNORED, IGNORED]]
    assert tokens[1, :2].tolist() == [8, 4]


def test_the_rate_rises_over_the_warm_up_and_falls_to_two_per_cent():
    factors = [Training(100, 1, 1.0, 10).factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[9] == pytest.approx(1, abs=0.03)
    assert factors[100] == pytest.approx(0.02)


def test_training_learns_what_the_documents_say(trained: tuple[Path, Path, float]):
    assert trained[2] < 0.6 * torch.tensor(float(CONFIG.vocab_size)).log()


def test_the_saved_configuration_names_model_and_gpt2s_own_activation(trained: tuple[Path, Path, float]):
    values = json.loads((trained[0] / "config.json").read_text())
    assert (values["_name_or_path"], values["activation_function"]) == ("tiny", "gelu_new")
    assert values["bos_token_id"] == values["eos_token_id"] == 8
    assert Config(**{name: values[name] for name in Config.model_fields}) == CONFIG
    assert json.loads((trained[1] / "config.json").read_text())["base_model_name_or_path"] == "tiny"


@torch.inference_mode()
def test_held_out_kl_is_what_the_engine_computes(trained: tuple[Path, Path, float]):
    model, lens, _ = trained
    found = train_lens.held_out_kl(model, lens, islice(documents(2), 20))
    stored = stored_tensors(model / "model.safetensors")
    gpt2 = GPT2(CONFIG, {name: stored[name] for name in shapes(CONFIG)})
    for name, translators in (("tuned_lens", read_lens(lens)), ("logit_lens", None)):
        divergences = []
        # One document at a time, without padding, by our own forward pass and read-out.
        for ids in islice(documents(2), 20):
            stream = [embedded(gpt2, [tuple(ids[:-1])])]
            for layer in range(CONFIG.n_layer):
                stream.append(through_block(gpt2, layer, stream[-1]))
            log_p = log_probabilities(gpt2, stream[-1][0])
            log_q = [log_probabilities(gpt2, translated(h[0], translators, i)) for i, h in enumerate(stream[:-1])]
            divergences.append(torch.stack([(log_p.exp() * (log_p - each)).sum(-1) for each in log_q]))
        assert found[name] == pytest.approx(torch.cat(divergences, dim=1).mean(1).tolist(), abs=1e-5), name
    assert all(tuned < logit for tuned, logit in zip(found["tuned_lens"], found["logit_lens"], strict=True))
