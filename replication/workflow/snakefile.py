"""What the Snakefile needs while it is parsed; works where only Snakemake is installed (pyyaml, jsonschema)."""

import atexit
import getpass
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from replication.base import paths
from replication.base.errors import UserError
from replication.base.paths import PACKAGE, REPOSITORY, SCHEMA, SHIPPED
from replication.base.posts import NUMBERS, POSTS, place_in_post
from replication.base.strict_yaml import read_yaml
from replication.workflow.jobs import vector_files


def prepare_or_exit(workflow: Any, config: dict[str, Any]) -> str:
    """What `prepare` returns for the run that Snakemake's workflow is of; an error ends it with its sentence."""
    try:
        # While the Snakefile is parsed, only the command line says which files are requested.
        return prepare(config, [Path(file) for file in workflow.configfiles], sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")


def prepare(config: dict[str, Any], files: Iterable[Path], targets: Iterable[str]) -> str:
    """Checks the configuration and the targets of a Snakemake run, adds the defaults, and chooses the experiments.

    Returns:
        What {run} in a path stands for, as `run` has it.

    Raises:
        UserError: One sentence: key, value, what would be right.
    """
    check(config, files)
    complete(config)
    config["experiments"] = chosen(config)
    check_targets(config, targets, named := run(config, files))
    if "pin" in targets and not of_the_post(config):
        raise UserError("pin: none of these experiments is the post's, and only those are pinned")
    for name in config["experiments"]:
        for file in vector_files(config, [name]):
            if not Path(file).is_file():
                raise UserError(f"experiments.{name}.steering.vector: {file} does not exist")
    return named


def of_the_post(config: dict[str, Any]) -> list[str]:
    """Names of the post's own experiments: pins are of these alone."""
    return [name for name, each in config["experiments"].items() if place_in_post(each) is not None]


def chosen(config: dict[str, Any]) -> dict[str, Any]:
    """The experiments of a run: the post's in its order, then the user's own.

    Snakemake puts those that the user's file adds first. Only the post's own experiments, unchanged, keep one of the
    post's numbers.
    """
    there: dict[str, Any] = config["experiments"]
    places = {name: len(POSTS) if (place := place_in_post(each)) is None else place for name, each in there.items()}
    names = [name for name in sorted(there, key=lambda name: places[name]) if name in (config["only"] or there)]
    taken = {name for name in names if places[name] == len(POSTS) and there[name].get("number") in NUMBERS}
    return {name: there[name] | ({"number": None} if name in taken else {}) for name in names}


def run(config: dict[str, Any], files: Iterable[Path]) -> str:
    """What {run} in a path stands for: a slash and the run's name; empty if the run is what config.yaml describes.

    It is empty if the experiments are the post's four and nothing that affects a printed text differs: controls,
    arithmetic (its last bits, and its name), device. So no other run overwrites the miniature's committed files.

    Args:
        config: The whole configuration, its experiments as `chosen` returns them.
        files: The files it came from; the last one that is not config.yaml names the run.
    """
    shipped = read_yaml(SHIPPED)
    complete(shipped)
    the_posts = {place_in_post(each) for each in config["experiments"].values()} == set(range(len(POSTS)))
    if not config["run_name"] and the_posts and _deciding(config) == _deciding(shipped):
        return ""
    names = [SHIPPED.stem] + [file.stem for file in files if file.resolve() != SHIPPED]
    return f"/{config['run_name'] or re.sub('[^A-Za-z0-9._-]+', '-', names[-1]).strip('.-') or 'own'}"


def _deciding(config: dict[str, Any]) -> list[Any]:
    """The settings that decide a report's numbers besides the model: `sweep_jobs` does not."""
    controls = {key: value for key, value in config["controls"].items() if key != "sweep_jobs"}
    return [controls, *(config[key] for key in ("experiments", "numerics", "device"))]


def check(config: dict[str, Any], files: Iterable[Path]) -> None:
    """Checks the merged configuration of a Snakemake run, and the files it came from.

    With pydantic the package's whole validation runs; where only Snakemake is installed (as in the workflow
    catalogue's linter), the committed JSON schema made from it is used.

    Raises:
        UserError: One sentence: key, value, what would be right.
    """
    if set("{}") & set(str(PACKAGE)):
        raise UserError(f"{REPOSITORY}: Snakemake takes braces in a folder's name for wildcards; rename it")
    for file in files:
        read_yaml(file)
    if find_spec("pydantic"):
        from replication.base.config import checked

        checked(config)
        _check_installed()
        return
    import jsonschema

    try:
        fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(_schema()).iter_errors(config))
    except TypeError:  # jsonschema knows JSON, in which every key is text
        raise UserError("configuration: a key is not text, such as 1 or no; put it in quotes") from None
    if fault is not None:
        message = fault.message if len(fault.message) <= 500 else f"{fault.message[:497]}..."
        raise UserError(f"{'.'.join(map(str, fault.path)) or 'configuration'}: {message}")


