"""The digest of a step's code: what moves it, what does not, and that it covers what a step really runs."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository_copy import copied

from replication.base.paths import REPOSITORY
from replication.workflow import code_digest
from replication.workflow.code_digest import digest

ENGINE = {"measure", "completions", "controls", "sweep_part", "published_values"}
STEPS = ENGINE | {
    *("weights", "second_opinion", "join_sweep", "judge_controls", "claims", "verification", "verdict"),
    *("summary", "figures", "figure_for_print", "control_figures", "report", "provenance", "crate"),
}
DRAWING = {"figures", "figure_for_print", "control_figures"}

CHANGES = [
    ("engine/lens.py", "entropy=-(p * log_p)", "entropy=-2 * (p * log_p)", {"measure", "published_values"}),
    # `weights` asks GPT-2 which tensor unembeds.
    ("engine/gpt2.py", "0.044715", "0.044716", ENGINE | {"weights"}),
    ("engine/sides.py", "side + padding * n", "padding * n + side", ENGINE),
    ("engine/numerics.py", '"COMPATIBLE"', '"AVX2"', ENGINE | {"second_opinion"}),
    ("engine/controls.py", "directions / directions", "2 * directions / directions", {"controls"}),
    ("engine/completions.py", "<= settings.top_p", "< settings.top_p", {"completions", "published_values"}),
    ("engine/completed.py", "settings.prompt or experiment.prompt", "experiment.prompt", {"completions"}),
    ("report/sections/completions.md.jinja", "\n", "\n\n", {"report"}),
    ("engine/second_opinion.py", "sum(sign * rows", "sum(rows", {"second_opinion"}),
    ("engine/fit_checks.py", "names, shapes and finite", "shapes, names and finite", {"weights"}),
    ("verification/claims.py", "FALL = 0.5", "FALL = 0.6", {"claims", "report"}),
    ("verification/published_numbers/gpt2.json", "{", " {", {"published_values"}),
    ("figures/style.mplstyle", "svg", "svg", set()),
    ("figures/style.mplstyle", "\n", "\n\n", DRAWING),
    ("report/sections/claims.md.jinja", "\n", "\n\n", {"report"}),
    ("report/page_template/page.css", "\n", "\n\n", {"report"}),
    ("figures/interactive_page/address.js", "\n", "\n\n", {"figures"}),
    ("figures/caption_texts/kl.rst", "\n", "\n\n", {"report"}),
    ("../docs/method.md", "\n", "\n\n", {"report"}),
    ("../CITATION.cff", "\n", "\n\n", {"report"}),
    ("base/paths.py", "{experiment}/top10.csv", "{experiment}/top.csv", None),
    # What is said to people moves nothing.
    ("engine/sides.py", "is too large; this model has layers", "is beyond the last; this model has layers", set()),
    ("engine/steering.py", "it must stay below", "keep it below", set()),
    ("engine/published_values.py", 'desc="published values"', 'desc="values of others"', set()),
    ("workflow/arguments.py", "Name of the model in config.yaml,", "The model's name in config.yaml,", set()),
    ("engine/lens.py", '"""Residual stream ->', '"""From the residual stream ->', set()),
    ("engine/lens.py", "\n\ndef centred", "\n\n# A remark.\n\n\ndef centred", set()),
    ("base/config.py", '"""SHA-256, 64 hexadecimal digits, of', '"""The SHA-256 of', set()),
]


# Each takes seconds: every seventh in make test, all in make test-all.
SPREAD = [change if i % 7 == 0 else pytest.param(*change, marks=pytest.mark.slow) for i, change in enumerate(CHANGES)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def digests(copy: Path):
    """A function that gives the digests of all steps of the copy as it is now."""
    patch = pytest.MonkeyPatch()
    patch.setattr(code_digest, "PACKAGE", copy / "replication")
    patch.setattr(code_digest, "REPOSITORY", copy)

    def forget() -> None:
        for cached in ("_module", "_nodes", "_reached_from", "_form", "_data"):
            getattr(code_digest, cached).cache_clear()

    def now() -> dict[str, str]:
        forget()
        return {step: digest(step) for step in STEPS}

    yield now
    patch.undo()
    forget()


@pytest.fixture(scope="module")
def before(digests) -> dict[str, str]:
    """Digests of all steps of the copy, to which every test puts it back."""
    return digests()


def test_every_python_gives_code_the_same_form():
    """Python 3.12.1 parses an empty text behind a format that ends in a value, and newer ones print more characters."""
    (statement,) = ast.parse('f"a{b}"').body
    form = code_digest._shape(statement)
    text = statement.value
    text.values = [value for value in text.values if value.value != ""]
    assert code_digest._shape(statement) == form
    text.values.append(ast.Constant(""))
    assert code_digest._shape(statement) == form
    # Which characters are printed as they are is another list in each Python.
    assert code_digest._shape(ast.parse("'é'").body[0]).isascii()


@pytest.mark.slow
def test_a_copy_elsewhere_has_the_same_digests(digests):
    there = digests()
    command = "import sys; from replication.workflow.code_digest import digest; print(*map(digest, sys.argv[1:]))"
    here = subprocess.check_output([sys.executable, "-c", command, *STEPS], cwd=REPOSITORY, text=True).split()
    assert there == dict(zip(STEPS, here, strict=True))


def test_every_change_is_of_what_stands_in_its_file():
    """Those that run in make test-all alone, too: a change that nothing matches proves nothing."""
    for file, old, *_ in CHANGES:
        assert old in (REPOSITORY / "replication" / file).read_text(encoding="utf-8"), (file, old)


@pytest.mark.parametrize(("file", "old", "new", "expected"), SPREAD, ids=[f"{f}:{o[:20]}" for f, o, *_ in CHANGES])
def test_a_change_moves_the_steps_that_it_reaches_and_no_other(copy, digests, before, file, old, new, expected):
    path = copy / "replication" / file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        after = digests()
    finally:
        path.write_text(text, encoding="utf-8")
    moved = {step for step in STEPS if before[step] != after[step]}
    if expected is None:  # a path that many use
        assert {"measure", "claims"} <= moved
        assert not moved & {"weights", "verdict", "second_opinion"}
    else:
        assert moved == expected


SAMPLE = '''
"""A docstring."""
from math import pi
@decorated(1, key="a")
def f(x: int, /, y=2.5, *rest, z: "str" = 'it\\'s', **more) -> None:
    """Another."""
    text = f"{x!r:>{y}} and {z['a']} {{}} {x + 1:.3f}" "joined"
    if (n := len(rest)) > 1e-5 and not y or x is None:
        raise ValueError(f"{x} is wrong") from None
    match x:
        case {"a": [1, *_], **others} if n: pass
        case C(k=v) | None: pass
    with open("a") as one, (yield): return [*(i for i in rest if i), lambda a: -a ** 2, b"\\x00", ..., 1j, True]
    try: x @= y[1:, ::2]
    except* OSError as error: del x
async def g(): return await g()
'''


EXPECTED = "75dec37a432bb34a"


def test_the_form_is_the_same_on_every_python():
    """The number was made with Python 3.11; 3.12, 3.13 and 3.14 give it too."""
    tree = code_digest._Silent().visit(ast.parse(SAMPLE))
    assert "wrong" not in code_digest._shape(tree)
    assert "docstring" not in code_digest._shape(tree)
    assert code_digest.hashlib.sha256(code_digest._shape(tree).encode()).hexdigest()[:16] == EXPECTED


WATCHED = """
import json, sys
ran = set()
def watch(frame, event, _):
    module = frame.f_globals.get("__name__", "")
    # A class is made when its module is imported, whether or not it is used: only functions count (CO_OPTIMIZED).
    if event == "call" and module.startswith("replication.") and frame.f_code.co_flags & 1:
        name = frame.f_code.co_qualname.split(".")[0]
        if not name.startswith(("<", "__")):
            ran.add((module, name))
