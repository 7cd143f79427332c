"""A hub that refuses, fails or is not there: what the user sees, and what is left on disk."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hub_setup import (  # noqa: F401
    CHILD,
    COMMIT,
    CONFIG,
    MODEL,
    TOTAL,
    WEIGHTS,
    WHAT,
    Clock,
    clock_fixture,
    digest,
    fetch,
    files,
    folder_fixture,
    is_whole,
    leave_partial,
    names,
    ranges,
    refusal,
    served_fixture,
    use_endpoint,
)
from huggingface_hub import constants
from loopback_hub import LoopbackHub, date_in

from replication.base.paths import REPOSITORY
from replication.weights import fetch as hub
from replication.weights import transfer


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "requires a login (401): the repository is private or does not exist, or HF_TOKEN is missing or "
              "has expired"),
        (403, "refuses access (403): accept the terms on the repository's page, check HF_TOKEN, or ask "
              "whether a proxy blocks that host"),
        (404, "does not have this file (404): check repo, revision, path and file name"),
        (410, "answered with an unexpected status (410); check HF_ENDPOINT"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_refusal_is_one_sentence_at_once(
    served: LoopbackHub, folder: Path, clock: Clock, status: int, sentence: str, method: str
) -> None:
    leave_partial(folder, WEIGHTS[:1000])
    served.fault("model.safetensors", "status", status=status, method=method)
    assert refusal(MODEL, folder) == f"{WHAT}: 127.0.0.1 {sentence}"
    assert clock.waits == []
    [left] = folder.iterdir()
    assert left.read_bytes() == WEIGHTS[:1000]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_500_then_200_is_waited_out(served: LoopbackHub, folder: Path, clock: Clock, method: str) -> None:
    served.fault("model.safetensors", "status", times=3, status=500, method=method)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_503_for_ever_is_given_up_after_two_minutes(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    served.fault("model.safetensors", "status", times=100, status=503, method="HEAD")
    assert refusal(MODEL, folder) == (
        f"{WHAT}: given up after 120 seconds without a new byte (127.0.0.1 answered 503); what has been "
        "downloaded is kept: run the same command again to continue"
    )
    assert sum(clock.waits) == pytest.approx(120, abs=1)
    assert names(folder) == []


def test_a_new_byte_renews_the_patience(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    for _ in range(3):
        served.fault("model.safetensors", "status", times=7, status=503)
        served.fault("model.safetensors", "cut", after=10)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert sum(clock.waits) > 240


@pytest.mark.parametrize(("value", "wait"), [("17", 17.0), ("0", 1.0), ("date", 17.0), ("soon", 1.0)])
def test_retry_after_is_obeyed_in_both_forms(
    served: LoopbackHub, folder: Path, clock: Clock, value: str, wait: float
) -> None:
    headers = {"Retry-After": date_in(17) if value == "date" else value}
    served.fault("model.safetensors", "status", status=429, headers=headers)
    fetch(MODEL, folder)
    assert clock.waits == [pytest.approx(wait, abs=1)]


def test_a_wait_longer_than_our_patience_is_reported_and_not_waited(
    served: LoopbackHub, folder: Path, clock: Clock
) -> None:
    served.fault("model.safetensors", "cut", after=1000)
    served.fault("model.safetensors", "status", status=429, headers={"Retry-After": "300"})
    assert refusal(MODEL, folder) == (
        f"{WHAT}: 127.0.0.1 answered 429 and asks for a wait of 300 seconds, which is too long; what has been "
        "downloaded is kept: run the same command again after that time to continue"
    )
    assert clock.waits == [1.0]
    assert [path.read_bytes() for path in folder.iterdir()] == [WEIGHTS[:1000]]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_redirect_loop_ends(served: LoopbackHub, folder: Path, method: str) -> None:
    served.fault("config.json", "loop", method=method)
    assert refusal(files(config_json=digest(CONFIG)), folder) == (
        f"config.json of owner/model: 127.0.0.1:{served.port} redirects endlessly (stopped after 10); check HF_ENDPOINT"
    )
    assert not (folder / "config.json").exists()


def test_another_hash_at_the_hub_is_known_before_anything_is_fetched(served: LoopbackHub, folder: Path) -> None:
    assert refusal(files(model_safetensors="0" * 64), folder) == (
        f"{WHAT}: 127.0.0.1:{served.port} has SHA-256 {digest(WEIGHTS)} at {COMMIT}, and config.yaml "
        f"has {'0' * 64}; "
        "correct the hash or the revision"
    )
    assert ranges(served) == []


# No network, no room


def test_without_a_network_the_alternatives_are_named_in_time(
    served: LoopbackHub, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{unused.getsockname()[1]}"
        use_endpoint(monkeypatch, f"http://{endpoint}")
        sentence = refusal(MODEL, folder)
    assert sentence == (
        f"{endpoint} could not be reached for model.safetensors (no connection to 127.0.0.1: Connection "
        "refused); "
        "check the network and the proxy settings, set HF_ENDPOINT to a mirror, put a copy into the "
        "Hugging Face "
        f"cache ({constants.HF_HUB_CACHE}), name a folder with the files (folder:, lens_folder:) in "
        "config.yaml, or "
        "run the embedded model with --config model=miniature"
    )
    assert sum(clock.waits) < 30
    assert names(folder) == []


def test_a_name_look_up_that_hangs_ends_in_time(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(hub.FIRST_ANSWER_TIMEOUT, transfer.FIRST_CONTACT) < 30
    released = threading.Event()

    def hanging(*_: object, **__: object) -> None:
        released.wait(20)
        raise RuntimeError("the test is over")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    monkeypatch.setattr(hub, "FIRST_ANSWER_TIMEOUT", 0.2)
    assert "could not be reached for model.safetensors (no answer in 0 seconds); check" in refusal(MODEL, folder)
    released.set()


def test_a_hub_that_has_answered_once_may_take_its_time(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "FIRST_ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "pause", lambda _: time.sleep(0.4))
    served.fault("model.safetensors", "status", status=503, method="HEAD")
    fetch(MODEL, folder)
    assert is_whole(folder)


def test_offline_asks_nothing_and_names_the_alternatives(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal(MODEL, folder).startswith(
        f"HF_HUB_OFFLINE is set, and there is no valid copy of model.safetensors of owner/model at {COMMIT} "
        f"in {folder} or in the cache; unset it, put a copy into the Hugging Face cache ("
    )
    assert served.requests == []


@pytest.mark.parametrize("endpoint", ["hf-mirror.example", "ftp://hf-mirror.example"])
def test_an_endpoint_that_is_not_an_address_is_named(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    use_endpoint(monkeypatch, endpoint)
    assert refusal(MODEL, folder) == f"HF_ENDPOINT: must be an address that starts with https://, found {endpoint!r}"


def test_free_space_is_checked_before_anything_is_fetched(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_partial(folder, WEIGHTS[:100_000])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 199_999})())
    assert refusal(MODEL, folder) == (
        f"{folder}: 200.00 kB are still to be downloaded, but only 200.00 kB are free; free some "
        "space and run the same command again"
    )
    assert ranges(served) == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 200_000})())
    fetch(MODEL, folder)
    assert is_whole(folder)


def test_a_disk_that_fills_up_ends_in_a_sentence_and_the_next_run_goes_on(served: LoopbackHub, folder: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n{CHILD}"
    arguments = [MODEL.model_dump_json(), str(folder), str(folder.parent / "hashes.json")]
    environment = {**os.environ, "HF_ENDPOINT": served.endpoint, "HF_HOME": str(folder.parent / "home")}
    run = subprocess.run(
        [sys.executable, "-c", limited, *arguments],
        env=environment,
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
    )
    assert run.stderr == (
        f"{folder}: File too large; what has been downloaded is kept: fix this and run the same command "
        "again to continue\n"
    )
    assert [path.read_bytes() for path in folder.iterdir()] == [WEIGHTS[:100_000]]
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served)[-1] == ("bytes=100000-", TOTAL - 100_000)
