"""HTTP requests to the hub: the size and hash of a file, and its bytes from the end of the partial onwards.

The library is httpx2, which huggingface_hub 2 uses: proxies, certificates and time-outs work as in every other tool
that talks to the hub. (requests would take a password from ~/.netrc in place of the token; pooch and fsspec do not
resume, and huggingface_hub not in a later run.) Redirects are followed here, so that the token goes to the hub's own
origin and nowhere else. Every attempt starts at the hub, because the signed addresses to which it redirects expire.
"""

import os
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Self

import httpx2
from huggingface_hub import constants, get_token

from replication.base.errors import UserError
from replication.base.progress import bar, say
from replication.weights.answers import (
    MismatchError,
    Remote,
    TransientError,
    UnreachableError,
    first_byte,
    network_errors,
    raise_for_status,
)

# Seconds without a new byte after which a download is given up; waits that the server asks for do not count.
PATIENCE = 120.0
# The same before the first answer of the hub: without a network nobody should wait for two minutes.
FIRST_CONTACT = 20.0
# Most seconds that the server may make us wait between two new bytes: two windows of the hub's rate limit.
LONGEST_WAIT = 600.0
# Seconds between attempts; the last value is repeated.
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
MAX_REDIRECTS = 10

# Tests replace the clock, so that nothing waits.
clock = time.monotonic
pause = time.sleep


