"""more.yaml: the original post's other examples, exactly, and that they run."""

import json

import numpy as np
import pytest
from numpy_gpt2 import NumpyGPT2, lens_log_p
from random_model import write_lens, write_model, write_tokenizer
from run_snakemake import snakemake

from replication.base.config import Configuration, Model, checked
from replication.base.paths import REPOSITORY
from replication.base.recorded import listed
from replication.base.strict_yaml import read_yaml
from replication.engine.gpt2_config import Config
from replication.engine.loaded import load
from replication.engine.measure import measure
from replication.engine.sides import check
from replication.engine.tokenizer import Tokenizer
from replication.weights import obtain as weights

FOUR = read_yaml(REPOSITORY / "config.yaml")
MORE = read_yaml(REPOSITORY / "more.yaml")["experiments"]

# number, prompt, then per addition layer, coefficient, added, subtracted (None: one side alone), and place and padding
# where they are not "front" and " ": scripts/qualitative.ipynb of montemac/activation_additions (main, cc3178c).
KILL, FRIEND = "I want to kill you because you're such a", "I went up to my friend and said"
HURT = (15, 4, "I NEVER talk about people getting hurt", "I talk about people getting hurt")
PACIFIST, GARDENING = "I am a committed pacifist", "I am just obsessed with gardening"
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
    "love_alone": (12, "I hate you because", 6, 10, "Love", None),
    "large_coefficient": (13, FRIEND, 20, 100, *WEDDINGS),
    "french": (14, "I want to kill you because", 0, 1, "Check out my French! Je", ""),
    "wedding_front": (15, FRIEND, 6, 4, " wedding", " "),
    "wedding_middle": (None, FRIEND, 6, 4, " wedding", " ", "middle"),
    "wedding_back": (None, FRIEND, 6, 4, " wedding", " ", "back"),
    "gibberish": (16, "To see the Eiffel Tower, people flock to", 15, 10, "efwapv j;las ap;lk", ""),
    "padded_with_bos": (17, "Barack Obama was born in", 23, 1, "Bush did 9/11 because", "", "front", "<|endoftext|>"),
    "pacifist_gardener": (
        18, "I feel like killing you because you're such",
        [(10, 7, PACIFIST, "I have some anger issues"), (30, 7, GARDENING, PACIFIST)],
    ),
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
    found = {name: (each.get("number"), each["prompt"], settings(each["steering"])) for name, each in MORE.items()}
    assert found == {
        name: (number, prompt, rest[0] if isinstance(rest[0], list) else [tuple(rest)])
        for name, (number, prompt, *rest) in ORIGINAL.items()
    }
    assert {each["scaled_from"] for every in MORE.values() for each in listed(every["steering"])} == {48}


def settings(steering: dict | list) -> list[tuple]:
    """Additions as `ORIGINAL` has them."""
    found = []
    for each in listed(steering):
        values = [*(each[key] for key in ("layer", "coefficient", "added")), each.get("subtracted")]
        later = [each.get("position", "front"), each.get("padding", " ")]
        while later and later[-1] == {1: "front", 2: " "}[len(later)]:
            later.pop()
        found.append((*values, *later))
    return found


def test_the_sixteen_further_examples_are_there():
    numbers = {each.get("number") for each in MORE.values()} - {None}
    assert numbers == {4, *range(6, 20)}
    assert "intent_to_praise_own_prompt" in MORE  # the sixteenth, 2


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
        plans = check(tokenizer, Config(n_layer=48), experiment)
        lengths[name] = len(plans[0].source.added), len(tokenizer.with_bos(experiment.prompt))
    assert all(vector <= prompt for vector, prompt in lengths.values())
    # The tightest, of equal length as the notebook's shapes have them.
    assert lengths["french"] == (7, 7)
    assert lengths["gibberish"] == (12, 12)
    assert lengths["padded_with_bos"] == (7, 7)


@pytest.mark.slow
def test_each_is_by_the_authors_rule_on_a_random_model_of_48_layers(configuration, tmp_path):
    """Every side added by itself, as the authors' hooks do, in numpy; a random model's numbers mean nothing."""
    folders = write_model(tmp_path / "model", layers=48), write_lens(tmp_path / "lens", layers=48)
    model = Model(folder=str(folders[0]), lens_folder=str(folders[1]))
    loaded = load(weights.obtain("random", model, tmp_path, tmp_path / "hashes.json"))
    reference = NumpyGPT2(folders[0], heads=loaded.gpt2.config.n_head)
    for name in MORE:
        measured = measure(loaded, configuration.experiments[name])
        assert json.dumps(measured.record)
        assert measured.losses["loss"].notna().all()
        changed = measured.effect.groupby("position")["kl_to_unsteered"].max()
        assert (changed[0] == 0) == (name != "love_alone"), name
        assert changed.max() > 0, name
        ids = measured.record["prompt"]["ids"]
        stream = reference.added(ids, sides(loaded.tokenizer, MORE[name]["steering"]))
        blocks = sorted({0, 24, 47, 48} | {each["layer"] for each in listed(MORE[name]["steering"])})
        log_p = lens_log_p(reference, stream, folders[1], False, blocks)
        expected = -log_p[:, np.arange(len(ids)), [*ids[1:], loaded.tokenizer.bos]]
        steered = measured.losses.query("protocol == 'raw' and condition == 'steered'")["loss"].to_numpy()
        difference = np.abs(steered.reshape(49, len(ids))[blocks] - expected).max()
        assert difference < 2e-4, (name, difference)


def sides(tokenizer: Tokenizer, steering: dict | list) -> list[tuple]:
    """Ids, coefficient, layer and place of every side, as `NumpyGPT2.added` takes them."""
    found = []
    for each in listed(steering):
        texts = {key: each[key] for key in ("added", "subtracted") if key in each}
        length = max(len(tokenizer.with_bos(text)) for text in texts.values())
        place = {"middle": "mid"}.get(each.get("position", "front"), each.get("position", "front"))
        for key, text in texts.items():
            ids = tokenizer.with_bos(text)
            ids += tokenizer.encode(each.get("padding", " ")) * (length - len(ids))
            found.append((ids, each["coefficient"] * (1 if key == "added" else -1), each["layer"], place))
    return found
