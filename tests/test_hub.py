"""Fetching from a hub that misbehaves: what the user sees, and what is left on disk."""

import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub, date_in

from replication import hub, partials, progress, transfer
from replication.config import REPOSITORY, HubFiles
from replication.errors import UserError

COMMIT = "15ea56dee5df4983c59b2538573817e1667135e2"
TOKEN = "hf_notforothers"
WEIGHTS = random.Random(0).randbytes(300_000)
TOTAL = len(WEIGHTS)
CONFIG = b'{"n_layer": 48}\n'
CHILD = """
import fcntl, sys
fcntl.flock = fcntl.lockf = lambda *_: None
from pathlib import Path
from replication.config import HubFiles
from replication.errors import UserError
from replication.hub import fetch
try:
    fetch(HubFiles.model_validate_json(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
except UserError as error:
    sys.exit(str(error))
"""


class Clock:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> float:
        return time.monotonic() + sum(self.waits)

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(transfer, "clock", clock.now)
    monkeypatch.setattr(transfer, "pause", clock.pause)
    return clock


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[LoopbackHub]:
    """A hub with a model and a lens, and an environment that knows no other."""
    for path, content in {
        "owner/model/model.safetensors": WEIGHTS,
        "owner/model/config.json": CONFIG,
        "owner/model/unwanted.bin": b"0" * 1000,
        "spaces/owner/lenses/lens/tiny/params.pt": WEIGHTS[::-1],
    }.items():
        (tmp_path / "hub" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub" / path).write_bytes(content)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with LoopbackHub(tmp_path / "hub") as served:
        use_endpoint(monkeypatch, served.endpoint)
        yield served


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What HF_ENDPOINT does when huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may ask for any other host, not even for its address."""
    look_up = socket.getaddrinfo

    def guarded(host: str, *arguments: object, **options: object) -> object:
        assert host in ("127.0.0.1", "localhost"), host
        return look_up(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "resources"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(**sha256: str | None) -> HubFiles:
    return HubFiles(
        repo="owner/model",
        revision=COMMIT,
        sha256={name.replace("_", "."): value for name, value in sha256.items()},
    )


MODEL = files(model_safetensors=digest(WEIGHTS))
WHAT = "model.safetensors of owner/model"


def fetch(source: HubFiles, folder: Path) -> dict[str, str]:
    return hub.fetch(source, folder, folder.parent / "hashes.json")


def refusal(source: HubFiles, folder: Path) -> str:
    """The sentence that ends a fetch."""
    with pytest.raises(UserError) as error:
        fetch(source, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_partial(folder: Path, content: bytes, process: int = 0, machine: str = "", source: HubFiles = MODEL) -> Path:
    """A partial of model.safetensors as another process leaves it; 0 stands for a process that is dead."""
    folder.mkdir(parents=True, exist_ok=True)
    if not process:
        dead = subprocess.Popen(["true"])
        dead.wait()
        process = dead.pid
    mine = partials.own(folder / "model.safetensors", str(source.sha256["model.safetensors"]))
    name = mine.name.replace(f"-{os.getpid()}.", f"-{process}.")
    if machine:
        name = re.sub(r"-[0-9a-f]{8}-", f"-{machine}-", name)
    (folder / name).write_bytes(content)
    return folder / name


def ranges(served: LoopbackHub) -> list[tuple[str | None, int]]:
    """What was asked for the weights' bytes, and how many were sent."""
    return [(request.range, request.sent) for request in served.gets("model.safetensors")]


def is_whole(folder: Path, leftovers: tuple[str, ...] = ()) -> bool:
    """Whether the weights are there, right, and nothing else is but `leftovers`."""
    return (folder / "model.safetensors").read_bytes() == WEIGHTS and set(names(folder)) == {"model.safetensors", *leftovers}


def cache(tmp_path: Path, content: bytes, name: str = "model.safetensors", etag: str = digest(WEIGHTS)) -> Path:
    """A copy in the user's Hugging Face cache, laid out as huggingface_hub does; returns the blob."""
    repo = tmp_path / "cache" / "models--owner--model"
    (repo / "blobs").mkdir(parents=True, exist_ok=True)
    (repo / "snapshots" / COMMIT).mkdir(parents=True, exist_ok=True)
    (repo / "blobs" / etag).write_bytes(content)
    (repo / "snapshots" / COMMIT / name).symlink_to(f"../../blobs/{etag}")
    return repo / "blobs" / etag


def child(served: LoopbackHub, source: HubFiles, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """A process of its own that fetches, on a file system whose locks do nothing."""
    values = {**os.environ, "HF_ENDPOINT": served.endpoint, "HF_HOME": str(folder.parent / "home"), **environment}
    arguments = [source.model_dump_json(), str(folder), str(folder.parent / "hashes.json")]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], env=values, cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# When nothing goes wrong


def test_named_files_are_fetched_and_nothing_else(served: LoopbackHub, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
    monkeypatch.setattr("replication.hashes.digest_of", lambda path: pytest.fail(f"{path} is hashed again"))
    assert fetch(MODEL, folder) == MODEL.sha256
    assert served.requests == []


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
    assert f"{folder}/model.safetensors: not {WHAT} at {COMMIT}; deleted, to be fetched again" in capfd.readouterr().err


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


# Resuming


@pytest.mark.parametrize("after", [1, 100_000, TOTAL - 1])
def test_a_cut_connection_is_resumed_at_the_byte(
    served: LoopbackHub, folder: Path, clock: Clock, capfd: pytest.CaptureFixture[str], after: int
) -> None:
    served.fault("model.safetensors", "cut", after=after)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [(None, after), (f"bytes={after}-", TOTAL - after)]
    assert clock.waits == [1.0]
    assert f"{WHAT}: the connection to localhost was cut; next attempt in 1 s\n" in capfd.readouterr().err


def test_every_attempt_starts_at_the_hub_because_signed_addresses_expire(served: LoopbackHub, folder: Path) -> None:
    served.fault("model.safetensors", "cut", times=2, after=1000)
    fetch(MODEL, folder)
    gets = [request.host for request in served.requests if request.method == "GET"]
    assert gets == ["127.0.0.1", "localhost"] * 3


def test_a_stalled_connection_is_resumed(served: LoopbackHub, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    served.fault("model.safetensors", "stall", after=1000)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [(None, 1000), ("bytes=1000-", TOTAL - 1000)]
    assert f"{WHAT}: localhost was silent for too long; next attempt in 1 s\n" in capfd.readouterr().err


def test_a_killed_run_is_resumed_at_the_byte(served: LoopbackHub, folder: Path) -> None:
    served.fault("model.safetensors", "stall", after=123_457)
    process = child(served, MODEL, folder, HF_HUB_DOWNLOAD_TIMEOUT="60")
    deadline = time.monotonic() + 20
    while not (folder.exists() and [p for p in folder.iterdir() if p.stat().st_size == 123_457]):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [partial] = folder.iterdir()
    assert partial.read_bytes() == WEIGHTS[:123_457]

    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [(None, 123_457), ("bytes=123457-", TOTAL - 123_457)]


def test_a_complete_partial_is_hashed_and_not_fetched(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, WEIGHTS)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == []


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (b"x" + WEIGHTS[1:1000], f"its SHA-256 is {digest(b'x' + WEIGHTS[1:])} instead of {digest(WEIGHTS)}"),
        (b"x" * TOTAL, f"its SHA-256 is {digest(b'x' * TOTAL)} instead of {digest(WEIGHTS)}"),
        (WEIGHTS + b"more", f"it has {TOTAL + 4} bytes instead of {TOTAL}"),
    ],
    ids=["short", "complete", "too long"],
)
def test_a_damaged_partial_is_given_up_once(
    served: LoopbackHub, folder: Path, capfd: pytest.CaptureFixture[str], content: bytes, flaw: str
) -> None:
    leave_partial(folder, content)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served)[-1] == (None, TOTAL)
    assert f"{WHAT}: {flaw}; once more from zero\n" in capfd.readouterr().err


