"""`environment`, `cite`, `figure` and `show`: what they print and draw is what is so."""

import contextlib
import importlib.metadata
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn_tables import made_up, written

from replication.base import tables
from replication.base.files import write_json
from replication.base.paths import ALL_KINDS, CONTROL_KINDS, KINDS, LOSSES, REPOSITORY, VERIFIED, path
from replication.figures.draw import draw_one, figure_files
from replication.report.citation import references
from replication.workflow.cli import main
from replication.workflow.environment import SETTINGS


def printed(*arguments: str, folder: Path, **settings: str) -> str:
    """What a command prints, run in a folder with settings in the environment."""
    # The engine, if another test has loaded it here, has set some of these.
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        [sys.executable, "-m", "replication", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(REPOSITORY), **settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_environment_says_versions_build_settings_and_hashes(tmp_path: Path) -> None:
    write_json(tmp_path / path(VERIFIED, "miniature"), {"sha256": {"model/model.safetensors": "38a9"}})
    secret = "https://user:password@mirror.example"
    text = printed("environment", folder=tmp_path, MKL_CBWR="COMPATIBLE", OMP_NUM_THREADS="1", HF_ENDPOINT=secret)
    facts = dict(line.strip().split(": ", 1) for line in text.splitlines() if ": " in line)
    assert text.startswith("```text\n")
    assert text.endswith("```\n")
    assert facts["torch"] == importlib.metadata.version("torch")
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (facts["MKL_CBWR"], facts["ATEN_CPU_CAPABILITY"], facts["HF_ENDPOINT"]) == ("COMPATIBLE", "not set", "set")
    assert facts["threads by default"] == "1"
    assert facts["model/model.safetensors"] == "38a9"
    assert "password" not in text
    # torch's own summary, read another way: the number that follows each library's name.
    summary = torch.__config__.show()
    for pattern in (r"Math Kernel Library Version (\S+)", r"MKL-DNN v(\S+)"):
        for found in re.findall(pattern, summary):
            assert found in text


def test_environment_names_a_version_that_is_not_the_tested_one() -> None:
    from replication.workflow.environment import _version

    assert _version("1.0", "1.0") == "1.0"
    assert _version("1.0", "1.0+cpu") == "1.0+cpu"
    assert _version("1.0", "1.0.1") == "1.0.1 (tested: 1.0)"
    assert _version("1.0", None) == "not installed (tested: 1.0)"


def test_cite_prints_an_entry_for_every_reference(tmp_path: Path) -> None:
    text = printed("cite", folder=tmp_path)
    assert re.findall(r"^@misc\{(.*),$", text, re.MULTILINE) == [reference.key for reference in references()]
    assert text.count("@misc") >= 4


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and what is said of a command, run in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["replication", *arguments])
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), said.getvalue()


