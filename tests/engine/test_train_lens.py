"""A lens of one's own: trained as tuned-lens trains, loaded by tuned-lens, and the same bits after a kill."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pandas as pd
import pytest
import torch
from stand_in_card import card as stand_in
from torch.distributions import Categorical, kl_divergence
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup
from tuned_lens.nn.lenses import LogitLens, TunedLens

from replication.base.config import Model
from replication.base.errors import UserError
from replication.base.paths import PACKAGE, REPOSITORY
from replication.engine import numerics, train_lens, training_text
from replication.engine.fit_checks import check, unembedding_hash
from replication.engine.gpt2 import GPT2
from replication.engine.lens_file import Translators, read_lens, write_lens
from replication.engine.lens_recipe import Recipe
from replication.engine.loaded import load_model
from replication.engine.tokenizer import Tokenizer
from replication.miniature import card
from replication.miniature.train import documents, read
from replication.weights.obtain import obtain, without_lens
from replication.workflow import own_lens

TEXT = "\n\n".join(f"The {n}th line says that {n} and {n + 1} are {2 * n + 1}.\n It goes on." for n in range(60))
SEQUENCES = [[726, *range(10 * n, 10 * n + 5 + 3 * n)] for n in range(4)]
"""Of unequal lengths, 6 to 15 tokens."""


def written(folder: Path, seed: int) -> Path:
    """A random GPT-2 with the miniature's vocabulary, which is quickly read out."""
    torch.manual_seed(seed)
    shape = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 16, "vocab_size": 727}
    gpt2 = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=726, eos_token_id=726))
    for parameter in gpt2.parameters():
        # Biases start at 0 and gains at 1: random ones show a forgotten term.
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.2)
    gpt2.save_pretrained(folder)
    shutil.copy(PACKAGE / "miniature" / "model" / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of two layers that reads 16 tokens."""
    return written(tmp_path_factory.mktemp("own") / "tiny", seed=0)


@pytest.fixture(scope="module")
def gpt2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> GPT2:
    return load_model(without_lens(folder, tmp_path_factory.mktemp("memory") / "hashes.json"))[0]


@pytest.fixture(scope="module")
def theirs(folder: Path) -> GPT2LMHeadModel:
    """The same model by transformers."""
    return GPT2LMHeadModel.from_pretrained(folder).train(False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a text."""
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(folder: Path, out: str = "lens", **changed) -> None:
    """The command, with few short steps."""
    arguments = {"text": Path("text.txt"), "steps": 6, "batch": 64, "threads": 1, "rate": 0.1, "seed": 3}
    own_lens.train_lens(folder, out=Path(out), **(arguments | changed))


def largest_difference(a: Translators, b: Translators) -> float:
    pairs = zip(a, b, strict=True)
    return max((x - y).abs().max().item() for one, other in pairs for x, y in zip(one, other, strict=True))


def taught_by_tuned_lens(theirs: GPT2LMHeadModel, recipe: Recipe) -> tuple[Translators, list[float]]:
    """What the loop of tuned-lens 0.2.0 (scripts/train_loop.py) learns in float32, and its gradients' norms.

    Written from its lines, since it does not start here: one sequence at a time, layer by layer.
    """
    lens = TunedLens.from_model(theirs)
    # scripts/ingredients.py, create_optim and create_scheduler.
    optimizer = torch.optim.SGD(
        lens.layer_translators.parameters(), lr=recipe.rate * (1 - 0.9), momentum=0.9, nesterov=True, weight_decay=1e-3
    )
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, recipe.steps)
    norms = []
    for _ in range(recipe.steps):
        for ids in SEQUENCES:
            with torch.no_grad():
                output = theirs(torch.tensor([ids]), output_hidden_states=True)
            labels = output.logits.log_softmax(-1)
            for i, h in enumerate(output.hidden_states[:-1]):
                kl = torch.sum(labels.exp() * (labels - lens(h, idx=i).log_softmax(-1)), dim=-1)
                (kl.sum() / sum(map(len, SEQUENCES))).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(lens.parameters(), recipe.clip).item())
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    return [(each.weight.detach(), each.bias.detach()) for each in lens], norms


