"""What is cited: CITATION.cff, the one place it is written, as its own tool reads it, and our BibTeX against it."""

import re
import subprocess

import pytest
import yaml
from validators import validator

from replication.base.paths import REPOSITORY
from replication.report import citation

FILE = REPOSITORY / "CITATION.cff"
CFF = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def entries(text: str) -> dict[str, dict[str, str]]:
    """Fields by key, read as BibTeX has them: one entry from `@misc{` to a lone `}`."""
    found = {}
    for key, body in re.findall(r"^@misc\{([^,\s]+),\n(.*?)^\}$", text, re.DOTALL | re.MULTILINE):
        found[key] = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
    return found


def test_package_post_actadd_and_both_lenses_have_an_entry_each():
    found = entries(citation.bibtex())
    lenses = ["nostalgebraist2020interpreting", "belrose2023eliciting"]
    assert list(found) == ["gpt2-steering-tuned-lens", "mini2023asot", "turner2023steering", *lenses]
    assert found["turner2023steering"]["eprint"] == "2308.10248"
    assert found["belrose2023eliciting"]["doi"] == "10.48550/arXiv.2303.08112"
    assert found["mini2023asot"]["howpublished"] == "LessWrong"
    assert "eprint" not in found["mini2023asot"]
    for entry, written in zip(found.values(), [CFF, *CFF["references"]], strict=True):
        assert entry["title"] == "{" + written["title"].replace("&", r"\&") + "}"
        assert len(entry["author"].split(" and ")) == len(written["authors"])
        assert entry.get("url", "") == written.get("url", "")
    assert found["gpt2-steering-tuned-lens"]["author"] == "{" + CFF["authors"][0]["name"] + "}"
    assert found["nostalgebraist2020interpreting"]["author"] == "nostalgebraist"
    assert found["belrose2023eliciting"]["author"].startswith("Nora Belrose and Igor Ostrovsky and ")


def test_braces_are_balanced_and_specials_escaped():
    text = citation.bibtex()
    assert text.count("{") == text.count("}")
    assert re.findall(r"(?<!\\)[&%$#]", text) == []


@pytest.mark.parametrize("character", "&%$#_{}")
def test_what_tex_would_act_on_is_escaped(character):
    assert citation._escaped(f"a{character}b") == f"a\\{character}b"


def test_the_citation_file_is_valid_and_cites():
    command = [validator("cffconvert"), "--infile", FILE]
    result = subprocess.run([*command, "--validate"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    bibtex = subprocess.run([*command, "--format", "bibtex"], capture_output=True, text=True, check=True).stdout
    assert "gpt2-steering-tuned-lens" in bibtex


def test_a_broken_citation_file_is_noticed(tmp_path):
    broken = tmp_path / "CITATION.cff"
    broken.write_text(FILE.read_text().replace("title: ", "titel: ", 1))
    command = [validator("cffconvert"), "--infile", broken, "--validate"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