def figure(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and what is said of the command `figure`."""
    return run(folder, "figure", *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an experiment e has been run on the model m."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        written(made_up(layers=3), "m", "e")
    (folder / "mine.yaml").write_text("model: m\n")
    return folder


# Of each way to draw one in make test, all in make test-all.
QUICK = (("post_raw", "png"), ("sweep", "png"), ("output", "svg"), ("output", "pdf"))
REST = [
    pytest.param(kind, "png", marks=pytest.mark.slow) for kind in (*KINDS, *CONTROL_KINDS) if (kind, "png") not in QUICK
]


@pytest.mark.parametrize(("kind", "suffix"), [*QUICK, *REST])
def test_figure_draws_from_a_run_what_its_steps_draw(finished: Path, kind: str, suffix: str) -> None:
    status, said = figure(finished, "e", kind, "--model", "m", "-o", f"drawn.{suffix}")
    assert (status, said) == (0, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        draw_one(kind, "m", ["e"], figure_files(kind, "m", "e", [suffix]))
        assert Path(f"drawn.{suffix}").read_bytes() == Path(f"figures/m/e/{kind}.{suffix}").read_bytes()


def test_figure_draws_several_experiments_beside_what_chance_does(finished: Path) -> None:
    options = ["--model", "m", "--width", "3.3", "--no-title", "-o", "over_all.svg"]
    assert figure(finished, "e,e", "beyond_chance", *options) == (0, "")
    text = (finished / "over_all.svg").read_text(encoding="utf-8")
    assert 'width="237.6pt"' in text
    assert "What steering changes" not in text
    assert text.count(">1. Love - Hate<") == 2


def test_an_experiment_without_key_tokens_is_named_where_it_cannot_be_compared_with_chance(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        written(made_up(layers=3), "m", "e")
        written(made_up(layers=3, key_positions=()), "m", "bare")
    sentence = "error: the figure beyond_chance needs key tokens, and bare has none\n"
    assert figure(tmp_path, "e,bare", "beyond_chance", "--model", "m", "-o", "none.png") == (1, sentence)


def test_figure_takes_width_title_layers_and_tokens(finished: Path) -> None:
    options = ["--width", "3.3", "--no-title", "--layers", "1-2,output", "--tokens", "0-2"]
    assert figure(finished, "e", "lens", "--configfile", "mine.yaml", *options, "-o", "below/small.svg") == (0, "")
    text = (finished / "below/small.svg").read_text(encoding="utf-8")
    assert 'width="237.6pt"' in text  # 3.3 inches of 72 points
    assert "Love - Hate" not in text
    assert "person" not in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x", "lens", "--model", "m"], "results/m/x: no run has left its tables there; tables are in: results/m/e"),
        (["e", "lens"], "results/gpt2-xl/e: no run has left its tables there; tables are in: results/m/e"),
        (["e", "len", "--model", "m"], f"no figure is called 'len'; the figures are {', '.join(ALL_KINDS)}"),
        (["e,e", "lens", "--model", "m"], "the figure lens is of one experiment; beyond_chance may be of several"),
        (["e,x", "beyond_chance", "--model", "m"],
         "results/m/x: no run has left its tables there; tables are in: results/m/e"),
        (["e", "beyond_chance", "--model", "m", "--tokens", "1"],
         "tokens: the figure beyond_chance has none to choose"),
        (["e", "output", "--model", "m", "--tokens", "7"], "tokens: '7' is not among 0 to 3, as in 0,2-4"),
        (["e", "output", "--model", "m", "--layers", "1"], "layers: the figure output has none to choose"),
        (["e", "output", "--model", "m", "--width", "2"],
         "this figure cannot be read at a width of 2 inches: 2.7 is the smallest width that works"),
    ],
)  # fmt: skip
def test_figure_says_in_one_sentence_what_is_wrong(finished: Path, arguments: list[str], sentence: str) -> None:
    assert figure(finished, *arguments, "-o", "none.png") == (1, f"error: {sentence}\n")
    assert not (finished / "none.png").exists()


def test_figure_is_of_a_format_that_it_can_draw(finished: Path) -> None:
    status, said = figure(finished, "e", "lens", "--model", "m", "-o", "lens.jpg")
    assert (status, said) == (1, "error: lens.jpg: a figure's file name must end in .png, .svg, .pdf\n")


@pytest.mark.parametrize("token", ["wonderful", " wonderful", "3"])
def test_show_prints_the_cell_of_the_table(finished: Path, token: str) -> None:
    losses = tables.read(finished / path(LOSSES, "m", "e"), tables.LOSSES)
    here = losses[(losses["protocol"] == "centred") & (losses["layer"] == "2") & (losses["position"] == 2)]
    unsteered, steered = (here[here["condition"] == name].iloc[0] for name in tables.CONDITIONS)
    assert unsteered["target_token"] == " wonderful"
    said = run(finished, "show", "e", "--token", token, "--layer", "2", "--protocol", "centred", "--model", "m")
    lines = said[1].splitlines()
    assert lines[0] == "␣wonderful at layer 2, centred residuals"
    for line, row in ((lines[1], unsteered), (lines[2], steered)):
        assert f" {row['loss']:.4f} nats   rank {row['rank']}" in line
        assert line.endswith(f"{row['top_token'].replace(' ', '␣')} {row['top_probability']:.1%}")
    assert f"{steered['loss'] - unsteered['loss']:.4f}".lstrip("-") in lines[3]


def test_show_says_what_is_not_there(finished: Path) -> None:
    assert (
        "token: 'zebra' does not occur; the prompt splits into"
        in run(finished, "show", "e", "--token", "zebra", "--model", "m")[1]
    )
    assert "no run has left its tables there" in run(finished, "show", "other", "--token", "a", "--model", "m")[1]
