"""What an answer of the hub means for a download.

Three kinds of error: after a `TransientError` (a lost connection, a time-out, 5xx, 429) the request is repeated, after
the wait that the server asks for; a `MismatchError` says that the answer does not continue the partial; a `UserError`
ends the download (401, 403, 404).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import httpx2

from replication.base.errors import UserError


class TransientError(Exception):
    """An error that may not occur again; `wait` is what the server asks for, in seconds, if it does."""

    def __init__(self, text: str, wait: float | None = None):
        super().__init__(text)
        self.wait = wait


class MismatchError(Exception):
    """An answer that does not continue the partial."""


class UnreachableError(Exception):
    """The hub has not answered a single request."""


@dataclass(frozen=True)
class Remote:
    """What the hub says about a file."""

    size: int
    """Bytes."""
    etag: str
    """SHA-256 of an LFS file, git blob id of another, or whatever a mirror sends; empty if unknown."""
    commit: str
    """Commit that the hub serves it from; empty if a mirror does not say."""


@contextmanager
def network_errors() -> Iterator[None]:
    """Turns network errors into a `TransientError`; signed addresses are never printed."""
    try:
        yield
    except httpx2.UnsupportedProtocol:
        raise UserError("the hub redirects to an address that is neither http nor https") from None
    except httpx2.TransportError as error:
        host = error.request.url.host
        if isinstance(error, httpx2.ConnectTimeout | httpx2.ReadTimeout):
            text = f"{host} did not send anything for too long"
        elif isinstance(error, httpx2.ConnectError | httpx2.ProxyError):
            text = f"no connection to {host}: {re.sub(r'^.Errno -?[0-9]+. ', '', str(error))}"
        else:
            text = f"the connection to {host} was lost"
        raise TransientError(text) from None


def raise_for_status(response: httpx2.Response, label: str) -> None:
    """Raises the error that an answer's status stands for, unless it is a success or a redirect."""
    status, host = response.status_code, response.url.host
    if response.is_success or response.is_redirect:
        return
    if status == 416:
        raise MismatchError(f"{host} has no bytes after the end of the partial (416)")
    if status in (408, 429) or status >= 500:
        raise TransientError(f"{host} answered {status}", _wait_asked_for(response))
    if status == 401:
        raise UserError(
            f"{label}: {host} requires a login (401): the repository is private or does not exist, or HF_TOKEN "
            "is missing or has expired"
        )
    if status == 403:
        raise UserError(
            f"{label}: {host} refuses access (403): accept the terms on the repository's page, check "
            "HF_TOKEN, or ask whether a proxy blocks that host"
        )
    if status == 404:
        raise UserError(f"{label}: {host} does not have this file (404): check repo, revision, path and file name")
    raise UserError(f"{label}: {host} answered with an unexpected status ({status}); check HF_ENDPOINT")


def _wait_asked_for(response: httpx2.Response) -> float | None:
    """Seconds to wait: from Retry-After (seconds, or a date by the server's clock), else from a 429's RateLimit."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        our_date = format_datetime(datetime.now(UTC))
        now = parsedate_to_datetime(response.headers.get("Date", our_date))
        return max(0.0, (date - now).total_seconds())
    except (ValueError, TypeError):
        # Every answer of the hub has `RateLimit: "resolvers";r=2998;t=172`; for a 429, t is the wait.
        left = re.search(r";\s*t=(\d+)", response.headers.get("RateLimit", ""))
        return float(left[1]) if left and response.status_code == 429 else None


def first_byte(response: httpx2.Response, offset: int, total: int) -> int:
    """Where in the file the body begins: at `offset` (206) or at 0 (200).

    Raises:
        MismatchError: Anything else, such as a range that was not requested, or of a file of another size.
    """
    host = response.url.host
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise MismatchError(f"{host} sent the file compressed although it was asked not to")
    if response.status_code == 206:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range)
        if match is None or (int(match[1]), int(match[3])) != (offset, total):
            raise MismatchError(
                f"{host} answered with the range {content_range!r} instead of bytes {offset}- of {total}"
            )
        return offset
    # A body of unknown length may be a login page of the network; the partial must not be lost to it.
    length = response.headers.get("Content-Length", "unknown" if offset else str(total))
    if response.status_code != 200 or length != str(total):
        raise MismatchError(f"{host} answered {response.status_code} with {length} bytes instead of {total}")
    return 0
