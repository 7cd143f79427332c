"""HTTP with the hub: what a file is, and its bytes from the one we have onwards.

The library is httpx2, because huggingface_hub 2 uses it and so brings it along: proxies, certificates and
time-outs act here as in every other tool that talks to the hub. (httpx is not among our requirements'
requirements; requests would take a password from ~/.netrc in place of the token; pooch and fsspec do not
resume; huggingface_hub itself gave up resuming in a later run.) Redirects are followed by hand, so that the
token goes to the hub's own origin and nowhere else, and every attempt starts at the hub's address, because the
signed addresses it redirects to expire.

Three kinds of trouble: `Fault` passes (a cut, silence, 5xx, 429) and is waited out; `Mismatch` means that the
answer does not continue what we have; a `UserError` ends it at once (401, 403, 404).
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Self

import httpx2
from huggingface_hub import constants, get_token

from replication.errors import UserError
from replication.progress import bar, say

# Seconds without a new byte after which a file is given up.
PATIENCE = 120.0
# The same until the hub has answered once: without a network nobody should wait for two minutes.
FIRST_CONTACT = 20.0
# Seconds between attempts; the last is repeated.
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
MAX_REDIRECTS = 10

# Tests replace the clock, so that nothing waits.
clock = time.monotonic
pause = time.sleep


class Fault(Exception):
    """Trouble that may pass; `retry_after` is the wait in seconds that the server asks for, if it does."""

    def __init__(self, text: str, retry_after: float | None = None):
        super().__init__(text)
        self.retry_after = retry_after


class Mismatch(Exception):
    """An answer that does not continue the bytes we have."""


class Unreachable(Exception):
    """The hub has not answered once."""


@dataclass(frozen=True)
class Remote:
    """What the hub says of a file."""

    size: int
    """Bytes."""
    etag: str
    """SHA-256 of an LFS file, git blob id of another, or whatever a mirror sends; empty if nothing."""
    commit: str
    """Commit that the hub took it from."""


class Session:
    """One conversation with the hub: its connections, the token, and how long faults have lasted."""

    def __init__(self, endpoint: str):
        """Opens no connection yet.

        Args:
            endpoint: Address of the hub or a mirror, without a slash at the end.

        Raises:
            UserError: The endpoint or a proxy in the environment is no address.
        """
        try:
            self._hub = httpx2.URL(endpoint)
            self._client = httpx2.Client()
        except (httpx2.InvalidURL, ValueError, ImportError) as error:
            raise UserError(f"HF_ENDPOINT or a proxy in the environment is not usable: {error}") from None
        if self._hub.scheme not in ("http", "https") or not self._hub.host:
            raise UserError(f"HF_ENDPOINT: needs an address that starts with https://, found {endpoint!r}")
        self.answered = False
        self._renew()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def host(self) -> str:
        """The hub's host, for messages."""
        return self._hub.netloc.decode()

    def remote(self, address: str, what: str) -> Remote:
        """What the hub says of a file, waiting faults out.

        Raises:
            UserError: It refuses, or answers as no hub does.
            Unreachable: Nothing answered.
        """
        self._renew()
        while True:
            try:
                return self._remote(address, what)
            except Fault as fault:
                self._bear(fault, what)

    def download(self, address: str, what: str, remote: Remote, partial: Path) -> None:
        """Appends to `partial` until it has the file's size, waiting faults out.

        Raises:
            Mismatch: An answer does not continue the partial; which is as it was before that answer.
            UserError: The server refuses, or no new byte came for `PATIENCE` seconds.
            OSError: The disk is full, for instance.
        """
        self._renew()
        partial.touch()
        longest = partial.stat().st_size
        while partial.stat().st_size < remote.size:
            try:
                # What a server sends again from the start, because it ignores the range, is nothing new.
                for size in self._append(address, what, remote, partial):
                    if size > longest:
                        longest = size
                        self._renew()
            except Fault as fault:
                self._bear(fault, what)

    def _remote(self, address: str, what: str) -> Remote:
        commit = etag = ""
        with _faults():
            for response in self._hops("HEAD", address, what):
                _raise_for_status(response, what)
                headers = response.headers
                commit = commit or headers.get("X-Repo-Commit", "")
                etag = etag or headers.get("X-Linked-Etag") or ("" if response.is_redirect else headers.get("ETag", ""))
                size = headers.get("X-Linked-Size") or ("" if response.is_redirect else headers.get("Content-Length", ""))
                if size:
                    break
        if not commit or not size.isdigit():
            raise UserError(
                f"{what}: {self.host} does not answer as a Hugging Face hub does (no X-Repo-Commit or no length); "
                "check HF_ENDPOINT, and whether the network wants you to log in on a web page first"
            )
        return Remote(int(size), etag.removeprefix("W/").strip('"'), commit)

    def _append(self, address: str, what: str, remote: Remote, partial: Path) -> Iterator[int]:
        """Asks once for what is missing and writes it; yields the partial's size after every chunk."""
        offset = partial.stat().st_size
        with _faults():
            for response in self._hops("GET", address, what, {"Range": f"bytes={offset}-"} if offset else {}):
                if response.is_redirect:
                    continue
                _raise_for_status(response, what)
                size = _first_byte(response, offset, remote.size)
                # Unbuffered: what was received is on its way to the disk even if we are killed.
                with partial.open("rb+", buffering=0) as file, bar(partial_title(what), remote.size, size) as progress:
                    file.seek(size)
                    file.truncate()
                    for chunk in response.iter_raw():
                        if size + len(chunk) > remote.size:
                            raise Mismatch(f"{response.url.host} sent more than the {remote.size} bytes announced")
                        _write(file.fileno(), chunk)
                        size += len(chunk)
                        progress.update(len(chunk))
                        yield size
                if size < remote.size:
                    raise Fault(f"{response.url.host} ended the transfer at byte {size} of {remote.size}")

    def _hops(self, method: str, address: str, what: str, headers: dict[str, str] | None = None) -> Iterator[httpx2.Response]:
        """The answers along a chain of redirects, each open while it is looked at."""
        url = httpx2.URL(address)
        for _ in range(MAX_REDIRECTS):
            # A compressed body has other offsets than the file; servers ignore ranges for it.
            sent = {"Accept-Encoding": "identity", **(headers or {})}
            if _origin(url) == _origin(self._hub) and self._token:
                sent["Authorization"] = f"Bearer {self._token}"
            with self._client.stream(method, url, headers=sent, timeout=self._timeout()) as response:
                self.answered = True
                yield response
                if not response.is_redirect:
                    return
                try:
                    url = url.join(response.headers.get("Location", ""))
                except httpx2.InvalidURL:
                    raise UserError(f"{what}: {url.host} redirects to what is no address") from None
        raise UserError(f"{what}: {self.host} redirects in a circle ({MAX_REDIRECTS} times); check HF_ENDPOINT")

    @cached_property
    def _token(self) -> str | None:
        """The user's token: HF_TOKEN, or the one of `hf auth login`."""
        if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
            return None
        token = get_token()
        if token is not None and not (token.isascii() and token.isprintable()):
            raise UserError("HF_TOKEN: holds characters that no token of the Hugging Face Hub has")
        return token

    def _timeout(self) -> float:
        """Seconds of silence after which an attempt counts as stalled."""
        return max(0.1, min(constants.HF_HUB_DOWNLOAD_TIMEOUT, self._left()))

    def _renew(self) -> None:
        self._since = clock()
        self._failures = 0

    def _left(self) -> float:
        """Seconds of patience left."""
        return (PATIENCE if self.answered else FIRST_CONTACT) - (clock() - self._since)

    def _bear(self, fault: Fault, what: str) -> None:
        """Waits before the next attempt, or gives up."""
        left = self._left()
        asked = fault.retry_after
        wait = min(left, BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]) if asked is None else max(asked, BACK_OFF[0])
        self._failures += 1
        if not self.answered and left <= 0:
            raise Unreachable(str(fault))
        if left <= 0:
            raise UserError(
                f"{what}: given up after {PATIENCE:.0f} seconds without a new byte ({fault}); what has arrived is "
                "kept, and the same command goes on from there"
            )
        if wait > left:
            raise UserError(
                f"{what}: {fault} and asks to wait {wait:.0f} seconds, which is longer than we do; what has arrived "
                "is kept, and the same command goes on from there after that time"
            )
        say(f"{what}: {fault}; next attempt in {wait:.0f} s")
        pause(wait)


