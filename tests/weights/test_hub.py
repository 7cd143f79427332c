"""Fetching from the hub: what is asked, to whom, and what the user's own copies save."""

import hashlib
import json
import re
import subprocess
import sys

import httpx2
import hub_setup as hub
import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub

from replication.base import progress
from replication.base.config import HubFiles
from replication.base.paths import REPOSITORY

# git's id of config.json, the hub's ETag of a file that is not in LFS.
BLOB = hashlib.sha1(b"blob %d\0" % len(hub.CONFIG) + hub.CONFIG).hexdigest()


def test_named_files_are_fetched_and_nothing_else(served, folder, capfd):
    source = hub.files(model_safetensors=hub.digest(hub.WEIGHTS), config_json=hub.digest(hub.CONFIG))
    assert hub.fetch(folder, source) == source.sha256
    assert hub.is_whole(folder, ("config.json",))
    assert (folder / "config.json").read_bytes() == hub.CONFIG
    assert {request.name for request in served.requests} == {"model.safetensors", "config.json"}
    assert {request.encoding for request in served.requests} == {"identity"}
    assert capfd.readouterr().err == (
        "model.safetensors of owner/model: 300.00 kB, verified\nconfig.json of owner/model: 16 bytes, verified\n"
    )


def test_what_was_fetched_is_hashed_once_and_not_asked_for_again(served, folder, monkeypatch):
    # The partial is hashed by fetch.py; the finished file is known from then on.
    monkeypatch.setattr("replication.base.hashes.digest_of", lambda path: pytest.fail(f"{path} is hashed again"))
    hub.fetch_whole(folder)
    served.requests.clear()
    hub.fetch_whole(folder)
    assert served.requests == []


def test_a_space_is_asked_under_spaces(served, folder):
    sha256 = {"params.pt": hub.digest(hub.WEIGHTS[::-1])}
    source = HubFiles(repo="owner/lenses", repo_type="space", revision=hub.COMMIT, path="lens/tiny", sha256=sha256)
    assert hub.fetch(folder, source) == sha256
    assert (folder / "params.pt").read_bytes() == hub.WEIGHTS[::-1]


def test_a_wrong_file_in_place_is_named_and_replaced(served, folder, capfd):
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(hub.WEIGHTS[:-1] + b"?")
    hub.fetch_whole(folder)
    assert (
        f"{folder}/model.safetensors: this is not {hub.WHAT} at {hub.COMMIT}; deleted, to be downloaded again"
        in capfd.readouterr().err
    )


def test_a_wrong_file_in_place_is_gone_even_if_the_fetch_fails(served, folder):
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"wrong")
    served.fault("model.safetensors", "status", status=404, method="HEAD")
    hub.refusal(folder)
    assert hub.names(folder) == []


def test_progress_in_a_log_file_is_a_line_now_and_then(capfd, monkeypatch):
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


def test_a_file_pinned_by_commit_is_proven_by_its_etag(served, folder):
    source = hub.files(config_json=None)
    assert hub.fetch(folder, source) == {"config.json": hub.digest(hub.CONFIG)}
    assert json.loads((folder / ".config.json.origin").read_text())["revision"] == hub.COMMIT
    served.requests.clear()
    assert hub.fetch(folder, source) == {"config.json": hub.digest(hub.CONFIG)}
    assert served.requests == []


def test_a_file_pinned_by_another_commit_is_fetched_again(served, folder):
    hub.fetch(folder, hub.files(config_json=None))
    served.requests.clear()
    hub.fetch(folder, HubFiles(repo="owner/model", revision="0" * 40, sha256={"config.json": None}))
    assert [request.sent for request in served.gets("config.json")] == [len(hub.CONFIG)]


def test_wrong_bytes_of_a_file_pinned_by_commit_are_noticed(served, folder):
    served.fault("config.json", "wrong_bytes", times=2)
    assert "its git blob id is" in hub.refusal(folder, hub.files(config_json=None))
    assert hub.names(folder) == []


