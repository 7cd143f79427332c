"""An experiment whose every text tries to break out goes through the whole workflow, and does no harm anywhere."""

import unicodedata

import pytest
import yaml
from elements import Elements
from repository_copy import copied
from run_snakemake import snakemake

from replication.base import tables
from replication.base.files import read_json

HOSTILE = (
    '"it\'s" </script><img src=x onerror=alert(1)> $(touch pwned) `x` \\input{x} |a| '
    "\u202egnp \x07\x1b\n# null\r\n<|endoftext|>&amp; %s\x85"
)
UNSEEN = {character for character in HOSTILE if unicodedata.category(character) in ("Cc", "Cf")} - {"\n"}
LABEL = "".join(character for character in HOSTILE if character not in UNSEEN)
"""What the configuration accepts of it for a title or a note."""

STEERING = {"layer": 3, "coefficient": 2, "added": "\u202e'\"</script>\x07", "subtracted": ""}
READ = (".html", ".md", ".tex", ".svg")
"""What a browser, a Markdown viewer or LaTeX reads."""


@pytest.mark.slow
def test_hostile_text_through_the_whole_workflow(tmp_path, random_folders):
    repository, work = copied(tmp_path / "repository"), tmp_path / "work"
    experiment = {"title": LABEL, "prompt": HOSTILE, "steering": STEERING, "key_tokens": [" null"]}
    folders = dict(zip(("folder", "lens_folder"), map(str, random_folders), strict=True))
    config = {
        "model": "mine",
        "models": {"mine": {"note": LABEL, **folders}},
        "experiments": {"hostile": experiment},
        "controls": {"random_vectors": 2, "sweep": False},
    }
    (repository / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    work.mkdir()
    snakemake(work, repository=repository)
    assert not list(tmp_path.rglob("pwned"))

    record = read_json(work / "results/mine/hostile/record.json")
    assert record["experiment"]["prompt"] == HOSTILE
    assert record["experiment"]["title"] == LABEL
    losses = tables.read(work / "results/mine/hostile/losses.csv", tables.LOSSES)
    assert "<|endoftext|>" in list(losses["context_token"])[1:]

    shown = [file for file in work.rglob("*") if file.suffix in READ and ".snakemake" not in file.parts]
    assert {file.suffix for file in shown} == set(READ)
    for file in shown:
        text = file.read_text(encoding="utf-8")
        odd = UNSEEN & set(text)
        assert not odd, f"{file}: {odd}"
        if file.suffix == ".html":
            attributes = Elements(text).attributes()
            assert not [name for name, value in attributes if name.startswith("on") and "alert" in str(value)]
            assert ("src", "x") not in attributes, file
