"""Tokens and vectors of the four shipped experiments against the post's own tables."""

import pytest
import torch

from replication.base.addition import Addition
from replication.base.config import checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.engine.gpt2_config import Config
from replication.engine.loaded import Loaded
from replication.engine.measure import measure
from replication.engine.sides import check, padded_sides
from replication.engine.steering import steering_vector
from replication.engine.tokenizer import texts

EXPERIMENTS = checked(read_yaml(REPOSITORY / "config.yaml")).experiments
BOS = "<|endoftext|>"

# The x-vector tables as the post prints them: original prompt, added and subtracted side, by position.
POST_TABLES = {
    "love_hate": (
        ["I", " hate", " you", " because"],
        ["Love", " "],
        ["H", "ate"],
    ),
    "intent_to_praise": (
        ["I", " want", " to", " kill"],
        ["Int", "ent", " to", " praise"],
        ["Int", "ent", " to", " hurt"],
    ),
    "conspiracy": (
        ["Bar", "ack", " Obama", " was", " born", " in"],
        ["Bush", " did", " 9", "/", "11", " because"],
        [" ", " ", " ", " ", " ", " "],
    ),
    "anger": (
        ["I", " think", " you", "'re"],
        ["Ang", "er"],
        ["Cal", "m"],
    ),
}
PROMPTS = {
    "love_hate": ["I", " hate", " you", " because", " you", "'re", " a", " wonderful", " person"],
    "intent_to_praise": ["I", " hate", " you", " because", " you", "'re", " a", " wonderful", " person"],
    "conspiracy": ["Bar", "ack", " Obama", " was", " born", " in", " a", " secret", " CIA", " prison"],
    "anger": ["I", " think", " you", "'re", " a", " cunt"],
}


@pytest.mark.parametrize("name", POST_TABLES)
def test_tokens_stand_where_the_post_has_them(random_loaded: Loaded, name):
    tokenizer, experiment = random_loaded.tokenizer, EXPERIMENTS[name]
    prompt, added, subtracted = POST_TABLES[name]
    sides = padded_sides(tokenizer, experiment.steering)
    assert texts(tokenizer, tokenizer.with_bos(experiment.original_prompt)) == [BOS, *prompt]
    assert texts(tokenizer, sides.added) == [BOS, *added]
    assert texts(tokenizer, sides.subtracted) == [BOS, *subtracted]
    assert texts(tokenizer, tokenizer.with_bos(experiment.prompt)) == [BOS, *PROMPTS[name]]
    assert [plan.source for plan in check(tokenizer, Config(n_layer=48), experiment)] == [sides]


def test_spaces_and_bos_have_gpt2s_own_ids(random_loaded: Loaded):
    sides = padded_sides(random_loaded.tokenizer, EXPERIMENTS["conspiracy"].steering)
    assert sides.subtracted == [50256] + [220] * 6
    assert sides.padding == (0, 0)
    assert padded_sides(random_loaded.tokenizer, EXPERIMENTS["love_hate"].steering).added == [50256, 18565, 220]


def test_row_0_of_the_vector_is_exactly_zero_and_the_rest_is_not(random_loaded: Loaded):
    steering = Addition(layer=5, coefficient=10, added="Anger", subtracted="Calm")
    with torch.inference_mode():
        vector = steering_vector(random_loaded.gpt2, padded_sides(random_loaded.tokenizer, steering), 5, 10.0)
    assert vector.values.shape == (3, 24)
    assert (vector.values[0] == 0).all()
    assert (vector.values[1:].norm(dim=-1) > 1).all()


def test_the_record_says_what_went_in(random_loaded: Loaded):
    experiment = EXPERIMENTS["love_hate"].model_copy(
        update={"steering": Addition(layer=3, coefficient=5, added="Love", subtracted="Hate")}
    )
    record = measure(random_loaded, experiment).record
    assert record["added"] == {"ids": [50256, 18565, 220], "tokens": [BOS, "Love", " "]}
    assert record["subtracted"] == {"ids": [50256, 39, 378], "tokens": [BOS, "H", "ate"]}
    assert record["padding"] == {"token": " ", "id": 220, "added": 1, "subtracted": 0}
    assert record["injection"] == {"block": 3, "positions": [0, 1, 2]}
    assert record["bos"]["id"] == 50256
    assert record["key_positions"] == [7]
    assert record["norms"]["vector"][0] == 0
    assert len(record["norms"]["added"]) == len(record["norms"]["subtracted"]) == 3
    assert set(record["sha256"]) >= {"model/model.safetensors", "lens/params.pt", "model/tokenizer.json"}