def test_a_file_pinned_by_commit_must_be_json(served, folder):
    (served.folder / "owner/model/config.json").write_text("<html>")
    assert "failed twice: it is not valid JSON;" in hub.refusal(folder, hub.files(config_json=None))
    assert hub.names(folder) == []


# Answers as the hub gives them, and mirrors


def test_the_loopback_hub_answers_as_the_hub_did_in_2026(served):
    resolve = f"{served.endpoint}/owner/model/resolve/{hub.COMMIT}"
    small, large = httpx2.head(f"{resolve}/config.json"), httpx2.head(f"{resolve}/model.safetensors")
    assert (small.status_code, small.headers["Location"]) == (
        307,
        f"/api/resolve-cache/models/owner/model/{hub.COMMIT}/config.json"
        f"?%2Fowner%2Fmodel%2Fresolve%2F{hub.COMMIT}%2Fconfig.json=&etag=%22{BLOB}%22",
    )
    assert (large.status_code, large.headers["X-Linked-Size"]) == (302, str(hub.TOTAL))
    assert large.headers["X-Linked-Etag"] == f'"{hub.digest(hub.WEIGHTS)}"'
    cdn = httpx2.head(large.headers["Location"])
    assert (cdn.status_code, cdn.url.host, cdn.headers["Accept-Ranges"]) == (200, "localhost", "bytes")
    assert not {"X-Repo-Commit", "X-Linked-Size", "X-Linked-Etag"} & set(map(str.title, cdn.headers))
    assert cdn.headers["ETag"] == f'"{large.headers["X-Xet-Hash"]}"'


def test_a_mirror_that_says_nothing_but_the_bytes_serves_files_with_a_hash(served, folder):
    served.says_what = False
    source = hub.files(model_safetensors=hub.digest(hub.WEIGHTS), config_json=hub.digest(hub.CONFIG))
    assert hub.fetch(folder, source) == source.sha256


def test_a_mirror_that_names_no_commit_is_refused_where_only_the_commit_pins(served, folder):
    served.says_what = False
    assert hub.refusal(folder, hub.files(config_json=None)) == (
        f"config.json of owner/model: 127.0.0.1:{served.port} does not say which commit it serves (X-Repo-Commit), "
        "which alone pins this file; write its SHA-256 in place of null into config.yaml, or set HF_ENDPOINT to a hub "
        "that says it"
    )


