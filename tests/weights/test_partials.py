"""Partial downloads: which are continued, which deleted, and two processes that write to one."""

from pathlib import Path
from typing import Any

import hub_setup as hub
import pytest

from replication.base.hashes import digest_of
from replication.weights import fetch, transfer

OTHER_PIN = hub.files(model_safetensors="0" * 64)


def leave_strays(folder: Path) -> list[Path]:
    """Partials that are not continued: under another pin, or named as earlier versions did."""
    return [
        hub.leave_partial(folder, hub.WEIGHTS[:2000], source=OTHER_PIN),
        hub.leave_partial(folder, hub.WEIGHTS[:3000], source=OTHER_PIN, writer="-0123abcd-7"),
        hub.leave_partial(folder, hub.WEIGHTS[:4000], writer="-0123abcd-7"),
        hub.leave_partial(folder, hub.WEIGHTS[:5000], writer="-89ef4567-4194304"),
    ]


def test_partials_under_another_pin_make_room_for_the_download(served, folder, monkeypatch):
    strays = leave_strays(folder)
    left = lambda: any(stray.exists() for stray in strays)  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0 if left() else hub.TOTAL})())
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [(None, hub.TOTAL)]


def test_partials_under_another_pin_do_not_cost_the_one_under_ours(served, folder):
    leave_strays(folder)
    hub.leave_partial(folder, hub.WEIGHTS[:1000])
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [("bytes=1000-", hub.TOTAL - 1000)]


@pytest.mark.parametrize("there", ["file", "copy in the cache"])
def test_partials_are_deleted_when_the_file_is_complete(served, folder, tmp_path, there):
    leave_strays(folder)
    hub.leave_partial(folder, hub.WEIGHTS[:1000])
    if there == "file":
        (folder / "model.safetensors").write_bytes(hub.WEIGHTS)
    else:
        hub.cache(tmp_path, hub.WEIGHTS)
    hub.fetch_whole(folder)
    assert served.requests == []


def test_partials_under_another_pin_stay_while_the_hub_refuses(served, folder):
    """A revision that is mistyped must not cost the download under the right one."""
    strays = leave_strays(folder)
    served.fault("model.safetensors", "status", status=404, method="HEAD")
    hub.refusal(folder)
    assert hub.names(folder) == sorted(stray.name for stray in strays)


def test_files_that_only_look_like_partials_are_left_alone(served, folder):
    folder.mkdir()
    others = (
        ".model.safetensors.partial",
        "model.safetensors.part",
        ".model.safetensors.0123abcd.partial.bak",
        ".model-safetensors.0123abcd.partial",
        ".config.json.0123abcd.partial",
    )
    for name in others:
        (folder / name).write_text("someone's")
    hub.fetch_whole(folder, others)


# Two processes that write to one partial: a job that outlived its Snakemake, and the next run's


def test_two_downloads_at_once_end_right_where_locks_do_nothing(served, folder):
    served.fault("model.safetensors", "meet", times=2, after=100_000)
    runs = [hub.child(served, hub.MODEL, folder) for _ in range(2)]
    ends = [(run.communicate(timeout=30)[1], run.returncode) for run in runs]
    assert [end[1] for end in ends] == [0, 0], ends
    assert hub.is_whole(folder)
    assert len(hub.ranges(served)) == 2
    assert hub.fetch(folder) == hub.MODEL.sha256


def test_what_another_process_appends_is_never_cut_off(served, folder, monkeypatch):
    partial = hub.leave_partial(folder, hub.WEIGHTS[:1000])
    first_byte = transfer.first_byte

    def overtaken(*arguments: Any) -> int:
        monkeypatch.setattr(transfer, "first_byte", first_byte)
        partial.write_bytes(hub.WEIGHTS[:5000])
        return first_byte(*arguments)

    monkeypatch.setattr(transfer, "first_byte", overtaken)
    served.fault("model.safetensors", "cut", after=10)
    hub.fetch_whole(folder)
    assert hub.ranges(served) == [("bytes=1000-", 10), ("bytes=5000-", hub.TOTAL - 5000)]


def test_a_start_from_zero_leaves_the_file_of_another_process_alone(served, folder):
    served.fault("model.safetensors", "ignored_range")
    with hub.leave_partial(folder, hub.WEIGHTS[:1000]).open("rb") as another_process_has_it_open:
        hub.fetch(folder)
        assert another_process_has_it_open.read() == hub.WEIGHTS[:1000]
    assert hub.is_whole(folder)


def test_a_file_that_another_process_finished_before_the_download_is_taken(served, folder, monkeypatch):
    monkeypatch.setattr(fetch, "_check_space", lambda *_: (folder / "model.safetensors").write_bytes(hub.WEIGHTS))
    hub.fetch_whole(folder)
    assert hub.ranges(served) == []


@pytest.mark.parametrize("finished", [True, False])
def test_a_partial_that_goes_during_the_download_is_the_finished_file_or_an_error(
    served, folder, monkeypatch, finished
):
    def another_process(partial: Path) -> str:
        monkeypatch.setattr(fetch, "digest_of", digest_of)
        partial.rename(folder / ("model.safetensors" if finished else "elsewhere"))
        return digest_of(partial)

    monkeypatch.setattr(fetch, "digest_of", another_process)
    if finished:
        hub.fetch(folder)
        assert hub.is_whole(folder)
    else:
        assert ".partial: No such file or directory; " in hub.refusal(folder)
