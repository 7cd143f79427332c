"""A Hugging Face hub on 127.0.0.1, over a folder of files, with faults to switch on.

The folder holds one folder per repository: `<owner>/<name>/<files>` for models,
`spaces/<owner>/<name>/<files>` for spaces. Any revision is served, and named as the commit asked for. Like
the real hub, it redirects LFS files (.safetensors, .pt, .bin) to a signed address at another host name
(`localhost` instead of `127.0.0.1`); a signature is good for one answer. Other files come from the hub
itself, after a relative redirect.

For a person:

    python tests/loopback_hub.py FOLDER
    HF_ENDPOINT=http://127.0.0.1:<port> snakemake --cores 4
"""

import hashlib
import itertools
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

# As a forward proxy (HTTP_PROXY) it answers for every host itself.
LFS = (".safetensors", ".pt", ".bin")
CHUNK = 1 << 20
BODY_FAULTS = ("cut", "stall", "meet", "cut_from_zero", "ignored_range", "no_length", "wrong_bytes",
               "wrong_size", "wrong_start", "compressed")  # fmt: skip
ADDRESS = re.compile(r"/((?:spaces/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the body of a file."""

    kind: str
    """cut, stall, meet (wait for the other client), cut_from_zero (cut, and the range ignored), status,
    ignored_range, no_length, wrong_bytes, wrong_size, wrong_start, compressed; of the hub's own answer: loop,
    no_hub (no X-Repo-Commit)."""
    after: int = 0
    """Bytes of the body that still come (cut, stall, meet)."""
    status: int = 500
    """Answer (status)."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of that answer."""
    method: str = "GET"
    """Requests concerned."""


@dataclass
class Request:
    """One request as the hub saw it."""

    method: str
    host: str
    name: str
    range: str | None
    authorization: str | None
    encoding: str | None
    sent: int = 0
    """Bytes of the body handed to the network."""


class LoopbackHub:
    """The server; a context manager. `requests` is what was asked, in order."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.meeting = threading.Barrier(2)
        self.signatures: set[str] = set()
        self.numbers = itertools.count()
        self._faults: dict[str, list[Fault]] = {}
        self._etags: dict[tuple[Path, int], str] = {}
        self._lock = threading.Lock()
        for path in folder.rglob("*"):
            if path.is_file():
                self.etag(path)  # Gigabytes are hashed before anyone waits for an answer.
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, name: str, kind: str, times: int = 1, **details: Any) -> None:
        """From now on, the next `times` requests for the file called `name` go wrong."""
        self._faults.setdefault(name, []).extend([Fault(kind, **details)] * times)

    def next_fault(self, name: str, method: str, *kinds: str) -> Fault | None:
        """Takes the fault that this request meets, if any."""
        with self._lock:
            waiting = self._faults.get(name, [])
            if waiting and waiting[0].method == method and waiting[0].kind in kinds:
                return waiting.pop(0)
        return None

    def gets(self, name: str) -> list[Request]:
        """The requests for a file's body that were answered with one or refused, redirects left out."""
        return [r for r in self.requests if r.name == name and r.method == "GET" and not r.sent < 0]

    def etag(self, path: Path) -> str:
        """SHA-256 of an LFS file, git blob id of another."""
        key = path, path.stat().st_mtime_ns
        if key not in self._etags:
            lfs = path.name.endswith(LFS)
            algorithm = hashlib.sha256() if lfs else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    algorithm.update(chunk)
            self._etags[key] = algorithm.hexdigest()
        return self._etags[key]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: LoopbackHub

    def handle_error(self, *_: object) -> None:
        """A client that went away is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server.hub
        route, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        stored = route in ("cdn", "stored")
        match = ADDRESS.fullmatch("/" + rest if stored else urlsplit(self.path).path)
        name = Path(unquote(match[3])).name if match else self.path
        path = hub.folder / match[1] / unquote(match[3]) if match else hub.folder / "none"
        self.record = Request(
            self.command, self.headers["Host"].partition(":")[0], name, self.headers["Range"],
            self.headers["Authorization"], self.headers["Accept-Encoding"],
        )  # fmt: skip
        hub.requests.append(self.record)
        if not match or not path.is_file():
            return self._refuse(404)
        if route == "cdn":
            signature = urlsplit(self.path).query
            if signature not in hub.signatures:
                return self._refuse(403)
            hub.signatures.discard(signature)
        if fault := hub.next_fault(name, self.command, "status"):
            return self._refuse(fault.status, fault.headers)
        if not stored:
            return self._redirect(path, match[2])
        return self._body(path, match[2])

    def _redirect(self, path: Path, commit: str) -> None:
        """The hub's own answer: what the file is, and where it lies."""
        hub = self.server.hub
        address = urlsplit(self.path).path
        self.record.sent = -1
        self.send_response(302)
        if hub.next_fault(path.name, self.command, "loop"):
            hub.fault(path.name, "loop", method=self.command)
            self.send_header("Location", address)
        elif path.name.endswith(LFS):
            signature = f"Signature={next(hub.numbers)}"
            hub.signatures.add(signature)
            self.send_header("Location", f"http://localhost:{hub.port}/cdn{address}?{signature}")
            self.send_header("X-Linked-Size", str(path.stat().st_size))
            self.send_header("X-Linked-Etag", f'"{hub.etag(path)}"')
        else:
            self.send_header("Location", f"/stored{address}")
        if not hub.next_fault(path.name, self.command, "no_hub"):
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _body(self, path: Path, commit: str) -> None:
        hub = self.server.hub
        fault = hub.next_fault(path.name, self.command, *BODY_FAULTS) or Fault("none")
        total = path.stat().st_size + (7 if fault.kind == "wrong_size" else 0)
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and fault.kind not in ("ignored_range", "no_length", "cut_from_zero"):
            start = int(asked[1])
            if start >= total:
                return self._refuse(416, {"Content-Range": f"bytes */{total}"})
            self.send_response(206)
            first = start - 1 if fault.kind == "wrong_start" else start
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if fault.kind == "compressed":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("ETag", f'"{hub.etag(path)}"')
        self.send_header("X-Repo-Commit", commit)
        if fault.kind == "no_length":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as file:
            file.seek(start)
            while start + self.record.sent < total:
                left = total - start - self.record.sent
                if fault.kind == "meet" and self.record.sent == fault.after:
                    hub.meeting.wait(20)
                elif fault.kind in ("cut", "stall", "meet", "cut_from_zero") and self.record.sent <= fault.after:
                    left = min(left, fault.after - self.record.sent)
                chunk = file.read(min(left, CHUNK)) or b"\0" * left
                if not left:
                    if fault.kind == "stall":
                        hub.closing.wait(60)
                    self.close_connection = True
                    return
                self.wfile.write(bytes(255 - b for b in chunk) if fault.kind == "wrong_bytes" else chunk)
                self.record.sent += len(chunk)


def date_in(seconds: float) -> str:
    """A date for Retry-After, `seconds` from now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=False)


if __name__ == "__main__":
    with LoopbackHub(Path(sys.argv[1])) as served:
        print(f"HF_ENDPOINT={served.endpoint}", flush=True)
        while True:
            time.sleep(3600)
