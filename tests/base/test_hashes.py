"""SHA-256 of files, and the memory that saves hashing them again."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from replication.base import hashes
from replication.base.hashes import sha256
from replication.base.paths import REPOSITORY

CONTENT = b"weights" * 1000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read."""
    files: list[Path] = []
    digest_of = hashes.digest_of
    monkeypatch.setattr(hashes, "digest_of", lambda path: files.append(path) or digest_of(path))
    return files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(CONTENT)
    return tmp_path / "weights"


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "resources" / "hashes.json"


def where(path: Path) -> str:
    return f"{path} on device {path.stat().st_dev}"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_hash_is_sha256_at_every_chunk_boundary(path, memory, size):
    path.write_bytes(b"x" * size)
    assert sha256(path, memory) == digest(b"x" * size)


def test_the_git_blob_id_is_git_s(path):
    path.write_bytes(b"test content\n")
    # `echo 'test content' | git hash-object --stdin`, printed in Pro Git, 2nd edition, section 10.2.
    assert hashes.git_blob_id(path) == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"


def test_an_unchanged_file_is_hashed_once(path, memory, read):
    assert [sha256(path, memory) for _ in range(3)] == [digest(CONTENT)] * 3
    assert len(read) == 1


def test_a_link_and_its_file_share_a_memory(path, memory, read, tmp_path):
    (tmp_path / "link").symlink_to(path)
    assert sha256(path, memory) == sha256(tmp_path / "link", memory) == digest(CONTENT)
    assert len(read) == 1


def test_same_size_and_times_set_back_is_still_noticed(path, memory):
    sha256(path, memory)
    before = path.stat()
    other = b"W" + CONTENT[1:]
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # The clock of a file system ticks every few milliseconds.
        path.write_bytes(other)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert sha256(path, memory) == digest(other)


def test_each_device_that_a_path_is_on_has_an_entry_of_its_own(path, memory, read):
    """As on two machines of a cluster that have the same folder over the network."""
    sha256(path, memory)
    other = f"{path} on device 7"
    memory.write_text(json.dumps({other: json.loads(memory.read_text())[where(path)]}))
    assert [sha256(path, memory) for _ in range(2)] == [digest(CONTENT)] * 2
    assert len(read) == 2
    assert set(json.loads(memory.read_text())) == {where(path), other}


@pytest.mark.parametrize("key", ["size", "mtime_ns", "ctime_ns", "inode"])
def test_each_part_of_the_state_counts(path, memory, read, key):
    sha256(path, memory)
    entries = json.loads(memory.read_text())
    entries[where(path)][key] += 1
    memory.write_text(json.dumps(entries))
    sha256(path, memory)
    assert len(read) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', "null", '{"PATH": 1}', '{"PATH": {"sha256": "x"}}', "\udcff", '{"PATH": []}']
)
def test_a_damaged_memory_is_ignored_and_replaced(path, memory, read, text):
    memory.parent.mkdir()
    memory.write_bytes(text.replace("PATH", str(path)).encode(errors="surrogateescape"))
    assert [sha256(path, memory) for _ in range(2)] == [digest(CONTENT)] * 2
    assert len(read) == 1


def test_a_recorded_value_that_is_not_a_hash_is_not_used(path, memory):
    sha256(path, memory)
    memory.write_text(memory.read_text().replace(digest(CONTENT), "right, I promise"))
    assert sha256(path, memory) == digest(CONTENT)


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(path, memory, monkeypatch):
    grow = CONTENT + b"more"
    monkeypatch.setattr(hashes, "digest_of", lambda path: path.write_bytes(grow) and digest(CONTENT))
    sha256(path, memory)
    assert not memory.exists()


def test_a_memory_that_cannot_be_written_does_no_harm(path, tmp_path):
    (tmp_path / "resources").write_text("no folder")
    assert sha256(path, tmp_path / "resources" / "hashes.json") == digest(CONTENT)


def test_other_files_stay_remembered(path, memory, read, tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    for _ in range(2):
        sha256(path, memory)
        sha256(tmp_path / "other", memory)
    assert len(read) == 2


def test_processes_at_once_leave_a_memory_that_is_whole(path, memory):
    code = (
        "import sys; from pathlib import Path; from replication.base.hashes import remember\n"
        "for i in range(15): remember(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), digit * 64, str(memory)], cwd=REPOSITORY)
        for digit in "ab"
    ]
    while any(writer.poll() is None for writer in writers):
        assert not memory.exists() or json.loads(memory.read_text())[where(path)]["sha256"][0] in "ab"
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [path.name for path in memory.parent.iterdir()] == ["hashes.json"]


def test_a_missing_file_is_the_caller_s_business(tmp_path, memory):
    with pytest.raises(FileNotFoundError):
        sha256(tmp_path / "none", memory)