def _check_installed() -> None:
    """Raises UserError, before a run starts, where it could not get its second opinion."""
    if find_spec("torch") and not (find_spec("tuned_lens") and find_spec("transformers")):
        raise UserError(
            "every run asks tuned-lens for a second opinion, and it is not installed: "
            "type `make env`, or python -m pip install 'gpt2-steering-tuned-lens[second-opinion]'"
        )


def complete(config: dict[str, Any]) -> None:
    """Adds the keys that were left out at the top level and in `controls`, with their defaults."""
    whole = _schema()
    for values, part in ((config, whole), (config.setdefault("controls", {}), whole["$defs"]["Controls"])):
        for key, entry in part["properties"].items():
            if "default" in entry:
                values.setdefault(key, entry["default"])


def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return schema


def do_without_home() -> None:
    """Makes Snakemake run for a user without a name on this machine or a home to write to, as in a container.

    Snakemake prints the name; Matplotlib keeps its list of fonts at home.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the former before Python 3.13
        os.environ["USER"] = f"uid{os.getuid()}"
    if not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(Path(".snakemake/matplotlib").absolute()))


def shell_prefix(interpreters: Path, repository: Path) -> str:
    """What every job's shell line begins with, whatever characters the folders have.

    Args:
        interpreters: Folder of the Python that runs Snakemake.
        repository: Folder of the package to run.
    """
    return f'export PATH={shlex.quote(str(interpreters))}:"$PATH" PYTHONPATH={shlex.quote(str(repository))}; '


def check_targets(config: dict[str, Any], targets: Iterable[str], named: str = "") -> None:
    """Checks that files requested on the command line are of models and experiments that exist.

    Args:
        config: The configuration.
        targets: The command line.
        named: What `run` returned: its folder is not an experiment's.

    Raises:
        UserError: One of them is not; the sentence names those that exist.
    """
    for target in targets:
        whole = Path(target)
        below = whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
        folder, *parts = below.parts or (target,)  # `.` has no parts
        if folder not in ("results", "figures", "report", "resources") or len(parts) < 2:
            continue
        if whole.is_absolute():
            raise UserError(f"{target}: Snakemake knows files by their path from the folder it runs in: type {below}")
        if parts[0] not in config["models"]:
            raise UserError(f"{target}: no model is called {parts[0]!r}; the models are {', '.join(config['models'])}")
        if folder == "results" and len(parts) > 2 and parts[1] not in (*config["experiments"], named.strip("/")):
            known = ", ".join(config["experiments"])
            raise UserError(f"{target}: no experiment is called {parts[1]!r}; the experiments are {known}")


def print_differences(model: str) -> None:
    """Prints, after everything from Snakemake, what this run's verdict wrote about numbers that differ.

    Args:
        model: Name of the model, or of its run, as `paths.path` takes it.
    """
    file = paths.path(paths.DIFFERENCES, model)
    if file.exists():
        atexit.register(print, f"\n{file.read_text(encoding='utf-8')}", file=sys.stderr)
