"""requirements.lock is what pyproject.toml asks for, by hash; and the environment is what was locked."""

import re
import tomllib
import warnings
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from replication.base import versions
from replication.base.paths import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
# Held by its version alone: every index has builds of its own.
UNLOCKED = {"torch"}


def requirements(lines: list[str]) -> list[Requirement]:
    """Parsed requirements, names as the lock spells them."""
    parsed = [Requirement(line) for line in lines]
    for requirement in parsed:
        requirement.name = canonicalize_name(requirement.name)
    return parsed


def entries() -> list[tuple[Requirement, list[str]]]:
    """Every entry of the lock with its hashes."""
    bare = [line for line in LOCK.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    parts = [re.split(r"\s+--hash=", line) for line in bare]
    return [(requirements([head])[0], hashes) for head, *hashes in parts]


def exact(pinned: list[Requirement]) -> dict[str, str]:
    """Versions by name."""
    return {str(r.name): str(r.specifier).removeprefix("==") for r in pinned}


def asked_for() -> list[Requirement]:
    """What pyproject.toml pins for the tested environment."""
    project = PROJECT["project"]
    extras = [line for extra in ("second-opinion", "test", "dev") for line in project["optional-dependencies"][extra]]
    return requirements([*project["dependencies"], *extras])


def warn_of_other_versions(tested: dict[str, str]) -> None:
    """Warns of each package that is not installed as it was tested."""
    for name, wanted in tested.items():
        try:
            installed = version(name).split("+")[0]
        except PackageNotFoundError:
            installed = "not installed"
        if installed != wanted:
            warnings.warn(f"{name}: tested with {wanted}, here {installed}; make env installs the former", stacklevel=2)


def test_every_requirement_is_locked_within_its_range():
    locked = exact([requirement for requirement, _ in entries()])
    asked = {str(requirement.name): requirement.specifier for requirement in asked_for()}
    assert all(asked.values()), "a requirement without a range"
    beyond = {name for name in asked if name not in UNLOCKED and not asked[name].contains(locked.get(name, "0"))}
    assert not beyond, "pyproject.toml and requirements.lock differ; run: make lock"


def test_torch_is_asked_for_by_one_version():
    (torch,) = (requirement for requirement in asked_for() if requirement.name == "torch")
    assert re.fullmatch(r"==[\d.]+", str(torch.specifier))


def test_the_versions_that_a_report_names_are_the_locked_ones():
    locked = exact([requirement for requirement, _ in entries()]) | {"torch": "2.13.0"}
    tested = versions.tested_versions()
    assert {"torch", "tuned-lens", "transformers", "snakemake", "huggingface_hub"} <= set(tested)
    assert all(locked[canonicalize_name(name)] == version for name, version in tested.items())


def test_what_builds_the_package_is_locked():
    (builder,) = requirements(PROJECT["build-system"]["requires"])
    assert builder in asked_for()


def test_everything_is_one_exact_version_with_hashes():
    for requirement, hashes in entries():
        assert re.fullmatch(r"==[^=*]+", str(requirement.specifier))
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", digest) for digest in hashes)


def test_neither_torch_nor_what_only_its_builds_for_a_gpu_ask_for_is_locked():
    names = {str(requirement.name) for requirement, _ in entries()}
    assert not names & (UNLOCKED | {"triton"})
    assert not [name for name in names if name.startswith(("nvidia-", "cuda-"))]


def test_the_lock_names_no_place():
    assert "://" not in LOCK
    assert "index-url" not in LOCK
    assert "find-links" not in LOCK


def test_another_version_than_the_tested_one_is_warned_of():
    with pytest.warns(UserWarning, match=r"packaging: tested with 0\.1, here \d"):
        warn_of_other_versions({"packaging": "0.1"})
    with pytest.warns(UserWarning, match="no-such-package: tested with 1, here not installed"):
        warn_of_other_versions({"no-such-package": "1"})


def test_the_installed_versions_are_the_tested_ones():
    """Warns, since other versions may well work; the report names them too."""
    here = [r for r, _ in entries() if r.marker is None or r.marker.evaluate()]
    warn_of_other_versions(exact([*here, *(r for r in asked_for() if r.name in UNLOCKED)]))