together = pytest.mark.parametrize(
    "logits", [train_lens.LOGITS, 1], ids=["at once", "one sequence and layer at a time"]
)


@together
@pytest.mark.parametrize("clip", [1e3, 0.01])
def test_it_learns_what_tuned_lens_loop_learns(gpt2, theirs, monkeypatch, logits, clip):
    monkeypatch.setattr(train_lens, "LOGITS", logits)
    recipe = Recipe(len(SEQUENCES), rate=1.0, steps=4, clip=clip)
    found = train_lens.train(gpt2, cycle(SEQUENCES), recipe)
    expected, norms = taught_by_tuned_lens(theirs, recipe)
    assert all(0.01 < norm < 1e3 for norm in norms), norms
    moved = largest_difference(expected, [(0 * weight, 0 * bias) for weight, bias in expected])
    assert moved > 1e-3
    assert largest_difference(found, expected) < 1e-4 * moved


def test_the_defaults_are_those_of_tuned_lens():
    recipe = Recipe(batch=256, rate=own_lens.RATES["sgd"])
    given = dataclasses.asdict(recipe)
    assert given == {
        "batch": 256, "rate": 1.0, "steps": 250, "optimizer": "sgd", "schedule": "linear", "warm_up": 0,
        "weight_decay": 1e-3, "clip": 1.0,
    }  # fmt: skip
    assert own_lens.TOKENS == 2**18


def test_rates_are_those_worked_out_by_hand():
    linear = Recipe(batch=1, rate=2.0, steps=4)
    assert [linear.torch_rate(step) for step in range(4)] == pytest.approx([0.2, 0.15, 0.1, 0.05])
    warm = Recipe(batch=1, rate=1.0, steps=4, optimizer="adam", warm_up=2)
    assert [warm.torch_rate(step) for step in range(4)] == pytest.approx([0.5, 0.75, 0.5, 0.25])
    cosine = Recipe(batch=1, rate=1.0, steps=4, optimizer="adam", schedule="cosine")
    half = math.sqrt(0.5)
    assert [cosine.torch_rate(step) for step in range(4)] == pytest.approx(
        [1.0, 0.51 + 0.49 * half, 0.51, 0.51 - 0.49 * half]
    )


def test_adam_takes_torchs_steps(gpt2):
    """Its first step is the rate, in the direction of each gradient's sign."""
    found = train_lens.train(gpt2, cycle(SEQUENCES), Recipe(4, rate=1e-3, steps=1, optimizer="adam"))
    assert all(bias.abs().max().item() == pytest.approx(1e-3, rel=1e-3) for _, bias in found)


@together
@torch.no_grad()
def test_held_out_kl_is_that_of_torchs_distributions(gpt2, theirs, tmp_path, monkeypatch, logits):
    """Over the logits of tuned-lens' own lenses, one sequence at a time, without padding."""
    monkeypatch.setattr(train_lens, "LOGITS", logits)
    generator = torch.Generator().manual_seed(0)
    translators = [
        (0.1 * torch.randn(16, 16, generator=generator), torch.randn(16, generator=generator)) for _ in range(2)
    ]
    write_lens(tmp_path, translators, "tiny", unembedding_hash(gpt2.unembedding))
    found = train_lens.held_out_kl(gpt2, translators, SEQUENCES)
    lenses = {
        "tuned_lens": TunedLens.from_model_and_pretrained(theirs, str(tmp_path), weights_only=True),
        "logit_lens": LogitLens.from_model(theirs),
    }
    assert found.keys() == lenses.keys()
    for name, lens in lenses.items():
        divergences = []
        for ids in SEQUENCES:
            output = theirs(torch.tensor([ids]), output_hidden_states=True)
            p = Categorical(logits=output.logits[0])
            hidden = output.hidden_states[:-1]
            divergences.append(
                torch.stack([kl_divergence(p, Categorical(logits=lens(h, idx=i)[0])) for i, h in enumerate(hidden)])
            )
        assert found[name] == pytest.approx(torch.cat(divergences, dim=1).mean(1).tolist(), abs=1e-5), name