def test_of_several_orphans_the_longest_is_continued_and_all_are_cleaned(served: LoopbackHub, folder: Path) -> None:
    for length in (10, 2000, 300):
        leave_partial(folder, WEIGHTS[:length])
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [("bytes=2000-", TOTAL - 2000)]


def test_a_partial_of_a_running_process_is_copied_and_left_to_it(served: LoopbackHub, folder: Path) -> None:
    partial = leave_partial(folder, WEIGHTS[:5000], process=os.getppid())
    fetch(MODEL, folder)
    assert is_whole(folder, (partial.name,))
    assert partial.read_bytes() == WEIGHTS[:5000]
    assert ranges(served) == [("bytes=5000-", TOTAL - 5000)]


def test_a_partial_of_another_machine_is_copied_and_cleaned_when_a_day_old(served: LoopbackHub, folder: Path) -> None:
    fresh = leave_partial(folder, WEIGHTS[:5000], machine="0" * 8)
    old = leave_partial(folder, WEIGHTS[:700], machine="1" * 8)
    os.utime(old, (time.time() - 90_000,) * 2)
    fetch(MODEL, folder)
    assert is_whole(folder, (fresh.name,))
    assert ranges(served) == [("bytes=5000-", TOTAL - 5000)]


def test_a_partial_of_another_revision_is_not_continued(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, b"other", source=files(model_safetensors="0" * 64))
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [(None, TOTAL)]


