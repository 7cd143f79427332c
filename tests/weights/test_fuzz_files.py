"""A model's files, damaged anywhere, are refused in one sentence or are as good as whole; nothing crashes."""

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import accepted, both_profiles, profile
from hypothesis import given
from hypothesis import strategies as st
from random_model import write_lens, write_model

from replication.base.config import Model
from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.engine.fit_checks import check
from replication.engine.loaded import Loaded, load
from replication.weights import obtain as weights

FILES = ("model/config.json", "model/model.safetensors", "model/tokenizer.json", "lens/config.json", "lens/params.pt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a lens, so small that a random bit often falls on a header."""
    folder = tmp_path_factory.mktemp("whole")
    write_model(folder / "model", layers=1, d_model=2, heads=1, context=8)
    # Few tokens, read in no time.
    shutil.copy2(REPOSITORY / "replication/miniature/model/tokenizer.json", folder / "model")
    values = json.loads((folder / "model/config.json").read_text()) | {"bos_token_id": 726}
    (folder / "model/config.json").write_text(json.dumps(values))
    write_lens(folder / "lens", layers=1, d_model=2)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "damaged")


def loaded(folder: Path) -> Loaded:
    """What the steps `weights` and `measure` do with a model in a folder."""
    model = Model(folder=str(folder / "model"), lens_folder=str(folder / "lens"))
    files = weights.obtain("mine", model, folder, folder / "hashes.json")
    check(files, None)
    result = load(files)
    assert result.gpt2.unembedding is result.gpt2.tensors["wte.weight"], "the output weights are the input weights"
    return result


def test_the_whole_model_is_loaded(folder: Path):
    assert len(loaded(folder).translators) == 1


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Three bits are others; the first of them within what may be a header."""
    changed = bytearray(data)
    for end in (200, 2000, len(data)):
        changed[chance.randrange(min(end, len(data)))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.choice([chance.randrange(200), chance.randrange(len(data))])]


def with_a_hole(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + bytes(min(4096, len(data) - start)) + data[start + 4096 :]


def repeated(data: bytes, chance: random.Random) -> bytes:
    return data + data[: chance.randrange(len(data))]


DAMAGES = (flipped, truncated, with_a_hole, repeated)


@both_profiles
@pytest.mark.parametrize("name", FILES)
def test_random_damage(folder: Path, name: str, factor: int):
    sound = (folder / name).read_bytes()

    @profile(6 * factor)
    @given(st.sampled_from(DAMAGES), st.integers(0, 2**32))
    def attempt(damage: Callable[[bytes, random.Random], bytes], seed: int) -> None:
        (folder / name).write_bytes(damage(sound, random.Random(seed)))
        accepted(lambda: loaded(folder))

    attempt()


VALUES = st.sampled_from([None, True, 0, 1, -1, 2.5, 1e308, 10**9, 10**30, "", "gpt2", "7", [], [1], {}, {"a": 1}])


@both_profiles
@pytest.mark.parametrize("name", ["model/config.json", "lens/config.json"])
def test_any_value_in_a_config_json(folder: Path, name: str, factor: int):
    sound = json.loads((folder / name).read_text())

    @profile(15 * factor)
    @given(st.sampled_from(sorted(sound)), VALUES)
    def attempt(key: str, value: object) -> None:
        (folder / name).write_text(json.dumps(sound | {key: value}))
        accepted(lambda: loaded(folder))

    attempt()


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file(folder: Path, name: str):
    (folder / name).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        loaded(folder)
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    """As without permission: root, as which tests may run, could read it."""
    opened = Path.open

    def refused(self: Path, *arguments: object, **options: object) -> object:
        if self == folder / name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return opened(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match=f"{folder / name}: Permission denied"):
        loaded(folder)


@pytest.mark.parametrize("kind", ["link to itself", "other kind"])
@pytest.mark.parametrize("name", [*FILES, "model", "lens"])
def test_what_is_not_a_file_or_not_a_folder(folder: Path, name: str, kind: str):
    path, is_file = folder / name, name in FILES
    path.unlink() if is_file else shutil.rmtree(path)
    if kind == "link to itself":
        path.symlink_to(path)
    elif is_file:
        path.mkdir()
    else:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=f"lacks the file {path.name}" if is_file else "there is no folder"):
        loaded(folder)


@pytest.mark.parametrize(("one", "other"), [(a, b) for a in FILES for b in FILES if a != b])
def test_two_files_swapped(folder: Path, one: str, other: str):
    (folder / one).write_bytes((folder / other).read_bytes())
    accepted(lambda: loaded(folder))


def test_the_lens_of_gpt2_on_gpt2_large(tmp_path: Path):
    """Of the sizes in which they are published: 12 layers of 768, and 36 of 1280 (here of 4 and 8)."""
    write_model(tmp_path / "model", layers=36, d_model=8, heads=1, context=8, name="gpt2-large")
    write_lens(tmp_path / "lens", layers=12, d_model=4, name="gpt2")
    with pytest.raises(UserError, match="the lens has 12 translators, the model 36 layers"):
        loaded(tmp_path)
    shutil.rmtree(tmp_path / "lens")
    write_lens(tmp_path / "lens", layers=36, d_model=8, name="gpt2")
    with pytest.raises(UserError, match="this lens was trained for 'gpt2', the model is 'gpt2-large'"):
        loaded(tmp_path)
