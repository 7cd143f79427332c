"""Progress on stderr: a bar on a terminal, a line now and then in a log file."""

import sys

from tqdm import tqdm

# Seconds between two lines of a log file; a bar on a terminal moves ten times a second.
LINE_EVERY = 10.0
_LINE = "{desc}: {n_fmt}B of {total_fmt}B ({percentage:.0f} %), {rate_fmt}, {remaining} left"


class _Lines(tqdm):  # type: ignore[misc]
    """A tqdm that prints whole lines, because a log file cannot be drawn over."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Prints the line; an explicit `msg` is tqdm wiping its bar, which a log file has no need of."""
        del pos
        if msg is None:
            print(self, file=sys.stderr, flush=True)
        return False


def bar(what: str, total: int, done: int = 0) -> tqdm:
    """A progress bar with speed and time left, to be used as a context manager.

    Args:
        what: What moves, e.g. the file's name.
        total: Bytes in all.
        done: Bytes that were there before; they do not count for the speed.
    """
    # What is over within a second needs no bar.
    if sys.stderr.isatty():
        return tqdm(
            desc=what,
            total=total,
            initial=done,
            unit="B",
            unit_scale=True,
            delay=1,
            leave=False,
            dynamic_ncols=True,
        )
    return _Lines(
        desc=what, total=total, initial=done, unit="B", unit_scale=True, delay=1, leave=False,
        miniters=1, mininterval=LINE_EVERY, maxinterval=LINE_EVERY, bar_format=_LINE,
    )  # fmt: skip


def say(text: str) -> None:
    """Prints one line to stderr, above a bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def size_text(size: int) -> str:
    """A number of bytes for people, as disks and the hub count: 1 GB is 10^9 bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"
