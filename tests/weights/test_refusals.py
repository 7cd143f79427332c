"""A hub that refuses, fails or is not there: what the user sees, and what is left on disk."""

import socket
import threading
import time

import hub_setup as hub
import pytest
from huggingface_hub import constants
from loopback_hub import RATE_LIMITED, date_in

from replication.weights import fetch, transfer


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
def test_a_refusal_is_one_sentence_at_once(served, folder, clock, status, sentence, method):
    hub.leave_partial(folder, hub.WEIGHTS[:1000])
    served.fault("model.safetensors", "status", status=status, method=method)
    assert hub.refusal(folder) == f"{hub.WHAT}: 127.0.0.1 {sentence}"
    assert clock.waits == []
    [left] = folder.iterdir()
    assert left.read_bytes() == hub.WEIGHTS[:1000]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_500_then_200_is_waited_out(served, folder, clock, method):
    served.fault("model.safetensors", "status", times=3, status=500, method=method)
    hub.fetch_whole(folder)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_503_for_ever_is_given_up_after_two_minutes(served, folder, clock):
    served.fault("model.safetensors", "status", times=100, status=503, method="HEAD")
    assert hub.refusal(folder) == (
        f"{hub.WHAT}: given up after 120 seconds without a new byte (127.0.0.1 answered 503); what has been "
        "downloaded is kept: run the same command again to continue"
    )
    assert sum(clock.waits) == pytest.approx(120, abs=1)
    assert hub.names(folder) == []


def test_a_new_byte_renews_the_patience(served, folder, clock):
    for _ in range(3):
        served.fault("model.safetensors", "status", times=7, status=503)
        served.fault("model.safetensors", "cut", after=10)
    hub.fetch_whole(folder)
    assert sum(clock.waits) > 240


@pytest.mark.parametrize(
    ("status", "retry_after", "wait"),
    [(429, "17", 17), (429, "0", 1), (429, date_in, 17), (429, "soon", 172), (503, "17", 17), (503, "soon", 1)],
)
def test_retry_after_is_obeyed_before_a_rate_limit(served, folder, clock, status, retry_after, wait):
    headers = {**RATE_LIMITED, "Retry-After": retry_after(17) if callable(retry_after) else retry_after}
    served.fault("model.safetensors", "status", status=status, headers=headers)
    hub.fetch_whole(folder)
    assert clock.waits == [pytest.approx(wait, abs=1 if callable(retry_after) else 0)]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_rate_limit_is_waited_for_and_shown_and_costs_no_patience(served, folder, clock, capfd, method):
    for status in (429, 429, 503):
        served.fault("model.safetensors", "status", status=status, method=method)
    hub.fetch_whole(folder)
    assert clock.waits == [172, 172, 1]
    assert capfd.readouterr().err.count(f"{hub.WHAT}: 127.0.0.1 answered 429; next attempt in 172 s\n") == 2


@pytest.mark.parametrize(("headers", "granted", "asked"), [({}, [172] * 3, 172), ({"Retry-After": "3600"}, [], 3600)])
def test_more_than_ten_minutes_are_reported_and_not_waited(served, folder, clock, headers, granted, asked):
    served.fault("model.safetensors", "cut", after=1000)
    served.fault("model.safetensors", "status", times=4, status=429, headers=headers)
    assert hub.refusal(folder) == (
        f"{hub.WHAT}: 127.0.0.1 answered 429 and asks for a wait of {asked} seconds, which makes more than 600; what "
        "has been downloaded is kept: run the same command again after that time to continue"
    )
    assert clock.waits == [1, *granted]
    assert [path.read_bytes() for path in folder.iterdir()] == [hub.WEIGHTS[:1000]]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_redirect_loop_ends(served, folder, method):
    served.fault("config.json", "loop", method=method)
    assert hub.refusal(folder, hub.files(config_json=hub.digest(hub.CONFIG))) == (
        f"config.json of owner/model: 127.0.0.1:{served.port} redirects endlessly (stopped after 10); check HF_ENDPOINT"
    )
    assert not (folder / "config.json").exists()


