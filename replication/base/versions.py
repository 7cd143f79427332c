"""The versions that this package was tested with: those of requirements.lock, and torch's one of pyproject.toml."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from replication.base.paths import in_checkout


def tested_versions() -> dict[str, str]:
    """Name and tested version of every package that a run needs, under the names of pyproject.toml."""
    project = tomllib.loads(in_checkout("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["second-opinion"]]
    lock = in_checkout("requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    return {each.name: _version(each, locked) for each in sorted(map(Requirement, lines), key=lambda each: each.name)}


def _version(requirement: Requirement, locked: dict[str, str]) -> str:
    """The locked version; torch, whose builds differ from index to index, has its exact version in pyproject.toml."""
    return locked.get(canonicalize_name(requirement.name)) or str(requirement.specifier).removeprefix("==")
