"""The recipe of the miniature: its documents, and what it leaves where a result does not pass."""

import sys
from itertools import islice
from pathlib import Path

import pytest

from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.engine.tokenizer import Tokenizer
from replication.miniature import train


def run(monkeypatch: pytest.MonkeyPatch, output: Path, recipe) -> None:
    monkeypatch.setattr(train, "train", recipe)
    monkeypatch.setattr(sys, "argv", ["train", str(output), "--seed", "3"])
    train.main()


def test_documents_stand_between_ends_of_text_and_follow_the_seed():
    tokenizer = Tokenizer([REPOSITORY / "replication/miniature/model/tokenizer.json"])
    first, again, other = (list(islice(train.documents(tokenizer, seed), 50)) for seed in (0, 0, 1))
    assert first == again != other
    assert all(ids[0] == ids[-1] == tokenizer.bos and tokenizer.bos not in ids[1:-1] for ids in first)
    assert max(map(len, first)) <= train.SHAPE.n_positions


def test_a_new_miniature_takes_the_place_of_the_old_one_whole(monkeypatch, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()

    def recipe(folder: Path, seed: int) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "new").touch()
        (folder / "card.json").write_text(f"{seed}")

    run(monkeypatch, tmp_path, recipe)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"card.json", "model", "model/new"}
    assert (tmp_path / "card.json").read_text() == "3"


def test_a_miniature_that_does_not_pass_leaves_everything_as_it_was(monkeypatch, tmp_path):
    (tmp_path / "card.json").write_text("old")

    def recipe(folder: Path, seed: int) -> None:
        (folder / "card.json").write_text("new")
        raise UserError("the effect is too small")

    with pytest.raises(SystemExit, match="the effect is too small"):
        run(monkeypatch, tmp_path, recipe)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("card.json", "old")]
