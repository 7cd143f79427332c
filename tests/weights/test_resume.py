"""Downloads that are interrupted by the network or by SIGKILL."""

import time

import hub_setup as hub
import pytest


@pytest.mark.parametrize("after", [1, 100_000, hub.TOTAL - 1])
def test_a_cut_connection_is_resumed_at_the_byte(served, folder, clock, capfd, after):
    served.fault("model.safetensors", "cut", after=after)
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [(None, after), (f"bytes={after}-", hub.TOTAL - after)]
    assert clock.waits == [1.0]
    assert f"{hub.WHAT}: the connection to localhost was lost; next attempt in 1 s\n" in capfd.readouterr().err


def test_every_attempt_starts_at_the_hub_because_signed_addresses_expire(served, folder):
    served.fault("model.safetensors", "cut", times=2, after=1000)
    hub.fetch(folder)
    gets = [request.host for request in served.requests if request.method == "GET"]
    assert gets == ["127.0.0.1", "localhost"] * 3


def test_a_stalled_connection_is_resumed(served, folder, capfd):
    served.fault("model.safetensors", "stall", after=1000)
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [(None, 1000), ("bytes=1000-", hub.TOTAL - 1000)]
    assert f"{hub.WHAT}: localhost did not send anything for too long; next attempt in 1 s\n" in capfd.readouterr().err


def test_a_killed_download_is_continued_at_the_byte_under_any_host_name(served, folder):
    """A container has another host name at every start; five starts must not leave five copies."""
    step = 12_345
    for start in range(1, 6):
        served.fault("model.safetensors", "stall", after=step)
        process = hub.child(
            served, hub.MODEL, folder, HF_HUB_DOWNLOAD_TIMEOUT="60", TEST_HOST_NAME=f"container-{start}"
        )
        deadline = time.monotonic() + 20
        while not (folder.exists() and [p for p in folder.iterdir() if p.stat().st_size == start * step]):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, [(p, p.stat().st_size) for p in folder.iterdir()]
            time.sleep(0.01)
        process.kill()
        process.communicate()
        [partial] = folder.iterdir()
        assert partial.read_bytes() == hub.WEIGHTS[: start * step]

    hub.fetch_whole(folder)
    offsets = [None, *(f"bytes={start * step}-" for start in range(1, 6))]
    assert hub.ranges(served) == [*((offset, step) for offset in offsets[:-1]), (offsets[-1], hub.TOTAL - 5 * step)]


def test_a_complete_partial_is_hashed_and_not_fetched(served, folder):
    hub.leave_partial(folder, hub.WEIGHTS)
    hub.fetch_whole(folder)
    assert hub.ranges(served) == []


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (b"x" + hub.WEIGHTS[1:1000], hub.wrong_hash(b"x" + hub.WEIGHTS[1:])),
        (b"x" * hub.TOTAL, hub.wrong_hash(b"x" * hub.TOTAL)),
        (hub.WEIGHTS + b"more", f"it has {hub.TOTAL + 4} bytes instead of {hub.TOTAL}"),
    ],
    ids=["short", "complete", "too long"],
)
def test_a_damaged_partial_is_given_up_once(served, folder, capfd, content, flaw):
    hub.leave_partial(folder, content)
    hub.fetch_whole(folder)
    assert hub.ranges(served)[-1] == (None, hub.TOTAL)
    assert f"{hub.WHAT}: {flaw}; starting over\n" in capfd.readouterr().err


# Answers that do not continue the partial


@pytest.mark.parametrize("kind", ["wrong_start", "wrong_size", "compressed", "no_length", "status"])
def test_an_answer_that_does_not_fit_is_not_appended(served, folder, kind):
    hub.leave_partial(folder, hub.WEIGHTS[:1000])
    served.fault("model.safetensors", kind, **({"status": 416} if kind == "status" else {}))
    hub.fetch_whole(folder)
    assert hub.ranges(served)[-1] == (None, hub.TOTAL)


def test_an_ignored_range_starts_over(served, folder):
    hub.leave_partial(folder, hub.WEIGHTS[:1000])
    served.fault("model.safetensors", "ignored_range")
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [("bytes=1000-", hub.TOTAL)]


def test_what_is_sent_from_zero_replaces_what_was_there(served, folder):
    hub.leave_partial(folder, b"?" * 5000)
    served.fault("model.safetensors", "cut_from_zero", after=1000)
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [("bytes=5000-", 1000), ("bytes=1000-", hub.TOTAL - 1000)]


def test_a_server_that_ignores_ranges_and_cuts_is_given_up(served, folder, clock):
    served.fault("model.safetensors", "cut_from_zero", times=20, after=1000)
    assert hub.refusal(folder) == (
        f"{hub.WHAT}: given up after 120 seconds without a new byte (the connection to localhost was lost); "
        "what has been downloaded is kept: run the same command again to continue"
    )
    assert clock.waits == [1, 2, 4, 8, 16, 30, 30, pytest.approx(29, abs=1)]
    assert {sent for _, sent in hub.ranges(served)} == {1000}
    [left] = folder.iterdir()
    assert left.read_bytes() == hub.WEIGHTS[:1000]


def test_a_file_that_changed_between_two_ranges_is_fetched_from_zero(served, folder):
    hub.leave_partial(folder, bytes(1000))
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [("bytes=1000-", hub.TOTAL - 1000), (None, hub.TOTAL)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong_bytes", hub.wrong_hash(bytes(255 - b for b in hub.WEIGHTS))),
        ("wrong_size", f"localhost answered 200 with {hub.TOTAL + 7} bytes instead of {hub.TOTAL}"),
        ("compressed", "localhost sent the file compressed although it was asked not to"),
    ],
)
def test_what_is_wrong_twice_is_an_error_and_leaves_nothing(served, folder, clock, kind, reason):
    served.fault("model.safetensors", kind, times=2)
    assert hub.refusal(folder) == (
        f"{hub.WHAT}: 127.0.0.1:{served.port} failed twice: {reason}; nothing of it was kept, so check "
        "HF_ENDPOINT and the pins in config.yaml"
    )
    assert hub.names(folder) == []
    assert clock.waits == []
    hub.fetch_whole(folder)


def test_a_login_page_in_the_middle_does_not_cost_what_has_arrived(served, folder):
    served.fault("model.safetensors", "cut", after=5000)
    served.fault("model.safetensors", "wrong_size")
    served.fault("model.safetensors", "login_page", method="HEAD")
    assert f"{hub.WHAT}: 127.0.0.1:{served.port} does not answer as a Hugging Face hub does" in hub.refusal(folder)
    [left] = folder.iterdir()
    assert left.read_bytes() == hub.WEIGHTS[:5000]
