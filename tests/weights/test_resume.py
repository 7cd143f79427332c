"""Downloads that are interrupted by the network or by SIGKILL."""

import time
from pathlib import Path

import pytest
from hub_setup import (  # noqa: F401
    MODEL,
    TOTAL,
    WEIGHTS,
    WHAT,
    Clock,
    child,
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
)
from loopback_hub import LoopbackHub


@pytest.mark.parametrize("after", [1, 100_000, TOTAL - 1])
def test_a_cut_connection_is_resumed_at_the_byte(
    served: LoopbackHub, folder: Path, clock: Clock, capfd: pytest.CaptureFixture[str], after: int
) -> None:
    served.fault("model.safetensors", "cut", after=after)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [(None, after), (f"bytes={after}-", TOTAL - after)]
    assert clock.waits == [1.0]
    assert f"{WHAT}: the connection to localhost was lost; next attempt in 1 s\n" in capfd.readouterr().err


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
    assert f"{WHAT}: localhost did not send anything for too long; next attempt in 1 s\n" in capfd.readouterr().err


def test_a_killed_download_is_continued_at_the_byte_under_any_host_name(served: LoopbackHub, folder: Path) -> None:
    """A container has another host name at every start; five starts must not leave five copies."""
    step = 12_345
    for start in range(1, 6):
        served.fault("model.safetensors", "stall", after=step)
        process = child(served, MODEL, folder, HF_HUB_DOWNLOAD_TIMEOUT="60", TEST_HOST_NAME=f"container-{start}")
        deadline = time.monotonic() + 20
        while not (folder.exists() and [p for p in folder.iterdir() if p.stat().st_size == start * step]):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, [(p, p.stat().st_size) for p in folder.iterdir()]
            time.sleep(0.01)
        process.kill()
        process.communicate()
        [partial] = folder.iterdir()
        assert partial.read_bytes() == WEIGHTS[: start * step]

    fetch(MODEL, folder)
    assert is_whole(folder)
    offsets = [None, *(f"bytes={start * step}-" for start in range(1, 6))]
    assert ranges(served) == [*((offset, step) for offset in offsets[:-1]), (offsets[-1], TOTAL - 5 * step)]


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
    assert f"{WHAT}: {flaw}; starting over\n" in capfd.readouterr().err


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


def test_what_is_sent_from_zero_replaces_what_was_there(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, b"?" * 5000)
    served.fault("model.safetensors", "cut_from_zero", after=1000)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [("bytes=5000-", 1000), ("bytes=1000-", TOTAL - 1000)]


def test_a_server_that_ignores_ranges_and_cuts_is_given_up(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    served.fault("model.safetensors", "cut_from_zero", times=20, after=1000)
    assert refusal(MODEL, folder) == (
        f"{WHAT}: given up after 120 seconds without a new byte (the connection to localhost was lost); "
        "what has been downloaded is kept: run the same command again to continue"
    )
    assert clock.waits == [1, 2, 4, 8, 16, 30, 30, pytest.approx(29, abs=1)]
    assert {sent for _, sent in ranges(served)} == {1000}
    [left] = folder.iterdir()
    assert left.read_bytes() == WEIGHTS[:1000]


def test_a_file_that_changed_between_two_ranges_is_fetched_from_zero(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, bytes(1000))
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [("bytes=1000-", TOTAL - 1000), (None, TOTAL)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (
            "wrong_bytes",
            f"its SHA-256 is {digest(bytes(255 - b for b in WEIGHTS))} instead of {digest(WEIGHTS)}",
        ),
        ("wrong_size", f"localhost answered 200 with {TOTAL + 7} bytes instead of {TOTAL}"),
        ("compressed", "localhost sent the file compressed although it was asked not to"),
    ],
)
def test_what_is_wrong_twice_is_an_error_and_leaves_nothing(
    served: LoopbackHub, folder: Path, clock: Clock, kind: str, reason: str
) -> None:
    served.fault("model.safetensors", kind, times=2)
    assert refusal(MODEL, folder) == (
        f"{WHAT}: 127.0.0.1:{served.port} failed twice: {reason}; nothing of it was kept, so check "
        "HF_ENDPOINT and the pins in config.yaml"
    )
    assert names(folder) == []
    assert clock.waits == []
    fetch(MODEL, folder)
    assert is_whole(folder)


def test_a_login_page_in_the_middle_does_not_cost_what_has_arrived(served: LoopbackHub, folder: Path) -> None:
    served.fault("model.safetensors", "cut", after=5000)
    served.fault("model.safetensors", "wrong_size")
    served.fault("model.safetensors", "login_page", method="HEAD")
    served.fault("model.safetensors", "wrong_size")
    assert f"{WHAT}: 127.0.0.1:{served.port} does not answer as a Hugging Face hub does" in refusal(MODEL, folder)
    [left] = folder.iterdir()
    assert left.read_bytes() == WEIGHTS[:5000]
