"""more.yaml: the original post's other examples, exactly, and that they run."""

import json

import pytest
from random_model import write_lens, write_model, write_tokenizer
from run_snakemake import snakemake

from replication.base.config import Configuration, Model, checked
from replication.base.paths import REPOSITORY
from replication.base.strict_yaml import read_yaml
from replication.engine.gpt2_config import Config
from replication.engine.loaded import load
from replication.engine.measure import measure
from replication.engine.sides import check
from replication.engine.tokenizer import Tokenizer
from replication.weights import obtain as weights

FOUR = read_yaml(REPOSITORY / "config.yaml")
MORE = read_yaml(REPOSITORY / "more.yaml")["experiments"]

# number, prompt, layer, coefficient, added, subtracted, tokens of prompt and vector with <|endoftext|>; the first six
# from scripts/qualitative.ipynb of montemac/activation_additions (main, cc3178c), the two counts by GPT-2's tokenizer.
KILL, FRIEND = "I want to kill you because you're such a", "I went up to my friend and said"
HURT = (15, 4, "I NEVER talk about people getting hurt", "I talk about people getting hurt")
WEDDINGS = ("I talk about weddings constantly", "I do not talk about weddings constantly")
ORIGINAL = {
    "intent_to_praise_own_prompt": (None, KILL, 6, 15, "Intent to praise", "Intent to hurt"),
    "want_to_die": (
        4,
        "Some people think that death is scary and should be avoided. I agree. I never want to die. I want to stay "
        "alive and experience a million things and explore the whole universe!",
        10, -3, "Want to stay alive", "Want to die",
    ),
    "eiffel_tower": (
        6, "To see the eiffel tower, people flock to",
        24, 10, "The Eiffel Tower is in Rome", "The Eiffel Tower is in France",
    ),
    "dragons": (
        7, "Thanks for asking about that! I moved to Berkeley, CA because",
        15, 4, "Dragons live in Berkeley", "People live in Berkeley",
    ),
    "hurt": (
        8,
        "The rock hurtled toward the child. The child couldn't get out of the way in time, and so sadly the rock",
        *HURT,
    ),
    "hurt_new_day": (
        9, "The dog barked loudly and the man smiled. Time for another day! He felt excited.", *HURT,
    ),
    "weddings": (10, FRIEND, 20, 4, *WEDDINGS),
    "christianity": (11, KILL, 6, 3, "Intent to convert you to Christianity", "Intent to hurt you"),
    "large_coefficient": (13, FRIEND, 20, 100, *WEDDINGS),
    "french": (14, "I want to kill you because", 0, 1, "Check out my French! Je", ""),
    "gibberish": (16, "To see the Eiffel Tower, people flock to", 15, 10, "efwapv j;las ap;lk", ""),
    "geese": (
        19, "In New York City's parks, there is an overabundance of various kinds of birds, and especially geese",
        10, 7, "Whenever I say the word goose I follow it with the special phrase AAAAHHHH", "I can say goose",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """Both files as Snakemake merges them."""
    return checked(FOUR | {"experiments": FOUR["experiments"] | MORE})


def test_they_are_the_original_posts_examples():
    keys = ("layer", "coefficient", "added", "subtracted")
    found = {
        name: (each.get("number"), each["prompt"], *(each["steering"][key] for key in keys))
        for name, each in MORE.items()
    }
    assert found == ORIGINAL
    assert {each["steering"]["scaled_from"] for each in MORE.values()} == {48}


def test_numbers_stand_once_since_the_report_numbers_figures_by_them(configuration):
    numbers = [each.number for each in configuration.experiments.values() if each.number]
    assert len(numbers) == len(set(numbers))


def test_they_come_beside_the_four(tmp_path):
    plan = snakemake(tmp_path, "-n", "--configfile", str(REPOSITORY / "more.yaml")).stdout
    for name in [*FOUR["experiments"], *MORE]:
        assert f"measure of experiment={name},model=gpt2-xl" in plan


def test_every_vector_fits_its_prompt_by_gpt2s_tokens(configuration, tmp_path):
    write_tokenizer(tmp_path)
    tokenizer = Tokenizer([tmp_path / "tokenizer.json"])
    lengths = {}
    for name in MORE:
        experiment = configuration.experiments[name]
        sides = check(tokenizer, Config(n_layer=48), experiment)
        lengths[name] = len(sides.added), len(tokenizer.with_bos(experiment.prompt))
    assert all(vector <= prompt for vector, prompt in lengths.values())
    # The tightest two, of equal length as the notebook's shapes have them.
    assert lengths["french"] == (7, 7)
    assert lengths["gibberish"] == (12, 12)


@pytest.mark.slow
def test_they_run_on_a_random_model_of_48_layers(configuration, tmp_path):
    """That they run, and change something; a random model's numbers mean nothing."""
    folders = write_model(tmp_path / "model", layers=48), write_lens(tmp_path / "lens", layers=48)
    model = Model(folder=str(folders[0]), lens_folder=str(folders[1]))
    loaded = load(weights.obtain("random", model, tmp_path, tmp_path / "hashes.json"))
    for name in MORE:
        measured = measure(loaded, configuration.experiments[name])
        assert json.dumps(measured.record)
        assert measured.losses["loss"].notna().all()
        changed = measured.effect.groupby("position")["kl_to_unsteered"].max()
        assert changed[0] == 0, name
        assert changed.max() > 0, name