from replication.workflow.cli import app
sys.setprofile(watch)
try:
    app(sys.argv[2:], standalone_mode=False)
finally:
    sys.setprofile(None)
    with open(sys.argv[1], "w") as file:
        json.dump(sorted(ran), file)
"""


def ran(folder: Path, *arguments: str) -> set[tuple[str, str]]:
    """Definitions of the package that a step called, by module and name, watched while it ran."""
    command = [sys.executable, "-c", WATCHED, str(folder / "ran.json"), "step", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return {tuple(each) for each in json.loads((folder / "ran.json").read_text())}


ARITHMETIC = ["--numerics", "portable", "--device", "cpu", "--threads", "1"]
MODEL = {"folder": "replication/miniature/model", "lens_folder": "replication/miniature/lens"}
EXPERIMENT = {
    "title": "E",
    "prompt": "I think you're a cunt",
    "steering": {"layer": 20, "coefficient": 10, "added": "Anger", "subtracted": "Calm"},
    "key_tokens": [" cunt"],
    "more_prompts": {"target": " cunt", "contrast": " genius", "neutral": ["My neighbor is a"]},
}
CONTROLS = {"random_vectors": 2, "sweep_multiples": [0, 1], "sweep_jobs": 24}
CONTROL_SETTINGS = ["--settings", json.dumps(EXPERIMENT), "--control-settings", json.dumps(CONTROLS)]

TABLES = ["--table=random_vectors", "--table=random_by_layer", "--table=prompts"]

RUN = [
    ["weights", "m", "--settings", json.dumps(MODEL), "--mark", "0"],
    ["measure", "m", "e", "--settings", json.dumps(EXPERIMENT), *ARITHMETIC],
    ["completions", "m", "e", "--settings", json.dumps(EXPERIMENT | {"completions": {"tokens": 4}}), *ARITHMETIC],
    ["controls", "m", "e", *CONTROL_SETTINGS, *TABLES, *ARITHMETIC],
    ["second_opinion", "m", "e", *ARITHMETIC],
    ["published_values", "m", *ARITHMETIC],
    ["summary", "m", "e"],
    ["figures", "m", "e", "--completed"],
    ["control_figures", "m", "e/random_vectors", "e/prompts"],
    ["claims", "m", "e"],
    ["judge_controls", "m", "e", *TABLES],
    ["verification", "m", "e"],
    ["report", "m", "e", "--completed=e"],
    ["provenance", "m", "e"],
    ["verdict", "m", "e"],
    ["crate", "m", "e", "--completed=e"],
]

UNTOUCHED = ("replication.workflow.cli", "replication.base.progress", "replication.engine.cuda")
"""Modules that a step runs and that no result depends on."""


def uncovered(folder: Path, arguments: list[str]) -> set[tuple[str, str]]:
    reached = code_digest.reached(arguments[0])
    return {each for each in ran(folder, *arguments) if each[0] not in UNTOUCHED and each not in reached}


@pytest.mark.slow
def test_measuring_runs_no_definition_that_its_digest_does_not_cover(tmp_path):
    for arguments in RUN[:2]:
        assert uncovered(tmp_path, arguments) == set()


@pytest.mark.slow
def test_no_step_runs_a_definition_that_its_digest_does_not_cover(tmp_path):
    for arguments in RUN:
        assert uncovered(tmp_path, arguments) == set(), arguments[0]
