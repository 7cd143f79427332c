"""Completions against transformers' `generate` with the same vectors in a hook, and against their definitions."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from replication.base.sampling import Completions
from replication.engine.completions import TOGETHER, Text, completions, next_token, nucleus
from replication.engine.gpt2 import GPT2, shapes
from replication.engine.gpt2_config import Config
from replication.engine.steering import SteeringVector

VOCABULARY = 97
END = VOCABULARY - 1
PROMPT = [END, 40, 5, 34, 78, 34, 82, 25, 11]
GREEDY = Completions(temperature=0.0, tokens=12)
SAMPLED = Completions(temperature=1.2, top_p=0.9, frequency_penalty=0.5, tokens=7, number=TOGETHER + 2, seed=5)


def built(layers: int, width: int, heads: int, context: int = 32) -> tuple[GPT2LMHeadModel, GPT2]:
    """A random GPT-2, as transformers' and as ours."""
    # With embeddings tied, a random model repeats the token it has just read.
    shape = {"n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": context}
    shape |= {"vocab_size": VOCABULARY, "tie_word_embeddings": False}
    config = GPT2Config(**shape, eos_token_id=END)
    torch.manual_seed(10 + layers)
    theirs = GPT2LMHeadModel(config).eval()
    for name, parameter in theirs.named_parameters():
        # Biases start at 0 and gains at 1: random ones show a forgotten term.
        torch.nn.init.normal_(parameter, mean=float(".ln_" in name and name.endswith("weight")), std=0.5)
    state = {name.removeprefix("transformer."): value for name, value in theirs.state_dict().items()}
    own = Config(**shape)
    return theirs, GPT2(own, {name: state[name] for name in shapes(own)})


def vector(layer: int, positions: tuple[int, ...], width: int, size: float = 8.0) -> SteeringVector:
    rows = size * torch.randn(len(positions), width, generator=torch.Generator().manual_seed(layer))
    return SteeringVector(layer, positions, rows, rows, {})


