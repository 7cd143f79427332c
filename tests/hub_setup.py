"""The model at the loopback hub, and what the tests that fetch it share."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback_hub import LoopbackHub

from replication.base.config import HubFiles
from replication.base.errors import UserError
from replication.base.paths import REPOSITORY
from replication.weights import fetch as module

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


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """What HF_ENDPOINT does when huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wrong_hash(content: bytes) -> str:
    """How messages say that this is not the weights."""
    return f"its SHA-256 is {digest(content)} instead of {digest(WEIGHTS)}"


def files(**sha256: str | None) -> HubFiles:
    return HubFiles(
        repo="owner/model",
        revision=COMMIT,
        sha256={name.replace("_", "."): value for name, value in sha256.items()},
    )


MODEL = files(model_safetensors=digest(WEIGHTS))
WHAT = "model.safetensors of owner/model"


def fetch(folder: Path, source: HubFiles = MODEL) -> dict[str, str]:
    return module.fetch(source, folder, folder.parent / "hashes.json")


def refusal(folder: Path, source: HubFiles = MODEL) -> str:
    """The sentence that ends a fetch."""
    with pytest.raises(UserError) as error:
        fetch(folder, source)
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


def fetch_whole(folder: Path, leftovers: tuple[str, ...] = ()) -> None:
    """Fetches the model, after which the weights are there, right, and nothing else is but `leftovers`."""
    assert fetch(folder) == MODEL.sha256
    assert is_whole(folder, leftovers), names(folder)


def cache(tmp_path: Path, content: bytes, name: str = "model.safetensors", etag: str = digest(WEIGHTS)) -> Path:
    """A copy in the user's Hugging Face cache, laid out as huggingface_hub does; returns the blob."""
    repo = tmp_path / "cache" / "models--owner--model"
    (repo / "blobs").mkdir(parents=True, exist_ok=True)
    (repo / "snapshots" / COMMIT).mkdir(parents=True, exist_ok=True)
    (repo / "blobs" / etag).write_bytes(content)
    (repo / "snapshots" / COMMIT / name).symlink_to(f"../../blobs/{etag}")
    return repo / "blobs" / etag


def child(
    served: LoopbackHub, source: HubFiles, folder: Path, first: str = "", **environment: str
) -> "subprocess.Popen[str]":
    """A process of its own that runs `first` and fetches, on a file system whose locks do nothing."""
    values = {
        **os.environ,
        "HF_ENDPOINT": served.endpoint,
        "HF_HOME": str(folder.parent / "home"),
        **environment,
    }
    arguments = [source.model_dump_json(), str(folder), str(folder.parent / "hashes.json")]
    return subprocess.Popen(
        [sys.executable, "-c", first + CHILD, *arguments], env=values, cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
