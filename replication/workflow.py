"""What the Snakefile needs while it is parsed; works where Snakemake stands alone (pyyaml, jsonschema)."""

import ast
import json
import re
import shlex
from collections.abc import Hashable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from replication import paths
from replication.errors import UserError

PACKAGE = Path(__file__).resolve().parent

# What each step of `python -m replication` starts from; everything these import, within the package, follows.
STEPS = {
    "weights": ("weights", "models"),
    "measure": ("measure",),
    "second-opinion": ("second_opinion",),
    "published": ("published",),
    "controls": ("controls",),
    "sweep": ("controls",),
    "join-sweep": ("tables",),
    "judge-controls": ("control_verdicts",),
    "control-figures": ("figures",),
    "summary": ("summary",),
    "token-tables": ("token_tables", "latex_table"),
    "figures": ("figures", "interactive"),
    "claims": ("claims",),
    "verify": ("verify",),
    "report": ("report", "page"),
    "provenance": ("provenance",),
    "crate": ("crate",),
}

CONTROL_STEPS = ("controls", "sweep", "join-sweep", "judge-controls", "control-figures")

# What a step reads beside modules and their data.
READ = {
    "report": ("CITATION.cff", "docs/method.md", "pyproject.toml"),
    **dict.fromkeys(CONTROL_STEPS, ("replication/control_steps.py",)),
}


def code(step: str) -> list[str]:
    """Files of the package that `python -m replication <step>` runs.

    They are inputs of the step's rule: Snakemake sees only the command line, and new code must not leave old
    numbers standing.
    """
    found: set[Path] = set()
    waiting = [path for name in STEPS[step] for path in _module(f"replication.{name}")]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _used(path)
    found |= {PACKAGE.parent / name for name in READ.get(step, ())}
    return sorted(map(str, found | {PACKAGE / "__main__.py"}))


def _module(name: str) -> list[Path]:
    """The files of a module by its dotted name: one, or all of a package's, data included."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    if path.is_dir() and path != PACKAGE:
        return [file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    return [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else []


@cache
def _used(path: Path) -> list[Path]:
    """What a Python file of this package uses of it: modules, the templates it names, data beside it."""
    if path.suffix != ".py":
        return []
    beside = sorted(path.parent.iterdir()) if path.parent != PACKAGE else []
    used = [file for file in beside if file.is_file() and file.suffix != ".py"]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "replication":
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            used += [file for name in names for file in _module(name)]
        if isinstance(node, ast.Constant) and str(node.value).endswith(".jinja"):
            used += sorted((PACKAGE / "templates").glob(f"{str(node.value).split('.')[0]}.*"))
    return used


class _StrictLoader(yaml.SafeLoader):
    """YAML without pyyaml's silence about a key that stands twice, and a number that is not what it looks like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *other` is no key, and may stand beside the keys that it would bring
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise UserError(f"{self.name}, line {line}: the key {key!r} stands twice; keep one of them")
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """A number as it looks: YAML 1.1 reads 010 as 8 and 1:30 as 90."""
        whole = node.tag == "tag:yaml.org,2002:int"
        number = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        if re.match(r"[-+]?(0\w|\d+[_:])", node.value):
            line = node.start_mark.line + 1
            raise UserError(f"{self.name}, line {line}: YAML reads {node.value} as {number}; write the number plainly")
        return number


for _kind in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _StrictLoader.construct_number)


