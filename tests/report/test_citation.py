"""CITATION.cff, as its own tool reads it."""

import subprocess

from validators import validator

from replication.base.paths import REPOSITORY


def test_the_citation_file_is_valid_and_cites():
    command = [validator("cffconvert"), "--infile", REPOSITORY / "CITATION.cff"]
    result = subprocess.run([*command, "--validate"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    bibtex = subprocess.run([*command, "--format", "bibtex"], capture_output=True, text=True, check=True).stdout
    assert "gpt2-steering-tuned-lens" in bibtex


def test_a_broken_citation_file_is_noticed(tmp_path):
    broken = tmp_path / "CITATION.cff"
    broken.write_text((REPOSITORY / "CITATION.cff").read_text().replace("title: ", "titel: ", 1))
    command = [validator("cffconvert"), "--infile", broken, "--validate"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