def test_another_hash_at_the_hub_is_known_before_anything_is_fetched(served, folder):
    assert hub.refusal(folder, hub.files(model_safetensors="0" * 64)) == (
        f"{hub.WHAT}: 127.0.0.1:{served.port} has SHA-256 {hub.digest(hub.WEIGHTS)} at {hub.COMMIT}, and config.yaml "
        f"has {'0' * 64}; correct the hash or the revision"
    )
    assert hub.ranges(served) == []


# No network, no room


def test_without_a_network_the_alternatives_are_named_in_time(served, folder, clock, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{unused.getsockname()[1]}"
        hub.use_endpoint(monkeypatch, f"http://{endpoint}")
        sentence = hub.refusal(folder)
    assert sentence == (
        f"{endpoint} could not be reached for model.safetensors (no connection to 127.0.0.1: Connection refused); "
        "check the network and the proxy settings, set HF_ENDPOINT to a mirror, put a copy into the Hugging Face "
        f"cache ({constants.HF_HUB_CACHE}), name a folder with the files (folder:, lens_folder:) in config.yaml, or "
        "run the embedded model with --config model=miniature"
    )
    assert sum(clock.waits) < 30
    assert hub.names(folder) == []


def test_a_name_look_up_that_hangs_ends_in_time(served, folder, monkeypatch):
    assert max(fetch.FIRST_ANSWER_TIMEOUT, transfer.FIRST_CONTACT) < 30
    released = threading.Event()

    def hanging(*_: object, **__: object) -> None:
        released.wait(20)
        raise RuntimeError("the test is over")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    monkeypatch.setattr(fetch, "FIRST_ANSWER_TIMEOUT", 0.2)
    assert "could not be reached for model.safetensors (no answer in 0 seconds); check" in hub.refusal(folder)
    released.set()


def test_a_hub_that_has_answered_once_may_take_its_time(served, folder, monkeypatch):
    monkeypatch.setattr(fetch, "FIRST_ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "pause", lambda _: time.sleep(0.4))
    served.fault("model.safetensors", "status", status=503, method="HEAD")
    hub.fetch_whole(folder)


def test_offline_asks_nothing_and_names_the_alternatives(served, folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.refusal(folder).startswith(
        f"HF_HUB_OFFLINE is set, and there is no valid copy of model.safetensors of owner/model at {hub.COMMIT} "
        f"in {folder} or in the cache; unset it, put a copy into the Hugging Face cache ("
    )
    assert served.requests == []


@pytest.mark.parametrize("endpoint", ["hf-mirror.example", "ftp://hf-mirror.example"])
def test_an_endpoint_that_is_not_an_address_is_named(served, folder, monkeypatch, endpoint):
    hub.use_endpoint(monkeypatch, endpoint)
    assert hub.refusal(folder) == f"HF_ENDPOINT: must be an address that starts with https://, found {endpoint!r}"


def test_free_space_is_checked_before_anything_is_fetched(served, folder, monkeypatch):
    hub.leave_partial(folder, hub.WEIGHTS[:100_000])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 199_999})())
    assert hub.refusal(folder) == (
        f"{folder}: 200.00 kB are still to be downloaded, but only 200.00 kB are free; free some "
        "space and run the same command again"
    )
    assert hub.ranges(served) == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 200_000})())
    hub.fetch_whole(folder)


def test_a_disk_that_fills_up_ends_in_a_sentence_and_the_next_run_goes_on(served, folder):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    run = hub.child(served, hub.MODEL, folder, first=limit)
    assert run.communicate(timeout=30)[1] == (
        f"{folder}: File too large; what has been downloaded is kept: fix this and run the same command "
        "again to continue\n"
    )
    assert [path.read_bytes() for path in folder.iterdir()] == [hub.WEIGHTS[:100_000]]
    hub.fetch_whole(folder)
    assert hub.ranges(served)[-1] == ("bytes=100000-", hub.TOTAL - 100_000)