class Session:
    """A session with the hub: its connections, the user's token, and how much patience with errors is left."""

    def __init__(self, endpoint: str):
        """Opens no connection yet.

        Args:
            endpoint: Address of the hub or a mirror, without a slash at the end.

        Raises:
            UserError: The endpoint or a proxy in the environment is not a valid address.
        """
        try:
            self._hub = httpx2.URL(endpoint)
            self._client = httpx2.Client()
        except (httpx2.InvalidURL, ValueError, ImportError) as error:
            raise UserError(f"HF_ENDPOINT or a proxy in the environment is not usable: {error}") from None
        if self._hub.scheme not in ("http", "https") or not self._hub.host:
            raise UserError(f"HF_ENDPOINT: must be an address that starts with https://, found {endpoint!r}")
        self.answered = False
        self._reset_patience()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def host(self) -> str:
        """The hub's host, for messages."""
        return self._hub.netloc.decode()

    def remote(self, address: str, label: str) -> Remote:
        """What the hub says about a file; transient errors are waited out.

        Raises:
            UserError: The hub refuses, or does not answer as a hub does.
            UnreachableError: The hub did not answer.
        """
        self._reset_patience()
        while True:
            try:
                return self._remote(address, label)
            except TransientError as fault:
                self._wait_or_give_up(fault, label)

    def download(self, address: str, label: str, remote: Remote, partial: Path) -> None:
        """Appends to `partial` until it has the file's size; transient errors are waited out.

        Raises:
            MismatchError: An answer does not continue the partial.
            UserError: The server refuses, or no new byte came for `PATIENCE` seconds.
            OSError: The disk is full, for instance.
        """
        self._reset_patience()
        partial.touch()
        longest = partial.stat().st_size
        while partial.stat().st_size < remote.size:
            try:
                # A server that ignores the range sends old bytes again.
                for size in self._append(address, label, remote, partial):
                    if size > longest:
                        longest = size
                        self._reset_patience()
            except TransientError as fault:
                self._wait_or_give_up(fault, label)

    def _remote(self, address: str, label: str) -> Remote:
        commit = etag = size = ""
        login_page = False
        with network_errors(), closing(self._answers("HEAD", address, label)) as responses:
            for response in responses:
                raise_for_status(response, label)
                headers = response.headers
                commit = commit or headers.get("X-Repo-Commit", "")
                etag = etag or headers.get("X-Linked-Etag", "")
                size = headers.get("X-Linked-Size", "")
                # The length and ETag of a redirect are not those of the file.
                if not response.is_redirect:
                    size = size or headers.get("Content-Length", "")
                    # Nor is the ETag of a CDN, which names no commit.
                    etag = etag or (headers.get("ETag", "") if "X-Repo-Commit" in headers else "")
                    login_page = not commit and headers.get("Content-Type", "").startswith("text/html")
                if size:
                    break
        if login_page or not size.isdigit():
            raise UserError(
                f"{label}: {self.host} does not answer as a Hugging Face hub does (a web page, or no length); "
                "check HF_ENDPOINT, and whether the network requires a login on a web page first"
            )
        return Remote(int(size), etag.removeprefix("W/").strip('"'), commit)

    def _append(self, address: str, label: str, remote: Remote, partial: Path) -> Iterator[int]:
        """Requests the missing bytes once and writes them; yields the partial's size after every chunk."""
        offset = partial.stat().st_size
        with network_errors(), closing(self._answers("GET", address, label, offset)) as responses:
            for response in responses:
                if response.is_redirect:
                    continue
                raise_for_status(response, label)
                size = first_byte(response, offset, remote.size)
                if size < offset:
                    # The server ignored the range. Another process may still write to the old partial: a new one.
                    partial.unlink()
                    partial.touch()
                # Unbuffered, so that received bytes are written even if this process is killed.
                title = label.partition(" of ")[0]
                with partial.open("rb+", buffering=0) as file, bar(title, remote.size, size) as progress:
                    file.seek(size)
                    for chunk in response.iter_raw():
                        if size + len(chunk) > remote.size:
                            raise MismatchError(f"{response.url.host} sent more than {remote.size} bytes")
                        _write(file.fileno(), chunk)
                        size += len(chunk)
                        progress.update(len(chunk))
                        yield size
                if size < remote.size:
                    raise TransientError(f"{response.url.host} ended the transfer at byte {size} of {remote.size}")

    def _answers(self, method: str, address: str, label: str, offset: int = 0) -> Generator[httpx2.Response]:
        """The answers along a chain of redirects, each open until the next is asked for."""
        url = httpx2.URL(address)
        for _ in range(MAX_REDIRECTS):
            # Offsets in a compressed body are not those in the file, and servers ignore ranges for it.
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
            if _origin(url) == _origin(self._hub) and self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            with self._client.stream(method, url, headers=headers, timeout=self._timeout()) as response:
                self.answered = True
                yield response
                if not response.is_redirect:
                    return
                try:
                    url = url.join(response.headers.get("Location", ""))
                except httpx2.InvalidURL:
                    raise UserError(f"{label}: {url.host} redirects to an invalid address") from None
        raise UserError(f"{label}: {self.host} redirects endlessly (stopped after {MAX_REDIRECTS}); check HF_ENDPOINT")

    @cached_property
    def _token(self) -> str | None:
        """The user's token: HF_TOKEN, or the one of `hf auth login`."""
        if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
            return None
        try:
            token = get_token()
        except Exception as error:  # It may contact a login server, whose errors are not documented.
            raise UserError(f"the Hugging Face login cannot be used ({type(error).__name__})") from None
        if token is not None and not (token.isascii() and token.isprintable()):
            raise UserError("HF_TOKEN: contains characters that never occur in a Hugging Face token")
        return token

    def _timeout(self) -> float:
        """Seconds without an answer after which an attempt counts as stalled."""
        return max(0.1, min(constants.HF_HUB_DOWNLOAD_TIMEOUT, self._patience_left()))

    def _reset_patience(self) -> None:
        self._since = clock()
        self._failures = 0
        self._waited = 0.0

    def _patience_left(self) -> float:
        """Seconds of patience left."""
        return (PATIENCE if self.answered else FIRST_CONTACT) - (clock() - self._since)

    def _wait_or_give_up(self, fault: TransientError, label: str) -> None:
        """Waits before the next attempt, and says so, or gives up."""
        wait = self._back_off(fault, label) if fault.wait is None else self._granted(fault.wait, fault, label)
        say(f"{label}: {fault}; next attempt in {wait:.0f} s")
        pause(wait)

    def _back_off(self, fault: TransientError, label: str) -> float:
        """Seconds to wait when the server does not say how long."""
        left = self._patience_left()
        if not self.answered and left <= 0:
            raise UnreachableError(str(fault))
        if left <= 0:
            raise UserError(
                f"{label}: given up after {PATIENCE:.0f} seconds without a new byte ({fault}); what has "
                "been downloaded is kept: run the same command again to continue"
            )
        self._failures += 1
        return min(left, BACK_OFF[min(self._failures, len(BACK_OFF)) - 1])

    def _granted(self, wait: float, fault: TransientError, label: str) -> float:
        """Seconds to wait when the server requests a wait of `wait` seconds."""
        wait = max(wait, BACK_OFF[0])
        self._waited += wait
        if self._waited > LONGEST_WAIT:
            raise UserError(
                f"{label}: {fault} and asks for a wait of {wait:.0f} seconds, which makes more than "
                f"{LONGEST_WAIT:.0f}; what has been downloaded is kept: run the same command again after that time "
                "to continue"
            )
        self._since += wait
        return wait


def _write(descriptor: int, chunk: bytes) -> None:
    """Writes all of `chunk`: a write may be short when the disk is nearly full."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
