"""Downloads that were interrupted, by the network, by SIGKILL or by each other."""

import os
import signal
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

from replication.weights import fetch as hub


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
    [left] = folder.iterdir()
    assert left.read_bytes() == WEIGHTS[:123_457]

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


def test_of_several_orphans_the_longest_is_continued_and_all_are_cleaned(
    served: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for length in (10, 2000, 300):
        leave_partial(folder, WEIGHTS[:length])
    monkeypatch.setattr("shutil.copyfile", lambda source, _: pytest.fail(f"{source} is copied, not taken over"))
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


def test_what_is_sent_from_zero_replaces_what_was_there(served: LoopbackHub, folder: Path) -> None:
    leave_partial(folder, b"?" * 5000)
    served.fault("model.safetensors", "cut_from_zero", after=1000)
    fetch(MODEL, folder)
    assert is_whole(folder)
    assert ranges(served) == [("bytes=5000-", 1000), ("bytes=1000-", TOTAL - 1000)]


def test_a_server_that_ignores_ranges_and_cuts_is_given_up(served: LoopbackHub, folder: Path, clock: Clock) -> None:
    served.fault("model.safetensors", "cut_from_zero", times=20, after=1000)
    assert refusal(MODEL, folder) == (
        f"{WHAT}: given up after 120 seconds without a new byte (the connection to localhost was cut); "
        "what has arrived "
        "is kept, and the same command goes on from there"
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
    [left] = folder.iterdir()
    assert left.read_bytes() == WEIGHTS[:5000]
