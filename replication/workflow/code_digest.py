"""One SHA-256 over the code that a step runs, so that new code never leaves old numbers standing.

A step is a function of this wing; its code is every definition of the package that the function reaches by name, in a
form without comments, docstrings, and the text of errors, progress and help: rewording a message reruns nothing, but
changing a formula does. Data files that the code names, beside it or in the repository's top folder, enter by their
bytes. The form is made from the syntax tree by hand, because neither `ast.dump` nor `ast.unparse` gives the same text
on every Python. Works where only Snakemake is installed.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from replication.base.paths import PACKAGE, REPOSITORY

STEPS = ("replication.workflow.steps_with_model", "replication.workflow.steps_on_tables")

_MESSAGES = ("say", "bar", "print", "tqdm")
"""Functions whose texts are for a reader's eyes."""

_MESSAGE_KEYWORDS = ("desc", "unit", "help")
"""Keywords that hold such a text."""

Target = tuple[str, str]
"""Module and name of a definition; the empty name stands for a module's statements that define nothing."""


def digest(step: str) -> str:
    """The digest of a step, 64 hexadecimal digits.

    Args:
        step: Name of its function in `STEPS`.
    """
    targets = reached(step)
    total = hashlib.sha256()
    data = {file for target in targets for file in _data(target)}
    for target in sorted(targets):
        total.update(f"{target} {_form(target)}\n".encode())
    for file in sorted(data):
        total.update(f"{file.relative_to(REPOSITORY)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def reached(step: str) -> set[Target]:
    """Every definition that a step's function reaches by name, itself among them."""
    module = next(name for name in STEPS if step in _module(name).definitions)
    targets: set[Target] = set()
    waiting: list[Target] = [(module, step)]
    while waiting:
        target = waiting.pop()
        if target not in targets:
            targets.add(target)
            waiting += _reached_from(target)
    return targets


class _Module(NamedTuple):
    """A parsed module, messages taken out."""

    path: Path
    definitions: dict[str, list[ast.stmt]]
    """Functions, classes and assignments by name; under the empty name all other statements but imports."""
    imports: dict[str, Target]
    """What names that are imported stand for; a module has the empty name."""


@cache
def _module(name: str) -> _Module:
    path = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
    tree = _Silent().visit(ast.parse(path.read_text(encoding="utf-8")))
    definitions: dict[str, list[ast.stmt]] = {"": []}
    for statement in tree.body:
        for defined in _names(statement):
            definitions.setdefault(defined, []).append(statement)
    on_top = [each for each in tree.body if not isinstance(each, ast.FunctionDef | ast.ClassDef)]
    return _Module(path, definitions, dict(_imports(_walked(on_top))))


def _names(statement: ast.stmt) -> list[str]:
    """The names that a statement of a module defines; an empty one for what defines none."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)] or [""]
    return [] if isinstance(statement, ast.Import | ast.ImportFrom) else [""]


def _walked(statements: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node of some statements, at any depth."""
    return (node for statement in statements for node in ast.walk(statement))


@cache
def _nodes(target: Target) -> tuple[ast.AST, ...]:
    """Every node of a definition; kept, because walking takes most of the time of a digest."""
    module, name = target
    return tuple(_walked(_module(module).definitions[name]))


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, Target]]:
    """Names of the package that some nodes import."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "replication":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = PACKAGE.parent.joinpath(*whole.split(".")).with_suffix(".py").is_file()
                yield alias.asname or alias.name, (whole, "") if is_module else (str(node.module), alias.name)


@cache
def _reached_from(target: Target) -> frozenset[Target]:
    """Definitions that a definition names: of its own module, imported ones, and attributes of imported modules."""
    name, _ = target
    module = _module(name)
    imports = module.imports | dict(_imports(_nodes(target)))
    reached = {(name, "")}
    for node in _nodes(target):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            origin, inner = imports.get(node.value.id, ("", "no module"))
            if not inner and node.attr in _module(origin).definitions:
                reached.add((origin, node.attr))
        if isinstance(node, ast.Name) and node.id in imports:
            reached.add(imports[node.id])
        elif isinstance(node, ast.Name) and node.id in module.definitions:
            reached.add((name, node.id))
    return frozenset(map(_origin, reached))


def _origin(target: Target) -> Target:
    """Where a name that its module only re-exports is defined."""
    module, name = target
    return target if name in _module(module).definitions else _origin(_module(module).imports[name])


@cache
def _form(target: Target) -> str:
    name, defined = target
    return " ".join(_shape(statement) for statement in _module(name).definitions[defined])


def _shape(node: Any) -> str:
    """A syntax tree as text that is the same on every Python: types of nodes, and their fields that are not empty."""
    if isinstance(node, list):
        return f"[{' '.join(map(_shape, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)  # which characters repr escapes depends on the Python
    if isinstance(node, ast.JoinedStr):
        # Python 3.12.1 puts an empty text behind a format that ends in a value; the others do not.
        node = ast.JoinedStr([each for each in node.values if getattr(each, "value", None) != ""])
    fields = ((name, getattr(node, name, None)) for name in node._fields if name not in ("ctx", "kind"))
    shown = (f"{name}={_shape(value)}" for name, value in fields if value is not None and value != [])
    return f"{type(node).__name__}({' '.join(shown)})"


@cache
def _data(target: Target) -> frozenset[Path]:
    """Files that a definition names: beside its module, in a folder beside it, or in the repository's top folder."""
    module = _module(target[0])
    files: set[Path] = set()
    for node in _nodes(target):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if not text or len(text) > 100 or "\n" in text or "\0" in text or text.startswith(("/", ".")):
            continue
        beside = module.path.parent / text
        if beside.is_dir():
            files |= {file for file in beside.iterdir() if file.is_file()}
        # Of the repository only its top folder and docs: what a run makes below the others is not code.
        above = REPOSITORY / text if text.rpartition("/")[0] in ("", "docs") else beside
        files |= {file for file in (beside, above) if file.is_file()}
    return frozenset(files)


class _Silent(ast.NodeTransformer):
    """Takes out text for people: docstrings, the arguments of exceptions, texts of progress and help."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """A text that stands alone is a docstring."""
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else self._rest(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keeps the type of an exception alone."""
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self._rest(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Takes the texts out of a call that prints a message."""
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _MESSAGE_KEYWORDS]
        if isinstance(node.func, ast.Name) and node.func.id in _MESSAGES:
            node.args = [each for each in node.args if not isinstance(each, ast.Constant | ast.JoinedStr)]
        return self._rest(node)

    def _rest(self, node: ast.AST) -> ast.AST:
        return self.generic_visit(node)