def partial_title(what: str) -> str:
    """The file's name alone, for the progress bar."""
    return what.partition(" of ")[0]


def _write(descriptor: int, chunk: bytes) -> None:
    """Writes all of `chunk`: a write may be short when the disk is nearly full."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


@contextmanager
def _faults() -> Iterator[None]:
    """Turns what the network does into a `Fault` with a sentence; signed addresses are never printed."""
    try:
        yield
    except httpx2.UnsupportedProtocol:
        raise UserError("the hub redirects to an address that is neither http nor https") from None
    except httpx2.TransportError as error:
        host = error.request.url.host
        if isinstance(error, httpx2.ConnectTimeout | httpx2.ReadTimeout):
            text = f"{host} was silent for too long"
        elif isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
            text = f"no connection to {host}: {re.sub(r'^[[]Errno -?[0-9]+[]] ', '', str(error))}"
        else:
            text = f"the connection to {host} was cut"
        raise Fault(text) from None


def _raise_for_status(response: httpx2.Response, what: str) -> None:
    """Raises what an answer's status means for us, if it is no success or redirect."""
    status, host = response.status_code, response.url.host
    if response.is_success or response.is_redirect:
        return
    if status == 416:
        raise Mismatch(f"{host} has no bytes where ours end (416)")
    if status in (408, 429) or status >= 500:
        raise Fault(f"{host} answered {status}", _retry_after(response))
    if status == 401:
        raise UserError(
            f"{what}: {host} wants a login (401): the repository is private or does not exist, or HF_TOKEN is "
            "missing or has expired"
        )
    if status == 403:
        raise UserError(f"{what}: {host} refuses access (403): accept the repository's terms, or check HF_TOKEN")
    if status == 404:
        raise UserError(f"{what}: {host} does not have it (404): check repo, revision, path and file name")
    raise UserError(f"{what}: {host} answered {status}, which is neither the file nor a reason to wait")


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds to wait, from either form of Retry-After: seconds, or a date by the server's clock."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        now = parsedate_to_datetime(response.headers["Date"]) if "Date" in response.headers else datetime.now(UTC)
        return max(0.0, (date - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _first_byte(response: httpx2.Response, offset: int, total: int) -> int:
    """Where in the file the body begins: at `offset` (206) or at 0 (200).

    Raises:
        Mismatch: Anything else, above all a range that is not ours or of a file of another length.
    """
    host = response.url.host
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Mismatch(f"{host} sent the file compressed, although asked not to")
    if response.status_code == 206:
        found = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", found)
        if match is None or (int(match[1]), int(match[3])) != (offset, total):
            raise Mismatch(f"{host} answered with the range {found!r} instead of bytes {offset}- of {total}")
        return offset
    length = response.headers.get("Content-Length", str(total))
    if response.status_code != 200 or length != str(total):
        raise Mismatch(f"{host} answered {response.status_code} with {length} bytes instead of {total}")
    return 0
