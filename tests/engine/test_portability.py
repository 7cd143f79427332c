"""The same bits on every x86-64 processor with AVX2, and on every 64-bit Arm: measured on emulated ones (qemu-user).

Minutes each, so they are slow tests: `make portability` runs all, `.ci/run` one processor.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import arm64
import pytest
from lacking import lacking

from replication.base.files import read_json
from replication.base.paths import PIN_RECORD, REPOSITORY, path
from replication.engine.numerics import FAST, PORTABLE, PORTABLE_ARM, build
from replication.verification.cells import AGREES
from replication.verification.pins import same_bits_expected

pytestmark = pytest.mark.slow

PROCESSORS = ("EPYC", "Haswell", "Skylake-Client")
"""One of AMD's and two of Intel's, by qemu's names; the machine itself is a fourth."""

Measured = dict[str, Any]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str | None], Measured]:
    """Measures in one arithmetic on one processor (None: this one); returns what `fingerprints.py` prints."""

    @cache
    def run(mode: str, processor: str | None) -> Measured:
        scratch = tmp_path_factory.mktemp("scratch")
        program = [REPOSITORY / "tests" / "fingerprints.py", mode, scratch]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        command = [*python(processor), *program]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        printed: Measured = json.loads(done.stdout)
        print(f"\n{processor or 'this machine'}, {printed['mode']}:")
        for name, digest in printed["fingerprints"].items():
            print(f"  {name:18} {digest}")
        return printed

    return run


@pytest.fixture(scope="module")
def fingerprints(measured) -> Callable[[str, str | None], dict[str, str]]:
    """A fingerprint per experiment and one of a wide product, in one arithmetic on one processor."""

    def of(mode: str, processor: str | None) -> dict[str, str]:
        printed = measured(mode, processor)
        assert printed["mode"] == (PORTABLE_ARM if mode == PORTABLE and processor in arm64.PROCESSORS else mode)
        return printed["fingerprints"] | {"product": printed["product"]}

    return of


def python(processor: str | None) -> list[str | Path]:
    """What starts Python on a processor."""
    if processor in arm64.PROCESSORS:
        if not (arm64.FOLDER / "root").exists() or shutil.which("qemu-aarch64") is None:
            lacking("emulated 64-bit Arm", "REPLICATION_REQUIRE_ARM64", "make arm64")
        return arm64.command(str(processor))
    if processor and shutil.which("qemu-x86_64") is None:
        lacking("qemu-x86_64", "REPLICATION_REQUIRE_QEMU", "apt-get install qemu-user")
    return ["qemu-x86_64", "-cpu", processor, sys.executable] if processor else [sys.executable]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_portable_numbers_have_the_same_bits_on_an_emulated(fingerprints, processor):
    assert fingerprints(PORTABLE, processor) == fingerprints(PORTABLE, None)


def test_portable_numbers_are_the_pinned_ones(measured):
    for name, digest in measured(PORTABLE, None)["fingerprints"].items():
        pin = read_json(REPOSITORY / path(PIN_RECORD, "miniature", name))
        if not same_bits_expected(pin, {"numerics": {"mode": PORTABLE, "build": build()}}):
            pytest.skip(f"the pins were recorded with another version of torch, {pin['numerics']['build']}")
        assert digest == pin["fingerprint"], name


def test_without_the_settings_the_bits_differ(fingerprints):
    """Else the tests above could not fail."""
    found = {processor: fingerprints(FAST, processor) for processor in (None, *PROCESSORS)}
    assert len({tuple(each.values()) for each in found.values()}) > 1
    assert fingerprints(FAST, None) != fingerprints(PORTABLE, None)


def test_on_64_bit_arm_portable_numbers_have_the_same_bits_with_and_without_sve(fingerprints):
    """And others than on x86-64, so that arithmetic has a name of its own."""
    plain, sve = (fingerprints(PORTABLE, processor) for processor in arm64.PROCESSORS)
    assert plain == sve
    assert not set(plain.values()) & set(fingerprints(PORTABLE, None).values())


def test_without_the_setting_bits_differ_on_64_bit_arm(fingerprints):
    """Else the test above could not fail."""
    plain, sve = (fingerprints(FAST, processor) for processor in arm64.PROCESSORS)
    assert plain != sve


@pytest.mark.parametrize("processor", arm64.PROCESSORS)
def test_on_64_bit_arm_numbers_agree_with_the_pins_of_x86_64(measured, processor):
    judged = measured(PORTABLE, processor)["pins"]
    print(f"\n{processor}: off by at most {max(each['largest_difference'] for each in judged.values()):.1e} nats")
    assert {each["status"] for each in judged.values()} == {AGREES}
