"""A loopback hub with a model, a folder to fetch into, and a clock on which waiting takes no time."""

import socket
import ssl
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from hub_setup import CONFIG, WEIGHTS, use_endpoint
from huggingface_hub import constants
from loopback_hub import LoopbackHub

from replication.weights import transfer


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
    ours = Clock()
    monkeypatch.setattr(transfer, "clock", ours.now)
    monkeypatch.setattr(transfer, "pause", ours.pause)
    return ours


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[LoopbackHub]:
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
    with LoopbackHub(tmp_path / "hub") as hub:
        use_endpoint(monkeypatch, hub.endpoint)
        yield hub


def allow_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test that uses a hub may ask for any other host, not even for its address."""
    look_up = socket.getaddrinfo

    def guarded(host: str, *arguments: object, **options: object) -> object:
        assert host in ("127.0.0.1", "localhost"), host
        return look_up(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "resources"