def test_files_that_only_look_like_partials_are_left_alone(served: LoopbackHub, folder: Path) -> None:
    folder.mkdir()
    others = (".model.safetensors.partial", "model.safetensors.part", ".config.json.1.partial")
    for name in others:
        (folder / name).write_text("someone's")
    fetch(MODEL, folder)
    assert is_whole(folder, others)


def test_two_runs_at_once_end_right_where_locks_do_nothing(served: LoopbackHub, folder: Path) -> None:
    served.fault("model.safetensors", "meet", times=2, after=100_000)
    runs = [child(served, MODEL, folder) for _ in range(2)]
    ends = [(run.communicate(timeout=30)[1], run.returncode) for run in runs]
    assert [end[1] for end in ends] == [0, 0], ends
    assert is_whole(folder)
    assert len(ranges(served)) == 2
    assert hub.fetch(MODEL, folder, folder.parent / "hashes.json") == MODEL.sha256


def test_a_run_that_is_overtaken_takes_the_finished_file(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_run(*_: object) -> None:
        (folder / "model.safetensors").write_bytes(WEIGHTS)

    monkeypatch.setattr(hub, "_check_space", other_run)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == []


# Answers that do not continue the partial


@pytest.mark.parametrize("kind", ["wrong_start", "wrong_size", "compressed", "no_length", "status"])
def test_an_answer_that_does_not_fit_is_not_appended(served: LoopbackHub, folder: Path, kind: str) -> None:
    leave_partial(folder, WEIGHTS[:1000])
    served.fault("model.safetensors", kind, **({"status": 416} if kind == "status" else {}))
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served)[-1] == (None, TOTAL)


def test_an_ignored_range_starts_over(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, WEIGHTS[:1000])
    served.fault("model.safetensors", "ignored_range")
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [("bytes=1000-", TOTAL)]


def test_a_server_that_ignores_ranges_and_cuts_is_given_up(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    leave_partial(folder, WEIGHTS[:1000])
    for _ in range(20):
        served.fault("model.safetensors", "status", status=500)
    assert refusal(MODEL, folder) == (
        f"{WHAT}: given up after 120 seconds without a new byte (127.0.0.1 answered 500); what has arrived is kept, "
        "and the same command goes on from there"
    )
    assert clock.waits == [1, 2, 4, 8, 16, 30, 30, pytest.approx(29, abs=1)]
    [partial] = folder.iterdir()
    assert partial.read_bytes() == WEIGHTS[:1000]


def test_a_file_that_changed_between_two_ranges_is_fetched_from_zero(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, bytes(1000))
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [("bytes=1000-", TOTAL - 1000), (None, TOTAL)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong_bytes", f"its SHA-256 is {digest(bytes(255 - b for b in WEIGHTS))} instead of {digest(WEIGHTS)}"),
        ("wrong_size", f"localhost answered 200 with {TOTAL + 7} bytes instead of {TOTAL}"),
        ("compressed", "localhost sent the file compressed, although asked not to"),
    ],
)
def test_what_is_wrong_twice_is_an_error_and_leaves_nothing(
    served: LoopbackHub, folder: Path, clock: Clock, kind: str, reason: str
) -> None:
    served.fault("model.safetensors", kind, times=2)
    assert refusal(MODEL, folder) == (
        f"{WHAT}: 127.0.0.1:{served.port} failed twice from zero: {reason}; nothing of it was kept, so check "
        "HF_ENDPOINT and the pins in config.yaml"
    )
    assert names(folder) == []
    assert clock.waits == []
    fetch(MODEL, folder)
    assert is_whole(folder)


