"""Fetching from the hub: what is asked, to whom, and what the user's own copies save."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_setup import (  # noqa: F401
    COMMIT,
    CONFIG,
    MODEL,
    TOKEN,
    WEIGHTS,
    WHAT,
    cache,
    child,
    clock_fixture,
    digest,
    fetch,
    files,
    folder_fixture,
    is_whole,
    names,
    refusal,
    served_fixture,
)
from huggingface_hub import constants
from loopback_hub import LoopbackHub

from replication.base import progress
from replication.base.config import HubFiles
from replication.base.paths import REPOSITORY


def test_named_files_are_fetched_and_nothing_else(
    served: LoopbackHub, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = files(model_safetensors=digest(WEIGHTS), config_json=digest(CONFIG))
    assert fetch(source, folder) == source.sha256
    assert is_whole(folder, ("config.json",))
    assert (folder / "config.json").read_bytes() == CONFIG
    assert {request.name for request in served.requests} == {"model.safetensors", "config.json"}
    assert {request.encoding for request in served.requests} == {"identity"}
    assert capfd.readouterr().err == (
        "model.safetensors of owner/model: 300.00 kB, verified\nconfig.json of owner/model: 16 bytes, verified\n"
    )


def test_a_second_fetch_asks_nothing_and_hashes_nothing(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(MODEL, folder)
    served.requests.clear()
    monkeypatch.setattr("replication.base.hashes.digest_of", lambda path: pytest.fail(f"{path} is hashed again"))
    assert fetch(MODEL, folder) == MODEL.sha256
    assert served.requests == []


def test_what_was_fetched_is_hashed_once(served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The partial is hashed by hub.py; the finished file is known from then on.
    monkeypatch.setattr("replication.base.hashes.digest_of", lambda path: pytest.fail(f"{path} is hashed again"))
    assert fetch(MODEL, folder) == MODEL.sha256


def test_a_space_is_asked_under_spaces(served: LoopbackHub, folder: Path) -> None:
    sha256 = {"params.pt": digest(WEIGHTS[::-1])}
    source = HubFiles(repo="owner/lenses", repo_type="space", revision=COMMIT, path="lens/tiny", sha256=sha256)
    assert fetch(source, folder) == sha256
    assert (folder / "params.pt").read_bytes() == WEIGHTS[::-1]


def test_a_wrong_file_in_place_is_named_and_replaced(
    served: LoopbackHub, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"?")
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert (
        f"{folder}/model.safetensors: this is not {WHAT} at {COMMIT}; deleted, to be downloaded again"
        in capfd.readouterr().err
    )


def test_a_wrong_file_in_place_is_gone_even_if_the_fetch_fails(served: LoopbackHub, folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"wrong")
    served.fault("model.safetensors", "status", status=404, method="HEAD")
    refusal(MODEL, folder)
    assert names(folder) == []


def test_progress_in_a_log_file_is_a_line_now_and_then(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([float(second) for second in range(0, 10_000)])
    monkeypatch.setattr("tqdm.std.tqdm._time", None, raising=False)
    with progress.bar("model.safetensors", 6_000_000_000, 1_000_000_000) as bar:
        monkeypatch.setattr(bar, "_time", lambda: bar.start_t + next(seconds))
        for _ in range(40):
            bar.update(25_000_000)
    lines = capfd.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 5
    assert re.fullmatch(r"model\.safetensors: 1\.\d+GB of 6\.00GB \(\d+ %\), [\d.]+MB/s, \d\d:\d\d left", lines[0])


# Files pinned by commit only


def test_a_file_pinned_by_commit_is_proven_by_its_etag(served: LoopbackHub, folder: Path) -> None:
    source = files(config_json=None)
    assert fetch(source, folder) == {"config.json": digest(CONFIG)}
    assert json.loads((folder / ".config.json.origin").read_text())["revision"] == COMMIT
    served.requests.clear()
    assert fetch(source, folder) == {"config.json": digest(CONFIG)}
    assert served.requests == []


def test_a_file_pinned_by_another_commit_is_fetched_again(served: LoopbackHub, folder: Path) -> None:
    fetch(files(config_json=None), folder)
    served.requests.clear()
    fetch(HubFiles(repo="owner/model", revision="0" * 40, sha256={"config.json": None}), folder)
    assert [request.sent for request in served.gets("config.json")] == [len(CONFIG)]


def test_wrong_bytes_of_a_file_pinned_by_commit_are_noticed(served: LoopbackHub, folder: Path) -> None:
    served.fault("config.json", "wrong_bytes", times=2)
    assert "its git blob id is" in refusal(files(config_json=None), folder)
    assert names(folder) == []


def test_a_file_pinned_by_commit_must_be_json(served: LoopbackHub, folder: Path) -> None:
    (served.folder / "owner/model/config.json").write_text("<html>")
    assert "failed twice: it is not valid JSON;" in refusal(files(config_json=None), folder)
    assert names(folder) == []


# The user's cache


def test_a_good_copy_in_the_cache_is_linked_and_nothing_is_asked(
    served: LoopbackHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    blob = cache(tmp_path, WEIGHTS)
    assert fetch(MODEL, folder) == MODEL.sha256
    assert (folder / "model.safetensors").readlink() == blob
    assert names(folder) == ["model.safetensors"]
    assert served.requests == []


def test_a_damaged_copy_in_the_cache_is_named_left_and_not_used(
    served: LoopbackHub, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = b"?" + WEIGHTS[1:]
    blob = cache(tmp_path, damaged)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert not (folder / "model.safetensors").is_symlink()
    assert blob.read_bytes() == damaged
    found = f"{tmp_path}/cache/models--owner--model/snapshots/{COMMIT}/model.safetensors"
    assert (
        f"{found}: this copy in the Hugging Face cache is not used (its SHA-256 is {digest(damaged)} "
        "instead of "
        f"{digest(WEIGHTS)}); you may want to delete it\n"
    ) in capfd.readouterr().err


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_linked_copy_that_changes_or_goes_is_fetched(
    served: LoopbackHub, folder: Path, tmp_path: Path, damage: str
) -> None:
    blob = cache(tmp_path, WEIGHTS)
    fetch(MODEL, folder)
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes(b"truncated")
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert not (folder / "model.safetensors").is_symlink()
    assert damage == "gone" or blob.read_bytes() == b"truncated"


def test_a_cached_copy_pinned_by_commit_is_proven_by_its_blob_name(
    served: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    etag = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()
    cache(tmp_path, CONFIG, "config.json", etag)
    fetch(files(config_json=None), folder)
    assert (folder / "config.json").is_symlink()
    assert served.requests == []


def test_a_cached_copy_that_nothing_proves_is_fetched(served: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    snapshot = cache(tmp_path, CONFIG, "other.json").parent.parent / "snapshots" / COMMIT
    (snapshot / "config.json").write_bytes(b'{"n_layer": 12}')
    fetch(files(config_json=None), folder)
    assert (folder / "config.json").read_bytes() == CONFIG


# The token


def test_the_token_goes_to_the_hub_alone_and_is_never_printed(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    served.fault("model.safetensors", "cut", after=1000)
    served.fault("model.safetensors", "status", status=401, method="GET")
    sentence = refusal(MODEL, folder)
    sent = {(request.host, request.authorization) for request in served.requests}
    assert sent == {("127.0.0.1", f"Bearer {TOKEN}"), ("localhost", None)}
    out, err = capfd.readouterr()
    assert TOKEN not in sentence + out + err


def test_the_token_of_a_login_is_used(served: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    fetch(files(config_json=digest(CONFIG)), folder)
    assert {request.authorization for request in served.requests} == {f"Bearer {TOKEN}"}


def test_a_token_with_odd_characters_is_refused_without_printing_it(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_ü")
    assert refusal(MODEL, folder) == "HF_TOKEN: contains characters that never occur in a Hugging Face token"


# The environment, as a process of its own reads it


def test_cache_proxy_and_token_of_the_environment_are_honoured(served: LoopbackHub, folder: Path) -> None:
    cache(folder.parent / "home", WEIGHTS)
    (folder.parent / "home" / "cache").rename(folder.parent / "home" / "hub")
    source = files(model_safetensors=digest(WEIGHTS), unwanted_bin=digest(b"0" * 1000))
    # The loopback hub is the proxy, and answers for all hosts; without it, neither could be reached.
    environment = {
        "HTTP_PROXY": served.endpoint,
        "http_proxy": served.endpoint,
        "NO_PROXY": "",
        "no_proxy": "",
    }
    run = child(served, source, folder, HF_ENDPOINT="http://hub.invalid", HF_TOKEN=TOKEN, **environment)
    output = run.communicate(timeout=30)
    assert run.returncode == 0, output
    assert (folder / "model.safetensors").is_symlink()
    assert {request.name for request in served.requests} == {"unwanted.bin"}
    sent = {(request.host, request.authorization) for request in served.requests}
    assert sent == {("hub.invalid", f"Bearer {TOKEN}"), ("localhost", None)}
    assert TOKEN not in "".join(output)


def test_the_module_imports_without_torch() -> None:
    code = "import sys, replication.weights.fetch; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