def test_on_a_card_everything_but_the_gradient_is_computed_there(folder, gpt2, tmp_path):
    """The stand-in for a card has no gradients: those are not tried."""
    translators = [(torch.eye(16) / 10, torch.ones(16)) for _ in range(2)]
    expected = train_lens.held_out_kl(gpt2, translators, SEQUENCES)
    with stand_in() as card:
        there = load_model(without_lens(folder, tmp_path / "hashes.json"), "cuda")[0]
        moved = [(weight.to("cuda"), bias.to("cuda")) for weight, bias in translators]
        assert train_lens.held_out_kl(there, moved, SEQUENCES) == expected
        write_lens(tmp_path, moved, "tiny", unembedding_hash(there.unembedding))
        assert card.operations > 10
    assert largest_difference(read_lens(tmp_path), translators) == 0


def test_the_command_leaves_a_lens_that_tuned_lens_and_this_package_load(folder, theirs, place, capsys):
    trained(folder)
    out = place / "lens"
    names = {"config.json", "params.pt", "held_out.csv", "held_out.png", "held_out.svg"}
    assert {file.name for file in out.iterdir()} == names
    lens = TunedLens.from_model_and_pretrained(theirs, str(out), weights_only=True)
    ours = read_lens(out)
    assert largest_difference(ours, [(each.weight.detach(), each.bias.detach()) for each in lens]) == 0
    said = json.loads((out / "config.json").read_text())
    assert said["unembed_hash"] == lens.unembed.unembedding_hash()
    # The same bytes as when tuned-lens saves it.
    lens.save(place / "again")
    for name in ("config.json", "params.pt"):
        assert (place / "again" / name).read_bytes() == (out / name).read_bytes(), name
    files = obtain("tiny", Model(folder=str(folder), lens_folder=str(out)), place, place / "hashes.json")
    assert any(line.startswith("lens: its unembed_hash is that of this model") for line in check(files, None))
    table = pd.read_csv(out / "held_out.csv")
    assert list(table.columns) == ["layer", "tuned_lens", "logit_lens"]
    assert table.layer.tolist() == [0, 1]
    assert (table.tuned_lens < table.logit_lens).all()
    assert "wrote lens: KL to the output" in capsys.readouterr().out


def test_another_seed_reads_in_another_order(folder, place):
    trained(folder, "a")
    trained(folder, "b", seed=4)
    trained(folder, "c")
    a, b, c = (read_lens(place / name) for name in "abc")
    assert largest_difference(a, c) == 0
    assert largest_difference(a, b) > 0


KILLED = """
import os, signal, sys
from pathlib import Path
from replication.engine import numerics
numerics.prepare("portable", 1)
import torch
from replication.engine import train_lens
from replication.engine.checkpoint import Checkpoint
from replication.workflow import own_lens

moment, folder, given = sys.argv[1], Path(sys.argv[2]), dict(text=Path("text.txt"), out=Path("lens"), threads=1)
train_lens.KEEP_EVERY = 0
keep, save = Checkpoint.keep, torch.save

def killing(self, parameters, optimizer, steps):
    if steps == 4 and moment == "keeping":
        torch.save = half
    keep(self, parameters, optimizer, steps)
    if steps == 4:
        os.kill(os.getpid(), signal.SIGKILL)

def half(state, path):
    save(state, path)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.keep = killing
own_lens.train_lens(folder, steps=6, batch=64, rate=0.1, seed=3, **given)
"""