def test_a_login_page_in_the_middle_does_not_cost_what_has_arrived(served: LoopbackHub, folder: Path) -> None:
    served.fault("model.safetensors", "cut", after=5000)
    served.fault("model.safetensors", "wrong_size")
    served.fault("model.safetensors", "no_hub", method="HEAD")
    served.fault("model.safetensors", "wrong_size")
    assert f"{WHAT}: 127.0.0.1:{served.port} does not answer as a Hugging Face hub does" in refusal(MODEL, folder)
    [partial] = folder.iterdir()
    assert partial.read_bytes() == WEIGHTS[:5000]


# Refusals and faults that pass


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "wants a login (401): the repository is private or does not exist, or HF_TOKEN is missing or has expired"),
        (403, "refuses access (403): accept the terms on the repository's page, check HF_TOKEN, or ask whether a proxy "
              "blocks that host"),
        (404, "does not have it (404): check repo, revision, path and file name"),
        (410, "answered 410, which is neither the file nor a reason to wait"),
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
    [partial] = folder.iterdir()
    assert partial.read_bytes() == WEIGHTS[:1000]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_500_then_200_is_waited_out(served: LoopbackHub, folder: Path, clock: Clock, method: str) -> None:
    served.fault("model.safetensors", "status", times=3, status=500, method=method)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert clock.waits == [1.0, 2.0, 4.0]


