"""The house: its wings, what they may import, and how long its files are."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from replication.base.paths import PACKAGE, REPOSITORY

WINGS = {"base", "weights", "engine", "verification", "figures", "report", "workflow", "miniature", "pins"}
MODULES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.name != "__init__.py"]
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def kept(repository: Path) -> bool:
    """Whether the contracts of a checkout are kept."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=repository, capture_output=True, env={"PYTHONPATH": "."}).returncode == 0


def test_imports_keep_the_contracts():
    assert kept(REPOSITORY), "lint-imports says which import is one too many"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("verification/pins.py", "import replication.engine.numerics"),
        ("figures/canvas.py", "import replication.weights.obtain"),
        ("report/links.py", "import replication.figures.canvas"),
        ("base/files.py", "import torch"),
        ("engine/lens.py", "import replication.verification.cells"),
        ("engine/steering.py", "import replication.engine.measure"),
        ("workflow/archive.py", "import replication.api"),
    ],
)
def test_an_import_against_the_picture_is_found(tmp_path, module, line):
    (tmp_path / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    for file in PACKAGE.rglob("*.py"):
        target = tmp_path / file.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    changed = tmp_path / "replication" / module
    changed.write_text(f"{changed.read_text()}\n{line}\n")
    assert not kept(tmp_path)


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (["replication"], {"torch", "pandas", "pydantic", "yaml"}),
        (["replication.base.hashes"], {"torch"}),
        (["replication.base.paths"], {"matplotlib", "pandas", "numpy"}),
        ([f"replication.figures.{name}" for name in ("draw", "interactive", "alt_text")], {"matplotlib"}),
        ([f"replication.figures.{name}" for name in ("post", "overview", "curves")], {"torch", "transformers"}),
    ],
)
def test_an_import_brings_nothing_heavy_along(modules, without):
    script = f"import sys, {', '.join(modules)}; print(*({without} & sys.modules.keys()))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_picture_in_contributing_is_the_contract():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    picture = re.search(r"\n\n((?:    \w.*\n)+)\nBeyond that", text)
    assert picture
    drawn = [re.match(r"    (\w+(?: \| \w+)*)  ", line)[1] for line in picture[1].splitlines()]
    (layers,) = (each["layers"] for each in CONTRACTS if each["name"] == "Imports go down")
    assert drawn == [layer.replace("replication.", "") for layer in layers]
    assert set(re.findall(r"\w+", " ".join(drawn))) == WINGS - {"pins"} | {"api", "completion", "keywords", "result"}


def test_every_wing_says_in_two_lines_what_it_is():
    assert {file.parent.name for file in PACKAGE.glob("*/__init__.py")} == WINGS
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == WINGS
    for wing in WINGS:
        tree = ast.parse((PACKAGE / wing / "__init__.py").read_text())
        assert len(tree.body) == 1, f"{wing}: a docstring and no code"
        assert len((ast.get_docstring(tree) or "").replace("\n\n", "\n").splitlines()) == 2, wing


def test_beside_the_wings_stand_the_entrances():
    assert {file.name for file in PACKAGE.iterdir() if file.is_file()} == {
        "__init__.py", "__main__.py", "api.py", "completion.py", "keywords.py", "py.typed", "result.py",
    }  # fmt: skip


def test_no_two_modules_share_a_name():
    names = [file.stem for file in MODULES if file.stem != "__main__"]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_no_file_is_long():
    lengths = {str(file.relative_to(PACKAGE)): len(file.read_text().splitlines()) for file in MODULES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
    assert len((REPOSITORY / "Snakefile").read_text().splitlines()) < 420
    core = sum(lengths[f"engine/{name}.py"] for name in ("gpt2", "steering", "lens", "measure"))
    assert core < 600


def test_the_tests_mirror_the_wings():
    folders = {file.parent.name for file in (REPOSITORY / "tests").glob("*/test_*.py")}
    assert folders == WINGS - {"pins"}