@pytest.mark.parametrize("moment", ["kept", pytest.param("keeping", marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_to_the_bits_of_one_that_was_not_killed(folder, place, moment):
    command = [sys.executable, "-c", KILLED, moment, str(folder)]
    killed = subprocess.run(command, cwd=place, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = {file.name for file in (place / "lens").iterdir()}
    assert ".unfinished.pt" in left
    assert all(name.startswith(".") for name in left), "nothing half done under a final name"
    state = torch.load(place / "lens" / ".unfinished.pt", weights_only=True)
    assert state["steps"] == {"kept": 4, "keeping": 3}[moment]
    trained(folder)
    trained(folder, "undisturbed")
    files = sorted(file.name for file in (place / "undisturbed").iterdir())
    assert sorted(file.name for file in (place / "lens").iterdir()) == files
    for name in files:
        assert (place / "lens" / name).read_bytes() == (place / "undisturbed" / name).read_bytes(), name


@pytest.fixture
def interrupted(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that was interrupted before its end; returns what it kept."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train_lens, "held_out_kl", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(folder)
    return place / "lens" / ".unfinished.pt"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 7}, r"another steps \(6, now 7\)"),
        ({"batch": 48}, r"another batch \(64, now 48\)"),
        ({"seed": 4}, r"another seed \(3, now 4\)"),
        ({"held_out": 0.2}, r"another held_out \(0.05, now 0.2\)"),
        ({"rate": 0.2}, r"another rate \(0.1, now 0.2\)"),
    ],
)
def test_changed_arguments_are_refused(folder, interrupted, changed, said):
    with pytest.raises(UserError, match=rf"unfinished.pt: this training was begun with {said}.*or delete this file"):
        trained(folder, **changed)


def test_another_text_or_model_is_refused(folder, interrupted, place):
    (place / "text.txt").write_text(TEXT + " More.")
    with pytest.raises(UserError, match="begun with another text"):
        trained(folder)
    (place / "text.txt").write_text(TEXT)
    other = written(place / "other", seed=1)
    with pytest.raises(UserError, match=r"begun with another model/model\.safetensors"):
        trained(other)


def test_damaged_state_is_refused(folder, interrupted):
    interrupted.write_bytes(interrupted.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"unfinished.pt: damaged .*; delete it to start over"):
        trained(folder)


def test_what_cannot_be_is_said_in_one_sentence(folder, place):
    (place / "short.txt").write_text("Too short.")
    (place / "latin.txt").write_bytes(b"caf\xe9")
    (place / "taken").mkdir()
    (place / "taken" / "params.pt").touch()
    (place / "llama").mkdir()
    (place / "llama" / "config.json").write_text('{"model_type": "llama"}')
    for name in ("model.safetensors", "tokenizer.json"):
        (place / "llama" / name).touch()
    cases = [
        ({}, place / "none", "there is no folder"),
        ({}, place / "llama", "only 'gpt2' is supported"),
        ({"text": Path("none.txt")}, folder, "none.txt: cannot be read as text: No such file"),
        ({"text": Path("latin.txt")}, folder, "latin.txt: cannot be read as text: is not UTF-8"),
        ({"text": Path("short.txt")}, folder, "short.txt: has 9 tokens .* at least 32"),
        ({"out": "taken"}, folder, "taken: holds a params.pt already"),
        ({"batch": 15}, folder, "--batch: must be at least one sequence, which is 16 tokens here, found 15"),
        ({"rate": 1e30, "clip": 1e30}, folder, "has become (nan|inf): train it with a smaller --rate"),
    ]
    for changed, model, said in cases:
        with pytest.raises(UserError, match=said):
            trained(model, **changed)


TEXTS = [TEXT, "a\nb", "x \ny", "x\n y\n\n\nz\n", "\n\n", "é\nß\u0085\n\u3000\n日本\n<|endoftext|>\nb"]


def test_a_text_in_chunks_has_the_tokens_of_the_whole(random_loaded, monkeypatch):
    """By GPT-2's own tokenizer, which has tokens of several line breaks and spaces."""
    tokenizer = random_loaded.tokenizer
    monkeypatch.setattr(training_text, "CHUNK", 1)
    for text in TEXTS:
        chunks = list(training_text._chunks(text))
        assert "".join(chunks) == text
        assert [token for chunk in chunks for token in tokenizer.encode(chunk)] == tokenizer.encode(text), text
    assert len(list(training_text._chunks(TEXT))) > 60


def test_the_texts_end_is_held_out_and_no_token_is_lost_but_the_last_few(folder, place):
    tokenizer = Tokenizer([folder / "tokenizer.json"])
    stream = [tokenizer.bos, *tokenizer.encode(TEXT)]
    first, last = training_text.split(place / "text.txt", tokenizer, 16, 0.1)
    whole = torch.cat([first, last]).flatten().tolist()
    assert whole == stream[: len(stream) // 16 * 16]
    assert len(last) == round(0.1 * (len(first) + len(last))) > 1
    assert len(training_text.split(place / "text.txt", tokenizer, 16, 0)[1]) == 1
    order = [tuple(ids) for ids in islice(training_text.shuffled(first, 0), 2 * len(first))]
    rounds = order[: len(first)], order[len(first) :]
    assert all(sorted(each) == sorted(map(tuple, first.tolist())) for each in rounds)
    assert rounds[0] != rounds[1]


def test_a_new_miniatures_files_are_found():
    """The card's check measures it; without names of files nothing could be read."""
    files = card._files(PACKAGE / "miniature")
    assert [file.name for file in files.weights + files.tokenizer] == ["model.safetensors", "tokenizer.json"]


SHIPPED = PACKAGE / "miniature" / "lens"
PORTABLE_SHA256 = "4ed0ae67da61d824c5946f95dbe4f62dd8e88276358c35ee5db1150f3fb6ca16"
"""Of params.pt as the recipe makes it in portable arithmetic (2026-11-27, by this test)."""

RECIPE = """
import sys
from pathlib import Path
from replication.engine import numerics
numerics.prepare(sys.argv[1], 1)
from replication.engine.fit_checks import unembedding_hash
from replication.engine.lens_file import write_lens
from replication.engine.loaded import load_model
from replication.engine.train_lens import train
from replication.miniature.train import LENS_RECIPE, NAME, documents, read
from replication.weights.obtain import without_lens

gpt2, tokenizer, _ = load_model(without_lens(Path(sys.argv[2]), Path("hashes.json")))
translators = train(gpt2, read(documents(tokenizer, 1)), LENS_RECIPE)
write_lens(Path("."), translators, NAME, unembedding_hash(gpt2.unembedding))
"""

MADE_WITH = {"torch": "2.13.0+cpu", "commit": "cf30153c4c", "mkl": "2024.2 (20240605)", "onednn": "3.12.0 (80afa71049)"}
"""The build that both were made with, on an AMD processor with AVX2 and no more."""


def made_here() -> bool:
    """Whether this is the build, and a processor of the kind, that both were made with."""
    if numerics.build() != MADE_WITH or numerics.mode() != numerics.PORTABLE:
        return False
    processor = Path("/proc/cpuinfo").read_text()
    return "AuthenticAMD" in processor and "avx512f" not in processor


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "portable"])
def test_the_miniatures_recipe_trains_the_lens_that_is_shipped(miniature, place, mode):
    """In fast arithmetic, which it was made in, bit for bit; elsewhere to a KL far below any number that is printed."""
    model = PACKAGE / "miniature" / "model"
    command = [sys.executable, "-c", RECIPE, mode, str(model)]
    inherited = {name: value for name, value in os.environ.items() if name not in numerics.SETTINGS}
    subprocess.run(command, cwd=place, env=inherited | {"PYTHONPATH": str(REPOSITORY)}, check=True)
    found, shipped = read_lens(place), read_lens(SHIPPED)
    residuals, _ = train_lens.streams(miniature.gpt2, list(islice(read(documents(miniature.tokenizer, 2)), 64)))
    largest = 0.0
    for h, one, other in zip(residuals, found, shipped, strict=True):
        logits = [miniature.gpt2.logits(h + torch.nn.functional.linear(h, *each)).double() for each in (other, one)]
        p, q = (Categorical(logits=each) for each in logits)
        largest = max(largest, kl_divergence(p, q).mean().item())
    print(f"{mode}: KL of the shipped lens' predictions to these, in the layer where it is largest: {largest:.2g} nats")
    assert largest < 1e-9
    if made_here():
        digests = [hashlib.sha256((place / "params.pt").read_bytes()).hexdigest()]
        digests += [hashlib.sha256((SHIPPED / "params.pt").read_bytes()).hexdigest()] if mode == "fast" else []
        assert digests == {"fast": [digests[-1]] * 2, "portable": [PORTABLE_SHA256]}[mode]
        assert (place / "config.json").read_bytes() == (SHIPPED / "config.json").read_bytes()