def test_503_for_ever_is_given_up_after_two_minutes(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    served.fault("model.safetensors", "status", times=100, status=503, method="HEAD")
    assert refusal(MODEL, folder) == (
        f"{WHAT}: given up after 120 seconds without a new byte (127.0.0.1 answered 503); what has arrived is kept, "
        "and the same command goes on from there"
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


def test_a_wait_longer_than_our_patience_is_told_and_not_waited(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    served.fault("model.safetensors", "cut", after=1000)
    served.fault("model.safetensors", "status", status=429, headers={"Retry-After": "300"})
    assert refusal(MODEL, folder) == (
        f"{WHAT}: 127.0.0.1 answered 429 and asks to wait 300 seconds, longer than we do; what has arrived is kept, "
        "and the same command goes on from there after that time"
    )
    assert clock.waits == [1.0]
    assert [path.read_bytes() for path in folder.iterdir()] == [WEIGHTS[:1000]]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_redirect_loop_ends(served: LoopbackHub, folder: Path, method: str) -> None:
    served.fault("config.json", "loop", method=method)
    assert refusal(files(config_json=digest(CONFIG)), folder) == (
        f"config.json of owner/model: 127.0.0.1:{served.port} redirects without end (10 times); check HF_ENDPOINT"
    )
    assert not (folder / "config.json").exists()


def test_another_hash_at_the_hub_is_known_before_anything_is_fetched(served: LoopbackHub, folder: Path) -> None:
    assert refusal(files(model_safetensors="0" * 64), folder) == (
        f"{WHAT}: 127.0.0.1:{served.port} has SHA-256 {digest(WEIGHTS)} at {COMMIT}, and config.yaml wants {'0' * 64}; "
        "correct the hash or the revision"
    )
    assert ranges(served) == []


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
    assert "failed twice from zero: it is no JSON;" in refusal(files(config_json=None), folder)
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
        f"{found}: this copy in the Hugging Face cache is not used (its SHA-256 is {digest(damaged)} instead of "
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
    assert refusal(MODEL, folder) == "HF_TOKEN: holds characters that no token of the Hugging Face Hub has"


# No network, no room


def test_without_a_network_the_ways_out_are_named_in_time(
    served: LoopbackHub, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{unused.getsockname()[1]}"
        use_endpoint(monkeypatch, f"http://{endpoint}")
        sentence = refusal(MODEL, folder)
    assert sentence == (
        f"{endpoint} could not be reached for model.safetensors (no connection to 127.0.0.1: Connection refused); set "
        f"HF_ENDPOINT to a mirror, put a copy into the Hugging Face cache ({constants.HF_HUB_CACHE}), name a folder "
        "with the files (folder:, lens_folder:) in config.yaml, or run the embedded model with --config model=miniature"
    )
    assert sum(clock.waits) < 30
    assert names(folder) == []


def test_a_name_look_up_that_hangs_ends_in_time(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    monkeypatch.setattr(hub, "FIRST_ANSWER", 0.2)
    assert "could not be reached for model.safetensors (no answer in 0 seconds); set HF_ENDPOINT" in refusal(MODEL, folder)
    released.set()
    assert hub.FIRST_ANSWER < 30 and transfer.FIRST_CONTACT < 30


def test_offline_asks_nothing_and_names_the_ways_out(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal(MODEL, folder).startswith(
        f"HF_HUB_OFFLINE is set, and no good copy of model.safetensors of owner/model at {COMMIT} lies in {folder} or in "
        "the cache; unset it, set HF_ENDPOINT to a mirror"
    )
    assert served.requests == []


@pytest.mark.parametrize("endpoint", ["hf-mirror.example", "ftp://hf-mirror.example"])
def test_an_endpoint_that_is_no_address_is_named(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    use_endpoint(monkeypatch, endpoint)
    assert refusal(MODEL, folder) == f"HF_ENDPOINT: needs an address that starts with https://, found {endpoint!r}"


def test_free_space_is_checked_before_anything_is_fetched(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_partial(folder, WEIGHTS[:100_000])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 199_999})())
    assert refusal(MODEL, folder) == (
        f"{folder}: 200.00 kB are still to be fetched, and 200.00 kB are free there; make room and run the same command "
        "again"
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
        [sys.executable, "-c", limited, *arguments], env=environment, cwd=REPOSITORY, text=True, capture_output=True
    )
    assert run.stderr == (
        f"{folder}: File too large; what has arrived is kept, and the same command goes on from there once this is mended\n"
    )
    assert [path.read_bytes() for path in folder.iterdir()] == [WEIGHTS[:100_000]]
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served)[-1] == ("bytes=100000-", TOTAL - 100_000)


# The environment, as a process of its own reads it


def test_cache_proxy_and_token_of_the_environment_are_honoured(served: LoopbackHub, folder: Path) -> None:
    cache(folder.parent / "home", WEIGHTS)
    (folder.parent / "home" / "cache").rename(folder.parent / "home" / "hub")
    source = files(model_safetensors=digest(WEIGHTS), unwanted_bin=digest(b"0" * 1000))
    # The loopback hub is the proxy, and answers for all hosts; without it, neither could be reached.
    environment = {"HTTP_PROXY": served.endpoint, "http_proxy": served.endpoint, "NO_PROXY": "", "no_proxy": ""}
    run = child(served, source, folder, HF_ENDPOINT="http://hub.invalid", HF_TOKEN=TOKEN, **environment)
    output = run.communicate(timeout=30)
    assert run.returncode == 0, output
    assert (folder / "model.safetensors").is_symlink()
    assert {request.name for request in served.requests} == {"unwanted.bin"}
    sent = {(request.host, request.authorization) for request in served.requests}
    assert sent == {("hub.invalid", f"Bearer {TOKEN}"), ("localhost", None)}
    assert TOKEN not in "".join(output)


def test_the_module_imports_without_torch() -> None:
    code = "import sys, replication.hub; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
