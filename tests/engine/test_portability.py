"""The same bits on every x86-64 processor with AVX2: measured here and on emulated ones (Debian's qemu-user).

Minutes each, so they are slow tests: `make portability` runs all, `.ci/run` one processor.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from replication.base.files import read_json
from replication.base.paths import PIN_RECORD, REPOSITORY, path
from replication.engine.numerics import FAST, PORTABLE, build
from replication.verification.pins import same_bits_expected

pytestmark = pytest.mark.slow

PROCESSORS = ("EPYC", "Haswell", "Skylake-Client")
"""One of AMD's and two of Intel's, by qemu's names; the machine itself is a fourth."""

Fingerprints = Callable[[str, str | None], dict[str, str]]


@pytest.fixture(scope="module")
def fingerprints(tmp_path_factory: pytest.TempPathFactory) -> Fingerprints:
    """Measures in one arithmetic on one processor (None: this one); returns a fingerprint per experiment."""

    @cache
    def measured(mode: str, processor: str | None) -> dict[str, str]:
        command = [] if processor is None else [emulator(), "-cpu", processor]
        scratch = tmp_path_factory.mktemp("scratch")
        command += [sys.executable, str(REPOSITORY / "tests" / "fingerprints.py"), mode, str(scratch)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["mode"] == mode
        print(f"\n{processor or 'this machine'}, {mode}:")
        for name, digest in told["fingerprints"].items():
            print(f"  {name:18} {digest}")
        return dict(told["fingerprints"])

    return measured


def emulator() -> str:
    found = shutil.which("qemu-x86_64")
    if found is None:
        reason = "no qemu-x86_64 here: apt-get install qemu-user"
        if os.environ.get("REPLICATION_REQUIRE_QEMU"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.mark.parametrize("processor", PROCESSORS)
def test_portable_numbers_have_the_same_bits_on_an_emulated(fingerprints, processor):
    assert fingerprints(PORTABLE, processor) == fingerprints(PORTABLE, None)


def test_portable_numbers_are_the_pinned_ones(fingerprints):
    for name, digest in fingerprints(PORTABLE, None).items():
        pin = read_json(REPOSITORY / path(PIN_RECORD, "miniature", name))
        if not same_bits_expected(pin, {"numerics": {"mode": PORTABLE, "build": build()}}):
            pytest.skip(f"the pins were recorded with another version of torch, {pin['numerics']['build']}")
        assert digest == pin["fingerprint"], name


def test_without_the_settings_the_bits_differ(fingerprints):
    """Else the tests above could not fail."""
    found = {processor: fingerprints(FAST, processor) for processor in (None, *PROCESSORS)}
    assert len({tuple(each.values()) for each in found.values()}) > 1
    assert fingerprints(FAST, None) != fingerprints(PORTABLE, None)
