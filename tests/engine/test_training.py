"""Training of a GPT-2: what is trained on, and what is saved."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import torch

from replication.engine import train_gpt2
from replication.engine.gpt2_config import Config
from replication.engine.train_gpt2 import IGNORED, Training

CONFIG = Config(n_layer=3, n_head=2, n_embd=16, n_positions=16, vocab_size=9, bos_token_id=8)


def documents(seed: int) -> Iterator[list[int]]:
    """Token ids that count upwards from a random start, so that there is something to learn."""
    chance = Random(seed)
    while True:
        start = chance.randrange(3)
        yield [8, *range(start, start + chance.randrange(2, 6)), 8]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A folder with a model, and the loss reached."""
    folder = tmp_path_factory.mktemp("trained")
    gpt2, loss = train_gpt2.train(CONFIG, 0.2, documents(0), Training(60, 8, 1e-2, 5), seed=0)
    train_gpt2.save(gpt2, folder, "tiny")
    return folder, loss


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


def test_training_learns_what_the_documents_say(trained: tuple[Path, float]):
    assert trained[1] < 0.6 * torch.tensor(float(CONFIG.vocab_size)).log()


def test_the_saved_configuration_names_model_and_gpt2s_own_activation(trained: tuple[Path, float]):
    values = json.loads((trained[0] / "config.json").read_text())
    assert (values["_name_or_path"], values["activation_function"]) == ("tiny", "gelu_new")
    assert values["bos_token_id"] == values["eos_token_id"] == 8
    assert Config(**{name: values[name] for name in Config.model_fields}) == CONFIG
