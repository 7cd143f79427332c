"""A Hugging Face hub on 127.0.0.1, over a folder of files, with faults to switch on.

The folder holds one folder per repository: `<owner>/<name>/<files>` for models,
`spaces/<owner>/<name>/<files>` for spaces. Any revision is served, and named as the commit asked for. It answers
as the hub did in 2026. LFS files (.safetensors, .pt, .bin): 302 to a signed address of a CDN (`localhost` instead of
`127.0.0.1`), good for one answer; the first answer alone says what the file is, and the CDN's ETag is another. Other
files: 307 to a relative address. Too many requests: 429 with the seconds left in `RateLimit`, without Retry-After.

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
from urllib.parse import quote, unquote, urlsplit

LFS = (".safetensors", ".pt", ".bin")
CHUNK = 1 << 20
BODY_FAULTS = ("cut", "stall", "meet", "cut_from_zero", "ignored_range", "no_length", "wrong_bytes",
               "wrong_size", "wrong_start", "compressed")  # fmt: skip
# As a forward proxy (HTTP_PROXY) it answers for every host itself.
ADDRESS = re.compile(r"(?P<cdn>/cdn)?/(?P<repo>(?:spaces/)?[^/]+/[^/]+)/resolve/(?P<commit>[^/]+)/(?P<file>.+)")
CACHED = re.compile(r"/api/resolve-cache/(?:models/)?(?P<repo>(?:spaces/)?[^/]+/[^/]+)/(?P<commit>[^/]+)/(?P<file>.+)")
RATE_LIMITED = {
    "RateLimit": '"resolvers";r=0;t=172',
    "RateLimit-Policy": '"fixed window";"resolvers";q=3000;w=300',
}


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the body of a file."""

    kind: str
    """cut, stall, meet (wait for the other client), cut_from_zero (cut, and the range ignored), status,
    ignored_range, no_length, wrong_bytes, wrong_size, wrong_start, compressed; of the hub's own answer: loop,
    login_page (200 with a page)."""
    after: int = 0
    """Bytes of the body that still come (cut, stall, meet)."""
    status: int = 500
    """Answer (status)."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of that answer; 429 has the hub's own anyway."""
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

    says_what = True
    """Whether it sends X-Repo-Commit, X-Linked-Size and X-Linked-Etag; a mirror may not."""
    moved_to = ""
    """The hub to which a mirror redirects every request (308)."""

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
        url = urlsplit(self.path)
        match = ADDRESS.fullmatch(url.path) or CACHED.fullmatch(url.path)
        file = unquote(match["file"]) if match else self.path
        path = hub.folder / match["repo"] / file if match else hub.folder / "none"
        self.record = Request(
            self.command, self.headers["Host"].partition(":")[0], Path(file).name, self.headers["Range"],
            self.headers["Authorization"], self.headers["Accept-Encoding"],
        )  # fmt: skip
        hub.requests.append(self.record)
        if hub.moved_to:
            return self._redirect(308, hub.moved_to + self.path)
        if not match or not path.is_file():
            return self._refuse(404)
        on_cdn = bool(match.groupdict().get("cdn"))
        if on_cdn:
            if url.query not in hub.signatures:
                return self._refuse(403)
            hub.signatures.discard(url.query)
        if fault := hub.next_fault(path.name, self.command, "status"):
            return self._refuse(fault.status, (RATE_LIMITED if fault.status == 429 else {}) | fault.headers)
        if on_cdn or match.re is CACHED:
            return self._body(path, match["commit"], on_cdn)
        return self._resolve(path, url.path, match)

    def _resolve(self, path: Path, address: str, match: "re.Match[str]") -> None:
        """The hub's first answer: where the file lies, and what an LFS file is."""
        hub = self.server.hub
        commit = {"X-Repo-Commit": match["commit"]}
        if hub.next_fault(path.name, self.command, "login_page"):
            return self._send(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
        if hub.next_fault(path.name, self.command, "loop"):
            hub.fault(path.name, "loop", method=self.command)
            return self._redirect(307, address, commit)
        if not path.name.endswith(LFS):
            repo = match["repo"] if match["repo"].startswith("spaces/") else f"models/{match['repo']}"
            where = f"/api/resolve-cache/{repo}/{match['commit']}/{match['file']}"
            return self._redirect(307, f"{where}?{quote(address, '')}=&etag=%22{hub.etag(path)}%22", commit)
        signature = f"Signature={next(hub.numbers)}"
        hub.signatures.add(signature)
        linked = {"X-Linked-Size": str(path.stat().st_size), "X-Linked-Etag": f'"{hub.etag(path)}"'}
        where = f"http://localhost:{hub.port}/cdn{address}?{signature}"
        self._redirect(302, where, {**commit, **linked, "X-Xet-Hash": xet_hash(hub.etag(path))})

    def _redirect(self, status: int, location: str, headers: dict[str, str] | None = None) -> None:
        self.record.sent = -1
        self._send(status, {"Location": location, **(headers or {} if self.server.hub.says_what else {})})

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._send(status, headers or {})

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self, path: Path, commit: str, on_cdn: bool) -> None:
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
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{xet_hash(hub.etag(path)) if on_cdn else hub.etag(path)}"')
        if hub.says_what and not on_cdn:
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


def xet_hash(etag: str) -> str:
    """What looks like a file's SHA-256 and is not."""
    return hashlib.sha256(etag.encode()).hexdigest()


def date_in(seconds: float) -> str:
    """A date for Retry-After, `seconds` from now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=False)


if __name__ == "__main__":
    with LoopbackHub(Path(sys.argv[1])) as served:
        print(f"HF_ENDPOINT={served.endpoint}", flush=True)
        while True:
            time.sleep(3600)