@contextmanager
def steered(model: GPT2LMHeadModel, vectors: list[SteeringVector]) -> Iterator[None]:
    """Adds the vectors while the prompt is read, and not to single tokens that follow it."""
    handles = []
    for each in vectors:

        def add(_: torch.nn.Module, arguments: tuple, each: SteeringVector = each) -> tuple:
            hidden = arguments[0].clone()
            if hidden.shape[1] > 1:
                hidden[:, list(each.positions)] += each.values
            return hidden, *arguments[1:]

        handles.append(model.transformer.h[each.layer].register_forward_pre_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def written(gpt2: GPT2, vectors: list[SteeringVector], settings: Completions) -> list[tuple[Text, Text]]:
    with torch.inference_mode():
        return completions(gpt2, PROMPT, vectors, settings, END)


SIZES = [(2, 16, 2), (3, 24, 3), (6, 36, 4)]
CASES = {
    "from the front": [(1, (0, 1, 2))],
    "in the middle": [(0, (3, 4, 5))],
    "at two layers": [(0, (1, 2)), (1, (6, 7, 8))],
    "twice at one": [(1, (4, 5)), (1, (5, 6))],
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_greedy_text_is_that_of_transformers_token_by_token(size, case):
    theirs, gpt2 = built(*size)
    vectors = [vector(layer, positions, size[1]) for layer, positions in CASES[case]]
    ((plain, moved),) = written(gpt2, vectors, GREEDY)
    for text, added in ((plain, []), (moved, vectors)):
        with steered(theirs, added), torch.inference_mode():
            given = torch.tensor([PROMPT])
            options = {"do_sample": False, "max_new_tokens": GREEDY.tokens, "pad_token_id": END}
            answer = theirs.generate(given, attention_mask=torch.ones_like(given), **options)
        assert text.ids == answer[0, len(PROMPT) :].tolist()
    assert plain.ids != moved.ids
    assert len(set(plain.ids)) > 1, "one token over and over would show little"


def test_losses_are_those_of_whole_readings_by_both_models():
    theirs, gpt2 = built(3, 24, 3)
    vectors = [vector(0, (1, 2), 24), vector(2, (4,), 24)]
    for pair in written(gpt2, vectors, SAMPLED):
        for text in pair:
            assert text.ids
            for reader, added in enumerate(([], vectors)):
                with steered(theirs, added), torch.inference_mode():
                    log_p = theirs(torch.tensor([PROMPT + text.ids])).logits[0].log_softmax(-1)
                wanted = -log_p[len(PROMPT) - 1 : -1].gather(-1, torch.tensor(text.ids)[:, None])[:, 0]
                found = torch.tensor([losses[reader] for losses in text.losses])
                assert (found - wanted).abs().max() < 1e-4, f"reader {reader}"


def test_a_text_depends_on_nothing_but_its_number():
    _, gpt2 = built(3, 24, 3)
    vectors = [vector(1, (2, 3), 24)]
    whole = written(gpt2, vectors, SAMPLED)
    assert len(whole) == SAMPLED.number
    assert len({tuple(text.ids) for pair in whole for text in pair}) > TOGETHER
    for number in (1, TOGETHER + 1):
        assert written(gpt2, vectors, SAMPLED.model_copy(update={"number": number})) == whole[:number]
    shorter = written(gpt2, vectors, SAMPLED.model_copy(update={"tokens": 3}))
    assert shorter == [tuple(Text(text.ids[:3], text.losses[:3]) for text in pair) for pair in whole]
    assert written(gpt2, vectors, SAMPLED.model_copy(update={"seed": 6})) != whole


def test_with_a_coefficient_of_zero_both_models_write_the_same_bits():
    _, gpt2 = built(6, 36, 4)
    for plain, moved in written(gpt2, [vector(2, (1, 2), 36, size=0.0)], SAMPLED):
        assert plain == moved
        assert all(unsteered == steered for unsteered, steered in plain.losses)


def test_a_text_ends_with_its_last_token_or_with_the_context():
    _, gpt2 = built(2, 16, 2, context=len(PROMPT) + 3)
    vectors = [vector(1, (0, 1), 16)]
    ((plain, moved),) = written(gpt2, vectors, GREEDY)
    assert len(plain.ids) == len(moved.ids) == 3
    end = plain.ids[1]
    with torch.inference_mode():
        ((cut, _),) = completions(gpt2, PROMPT, vectors, GREEDY, end)
    last = plain.ids.index(end) + 1
    assert cut == Text(plain.ids[:last], plain.losses[:last])


# Sampling by its definition


def probabilities(logits: list[float], counts: list[int], settings: Completions) -> list[float]:
    """What each token is drawn with, by slow loops from the definition."""
    scores = [
        logit / settings.temperature - settings.frequency_penalty * count
        for logit, count in zip(logits, counts, strict=True)
    ]
    total = math.fsum(math.exp(score) for score in scores)
    p = [math.exp(score) / total for score in scores]
    kept, before = set(), 0.0
    for token in sorted(range(len(p)), key=lambda token: (-p[token], token)):
        if before > settings.top_p:
            break
        kept.add(token)
        before += p[token]
    return [each / before if token in kept else 0.0 for token, each in enumerate(p)]


LOGITS = [1.0, 2.5, -0.5, 2.0, 0.0, 1.5, 2.4, -3.0]
COUNTS = [0, 2, 0, 0, 1, 0, 0, 3]
DRAWN = [
    Completions(temperature=1.0, top_p=1.0, frequency_penalty=0.0),
    Completions(temperature=1.0, top_p=0.5, frequency_penalty=1.0),
    Completions(temperature=0.7, top_p=0.8, frequency_penalty=0.4),
    Completions(temperature=2.0, top_p=0.95, frequency_penalty=0.0),
]


def fits(observed: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the counts are as likely as those of all but one in 1,000 samples of the distribution, by chi-square."""
    possible = expected > 0
    assert not observed[~possible].any(), "a token that cannot be drawn was drawn"
    numbers = expected[possible] * observed.sum()
    statistic = ((observed[possible] - numbers) ** 2 / numbers).sum()
    # The 99.9th percentile, by Wilson and Hilferty 1931.
    freedom = int(possible.sum()) - 1
    return bool(statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3)


@pytest.mark.parametrize("settings", DRAWN, ids=lambda each: f"{each.temperature}-{each.top_p}")
def test_tokens_are_drawn_with_the_probabilities_of_the_definition(settings):
    expected = np.array(probabilities(LOGITS, COUNTS, settings))
    logits, counts = np.array(LOGITS, dtype=np.float32), np.array(COUNTS)
    ids, p = nucleus(logits, counts, settings)
    assert np.abs(expected[ids] - p).max() < 1e-6
    assert expected[ids].sum() == pytest.approx(1)
    chances = np.random.default_rng(1).random(5_000)
    observed = np.bincount([next_token(logits, counts, settings, each) for each in chances], minlength=len(LOGITS))
    assert fits(observed, expected)
    assert not fits(observed, np.where(expected > 0, 1 / (expected > 0).sum(), 0)), "the test tells distributions apart"


def test_texts_of_many_numbers_have_the_models_distribution():
    """Both models' first tokens, each against its own."""
    theirs, gpt2 = built(2, 16, 2)
    vectors = [vector(1, (3, 8), 16)]
    settings = Completions(number=1000, tokens=1, temperature=1.5, top_p=0.7, frequency_penalty=0.0)
    pairs = written(gpt2, vectors, settings)
    for model, added in enumerate(([], vectors)):
        with steered(theirs, added), torch.inference_mode():
            logits = theirs(torch.tensor([PROMPT])).logits[0, -1].tolist()
        expected = np.array(probabilities(logits, [0] * VOCABULARY, settings))
        observed = np.bincount([pair[model].ids[0] for pair in pairs], minlength=VOCABULARY)
        assert fits(observed, expected)
        assert (observed > 0).sum() > 2


def test_a_nucleus_by_hand():
    logits = np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32))
    none = np.zeros(3, dtype=int)

    def ids(top_p: float, counts: np.ndarray = none, penalty: float = 0.0) -> list[int]:
        return list(nucleus(logits, counts, Completions(top_p=top_p, frequency_penalty=penalty))[0])

    assert ids(0.3) == [1], "one is enough"
    assert ids(0.6) == [1, 2], "0.5 does not exceed 0.6"
    assert ids(0.81) == [1, 2, 0]
    assert ids(1.0) == [1, 2, 0]
    # 0.5 e^-2 is 0.07: last of the three; of two times 0.3 the lower id is the first.
    assert ids(1.0, np.array([0, 2, 0]), penalty=1.0) == [2, 0, 1]
    equal = np.zeros(4, dtype=np.float32)
    assert list(nucleus(equal, np.zeros(4, dtype=int), Completions(top_p=0.4))[0]) == [0, 1]


def test_the_penalty_counts_the_prompt_and_the_text():
    """A penalty that outweighs every logit: no token comes twice, and none of the prompt."""
    _, gpt2 = built(3, 24, 3)
    settings = SAMPLED.model_copy(update={"frequency_penalty": 1000.0, "tokens": 20})
    for pair in written(gpt2, [vector(1, (2, 3), 24)], settings):
        for text in pair:
            assert len({*text.ids, *PROMPT}) == len(text.ids) + len(set(PROMPT))


def test_the_smallest_temperature_takes_the_most_probable_token():
    logits = np.array(LOGITS, dtype=np.float32)
    settings = Completions(temperature=1e-300, top_p=1.0, frequency_penalty=1.0)
    assert {next_token(logits, np.array(COUNTS), settings, chance) for chance in (0.0, 0.5, 1 - 2**-53)} == {1}
