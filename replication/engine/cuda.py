"""The graphics card of `device: cuda`: whether it can be used, its name and driver, and what to do when it is full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from replication.base.errors import UserError, one_line

_FULL = "free its memory, of which GPT-2 XL and its lens take 7 GB (nvidia-smi says who holds it)"
_REMEDIES = {
    "out of memory": _FULL,
    "ALLOC_FAILED": _FULL,
    "not compiled with CUDA": "install torch's build for CUDA",
    "driver": "install a driver that this torch takes, so that nvidia-smi lists the card",
    "No CUDA GPUs": "let CUDA_VISIBLE_DEVICES name a card that nvidia-smi lists",
    "invalid device ordinal": "let CUDA_VISIBLE_DEVICES name a card that nvidia-smi lists",
}
"""What to do, by a part of torch's error message."""


def check(device: str) -> None:
    """Raises UserError where nothing can be computed on `device`, before anything large is loaded."""
    if device == "cpu":
        return
    if device != "cuda":
        raise UserError(f"device: must be cpu or cuda, found {device!r}; CUDA_VISIBLE_DEVICES says which card cuda is")
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        raise _refused(error) from None


@contextmanager
def full_in_one_sentence() -> Iterator[None]:
    """Turns the error of a card without free memory, whenever it occurs, into a UserError."""
    try:
        yield
    except RuntimeError as error:
        # torch reports a full card itself, or passes on what a library below it reports.
        if "CUDA" in str(error) and any(text in str(error) for text, remedy in _REMEDIES.items() if remedy == _FULL):
            raise _refused(error) from None
        raise


def _refused(error: Exception) -> UserError:
    said = one_line(error).split(". ")[0].rstrip(".")
    remedy = next((remedy for text, remedy in _REMEDIES.items() if text in str(error)), "see what nvidia-smi says")
    return UserError(f"device: cuda cannot be used, torch says {said!r}; {remedy}, or set device to cpu")


def facts() -> dict[str, Any]:
    """The card's name and its driver's version, for the record."""
    import torch

    return {"card": torch.cuda.get_device_name(), "driver": _driver()}


def _driver() -> str:
    """Version of the driver, by its own command: torch knows only which CUDA the driver supports."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return run.stdout.split("\n")[0].strip()