def test_a_mirror_may_redirect_to_the_hub_which_does_not_get_its_token(served, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
    source = hub.files(model_safetensors=hub.digest(hub.WEIGHTS), config_json=None)
    with LoopbackHub(tmp_path / "nothing") as mirror:
        mirror.moved_to = served.endpoint
        hub.use_endpoint(monkeypatch, mirror.endpoint)
        hub.fetch(folder, source)
    assert hub.is_whole(folder, ("config.json", ".config.json.origin"))
    assert {request.authorization for request in mirror.requests} == {f"Bearer {hub.TOKEN}"}
    assert {request.authorization for request in served.requests} == {None}


# The user's cache


def test_a_good_copy_in_the_cache_is_linked_and_nothing_is_asked(served, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    blob = hub.cache(tmp_path, hub.WEIGHTS)
    assert hub.fetch(folder) == hub.MODEL.sha256
    assert (folder / "model.safetensors").readlink() == blob
    assert hub.names(folder) == ["model.safetensors"]
    assert served.requests == []


def test_a_damaged_copy_in_the_cache_is_named_left_and_not_used(served, folder, tmp_path, capfd):
    damaged = b"?" + hub.WEIGHTS[1:]
    blob = hub.cache(tmp_path, damaged)
    hub.fetch_whole(folder)
    assert not (folder / "model.safetensors").is_symlink()
    assert blob.read_bytes() == damaged
    found = f"{tmp_path}/cache/models--owner--model/snapshots/{hub.COMMIT}/model.safetensors"
    said = f"{found}: this copy in the Hugging Face cache is not used ({hub.wrong_hash(damaged)}); you may want"
    assert f"{said} to delete it\n" in capfd.readouterr().err


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_linked_copy_that_changes_or_goes_is_fetched(served, folder, tmp_path, damage):
    blob = hub.cache(tmp_path, hub.WEIGHTS)
    hub.fetch(folder)
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes(b"truncated")
    hub.fetch_whole(folder)
    assert not (folder / "model.safetensors").is_symlink()
    assert damage == "gone" or blob.read_bytes() == b"truncated"


def test_a_cached_copy_pinned_by_commit_is_proven_by_its_blob_name(served, folder, tmp_path):
    hub.cache(tmp_path, hub.CONFIG, "config.json", BLOB)
    hub.fetch(folder, hub.files(config_json=None))
    assert (folder / "config.json").is_symlink()
    assert served.requests == []


def test_a_cached_copy_that_nothing_proves_is_fetched(served, folder, tmp_path):
    snapshot = hub.cache(tmp_path, hub.CONFIG, "other.json").parent.parent / "snapshots" / hub.COMMIT
    (snapshot / "config.json").write_bytes(b'{"n_layer": 12}')
    hub.fetch(folder, hub.files(config_json=None))
    assert (folder / "config.json").read_bytes() == hub.CONFIG


# The token


def test_the_token_goes_to_the_hub_alone_and_is_never_printed(served, folder, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
    served.fault("model.safetensors", "cut", after=1000)
    served.fault("model.safetensors", "status", status=401, method="GET")
    sentence = hub.refusal(folder)
    sent = {(request.host, request.authorization) for request in served.requests}
    assert sent == {("127.0.0.1", f"Bearer {hub.TOKEN}"), ("localhost", None)}
    out, err = capfd.readouterr()
    assert hub.TOKEN not in sentence + out + err


def test_the_token_of_a_login_is_used(served, folder, tmp_path):
    (tmp_path / "token").write_text(hub.TOKEN + "\n")
    hub.fetch(folder, hub.files(config_json=hub.digest(hub.CONFIG)))
    assert {request.authorization for request in served.requests} == {f"Bearer {hub.TOKEN}"}


def test_a_token_with_odd_characters_is_refused_without_printing_it(served, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ü")
    assert hub.refusal(folder) == "HF_TOKEN: contains characters that never occur in a Hugging Face token"


# The environment, as a process of its own reads it


def test_cache_proxy_and_token_of_the_environment_are_honoured(served, folder):
    hub.cache(folder.parent / "home", hub.WEIGHTS)
    (folder.parent / "home" / "cache").rename(folder.parent / "home" / "hub")
    source = hub.files(model_safetensors=hub.digest(hub.WEIGHTS), unwanted_bin=hub.digest(b"0" * 1000))
    # The loopback hub is the proxy, and answers for all hosts; without it, neither could be reached.
    environment = {
        "HTTP_PROXY": served.endpoint,
        "http_proxy": served.endpoint,
        "NO_PROXY": "",
        "no_proxy": "",
    }
    run = hub.child(served, source, folder, HF_ENDPOINT="http://hub.invalid", HF_TOKEN=hub.TOKEN, **environment)
    output = run.communicate(timeout=30)
    assert run.returncode == 0, output
    assert (folder / "model.safetensors").is_symlink()
    assert {request.name for request in served.requests} == {"unwanted.bin"}
    sent = {(request.host, request.authorization) for request in served.requests}
    assert sent == {("hub.invalid", f"Bearer {hub.TOKEN}"), ("localhost", None)}
    assert hub.TOKEN not in "".join(output)


def test_the_module_imports_without_torch():
    code = "import sys, replication.weights.fetch; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
