"""A loopback hub with a model, and what its tests share. Test files import the three fixtures."""

import hashlib
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub

from replication.base.config import HubFiles
from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.weights import fetch as hub
from replication.weights import transfer

COMMIT = "15ea56dee5df4983c59b2538573817e1667135e2"
TOKEN = "hf_notforothers"
WEIGHTS = random.Random(0).randbytes(300_000)
TOTAL = len(WEIGHTS)
CONFIG = b'{"n_layer": 48}\n'
CHILD = """
import fcntl, os, socket, sys
fcntl.flock = fcntl.lockf = lambda *_: None
name = os.environ.get("TEST_HOST_NAME", socket.gethostname())
socket.gethostname = lambda: name
from pathlib import Path
from replication.base.config import HubFiles
from replication.base.errors import UserError
from replication.weights.fetch import fetch
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


@pytest.fixture(name="clock")
def clock_fixture(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(transfer, "clock", clock.now)
    monkeypatch.setattr(transfer, "pause", clock.pause)
    return clock


@pytest.fixture(name="served")
def served_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[LoopbackHub]:
    """A hub with a model and a lens, and an environment that knows no other."""
    allow_loopback_only(monkeypatch)
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
    # Reading the certificates takes 0.1 s, and here nothing is encrypted.
    monkeypatch.setattr(httpx2, "Client", partial(httpx2.Client, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
    with LoopbackHub(tmp_path / "hub") as served:
        use_endpoint(monkeypatch, served.endpoint)
        yield served


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What HF_ENDPOINT does when huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def allow_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test that uses a hub may ask for any other host, not even for its address."""
    look_up = socket.getaddrinfo

    def guarded(host: str, *arguments: object, **options: object) -> object:
        assert host in ("127.0.0.1", "localhost"), host
        return look_up(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
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


def leave_partial(folder: Path, content: bytes, source: HubFiles = MODEL, writer: str = "") -> Path:
    """A partial of model.safetensors; `writer` is the machine and process that earlier versions put into its name."""
    folder.mkdir(parents=True, exist_ok=True)
    pin = digest(str(source.sha256["model.safetensors"]).encode())[:8]
    partial = folder / f".model.safetensors.{pin}{writer}.partial"
    partial.write_bytes(content)
    return partial


def ranges(served: LoopbackHub) -> list[tuple[str | None, int]]:
    """What was asked for the weights' bytes, and how many were sent."""
    return [(request.range, request.sent) for request in served.gets("model.safetensors")]


def is_whole(folder: Path, leftovers: tuple[str, ...] = ()) -> bool:
    """Whether the weights are there, right, and nothing else is but `leftovers`."""
    return (folder / "model.safetensors").read_bytes() == WEIGHTS and set(names(folder)) == {
        "model.safetensors",
        *leftovers,
    }


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
    values = {
        **os.environ,
        "HF_ENDPOINT": served.endpoint,
        "HF_HOME": str(folder.parent / "home"),
        **environment,
    }
    arguments = [source.model_dump_json(), str(folder), str(folder.parent / "hashes.json")]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], env=values, cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
