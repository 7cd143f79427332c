"""Progress on stderr: a bar on a terminal, a line every few seconds in a log file."""

import sys

from tqdm import tqdm

# Seconds between two lines of a log file; a bar on a terminal moves ten times a second.
LINE_EVERY = 10.0
_LINE = "{desc}: {n_fmt}B of {total_fmt}B ({percentage:.0f} %), {rate_fmt}, {remaining} left"


class _Lines(tqdm):  # type: ignore[misc]
    """A tqdm that prints whole lines, because a log file cannot be overwritten."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Prints the line; with an explicit `msg` tqdm clears its bar, which a log file does not need."""
        del pos
        if msg is None:
            print(self, file=sys.stderr, flush=True)
        return False


def bar(label: str, total: int, done: int = 0) -> tqdm:
    """A progress bar with speed and time left; a context manager.

    Args:
        label: What is processed, such as the file's name.
        total: Bytes in total.
        done: Bytes of an earlier run, which do not count for the speed.
    """
    # `delay`: no bar for what takes less than a second.
    if sys.stderr.isatty():
        return tqdm(
            desc=label,
            total=total,
            initial=done,
            unit="B",
            unit_scale=True,
            delay=1,
            leave=False,
            dynamic_ncols=True,
        )
    return _Lines(
        desc=label, total=total, initial=done, unit="B", unit_scale=True, delay=1, leave=False,
        miniters=1, mininterval=LINE_EVERY, maxinterval=LINE_EVERY, bar_format=_LINE,
    )  # fmt: skip


def say(text: str) -> None:
    """Prints one line to stderr, above a bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def size_text(size: int) -> str:
    """A number of bytes in decimal units, as disks and the hub count: 1 GB is 10^9 bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"