def read_yaml(path: Path) -> Any:
    """The contents of a YAML file.

    Raises:
        UserError: The file cannot be read, is not YAML, or has a key twice in one mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return yaml.load(file, _StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from None
    # What looks like a date or a number and is none (2023-13-01) makes pyyaml raise what Python's classes raise.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML: {reason}") from None


def check(config: dict[str, Any], files: Iterable[Path]) -> None:
    """Checks the merged configuration of a Snakemake run, and the files it came from.

    With pydantic at hand the package's whole validation runs; where Snakemake stands alone (as in the
    workflow catalogue's linter), the committed JSON schema made from it.

    Raises:
        UserError: One sentence: key, value, what would be right.
    """
    if set("{}") & set(str(PACKAGE)):
        raise UserError(f"{PACKAGE.parent}: Snakemake takes braces in a folder's name for wildcards; rename it")
    for file in files:
        read_yaml(file)
    if find_spec("pydantic"):
        from replication.config import checked

        checked(config)
        return
    import jsonschema

    try:
        fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(_schema()).iter_errors(config))
    except TypeError:  # jsonschema knows JSON, in which every key is text
        raise UserError("configuration: a key is no text, such as 1 or no; put it in quotes") from None
    if fault is not None:
        message = fault.message if len(fault.message) <= 500 else f"{fault.message[:497]}..."
        raise UserError(f"{'.'.join(map(str, fault.path)) or 'configuration'}: {message}")


def complete(config: dict[str, Any]) -> None:
    """Adds the keys on top that were left out, with their defaults."""
    for key, entry in _schema()["properties"].items():
        if "default" in entry:
            config.setdefault(key, entry["default"])


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((PACKAGE / "config.schema.json").read_text(encoding="utf-8"))
    return schema


def shell_prefix(interpreters: Path, repository: Path) -> str:
    """What every job's shell line begins with, whatever characters the folders have.

    Args:
        interpreters: Folder of the Python that runs Snakemake.
        repository: Folder of the package to run.
    """
    return f'export PATH={shlex.quote(str(interpreters))}:"$PATH" PYTHONPATH={shlex.quote(str(repository))}; '


def check_targets(config: dict[str, Any], targets: Iterable[str]) -> None:
    """Checks that files asked for on the command line are of models and experiments that there are.

    Raises:
        UserError: One of them is not; the sentence names those there are.
    """
    for target in targets:
        folder, *parts = Path(target).parts or (target,)  # `.` has no parts
        if folder not in ("results", "figures", "report", "resources") or len(parts) < 2:
            continue
        if parts[0] not in config["models"]:
            raise UserError(f"{target}: no model is called {parts[0]!r}; the models are {', '.join(config['models'])}")
        if folder == "results" and len(parts) > 2 and parts[1] not in config["experiments"]:
            known = ", ".join(config["experiments"])
            raise UserError(f"{target}: no experiment is called {parts[1]!r}; the experiments are {known}")


def as_json(part: Any) -> str:
    """The part of the configuration that decides a job's numbers, for its command line and its rerun trigger."""
    return json.dumps(part, ensure_ascii=False, sort_keys=True)


def memory(wildcards: Any, attempt: int) -> int:
    """Megabytes to ask a cluster for where a job loads a model; more at each attempt.

    GPT-2 XL takes 2.3 GB of its own and maps 6.4 GB of weights (docs/first-run.md), which some clusters count too.
    """
    return 10_000 * attempt


def controls(config: dict[str, Any]) -> list[str]:
    """Which of the controls the configuration switches on, by the names of their tables."""
    wanted = config["controls"]
    switched = {
        "random_vectors": wanted.get("random_vectors", 1),
        "prompts": wanted.get("more_prompts", True),
        "sweep": wanted.get("sweep", True),
    }
    return [name for name, on in switched.items() if on]


def control_kinds(config: dict[str, Any], name: str) -> list[str]:
    """Which of the controls an experiment has something to show of."""
    experiment = config["experiments"][name]
    prompts = experiment.get("more_prompts") or {}
    there = {
        "random_vectors": experiment.get("key_tokens"),
        "prompts": prompts.get("paraphrases") or prompts.get("neutral"),
        "sweep": experiment.get("key_tokens"),
    }
    return [control for control in controls(config) if there[control]]


def existing_pins(model: str, experiments: Iterable[str]) -> list[str]:
    """Pins that have been recorded: inputs of the job that compares with them."""
    patterns = [paths.path(pattern, model, name) for name in experiments for pattern in (paths.PINS, paths.PIN_RECORD)]
    return [str(PACKAGE.parent / pin) for pin in patterns if (PACKAGE.parent / pin).exists()]


def local_files(config: dict[str, Any], model: str) -> list[str]:
    """Files of a model given by local folders: inputs of the job that verifies them.

    Only files that exist are named: the job itself says in one sentence which one is missing.
    """
    entry = config["models"][model]
    folders = [PACKAGE.parent / entry[key] for key in ("folder", "lens_folder") if entry.get(key)]
    return [str(path) for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
