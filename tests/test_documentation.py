"""Links of the documentation lead to something, and the checklist's evidence is there."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from printed import DOCUMENTS

from replication.base.paths import REPOSITORY

CHECKLIST = REPOSITORY / "docs/checklist.md"
PARSER = MarkdownIt().enable("table")


def inline(file: Path) -> Iterator:
    for token in PARSER.parse(file.read_text(encoding="utf-8")):
        yield from token.children or []


def links(file: Path) -> list[str]:
    """Addresses of links and pictures."""
    found = (token for token in inline(file) if token.type in ("link_open", "image"))
    return [str(token.attrs.get("href") or token.attrs["src"]) for token in found]


def anchors(file: Path) -> set[str]:
    """What a link into a Markdown file can end in: GitHub's for headings, and our own."""
    text = file.read_text(encoding="utf-8")
    tokens = PARSER.parse(text)
    titles = [tokens[i + 1].children or [] for i, token in enumerate(tokens) if token.type == "heading_open"]
    words = ["".join(part.content for part in title).lower().replace(" ", "-") for title in titles]
    # GitHub keeps letters, digits and hyphens of a heading.
    slugs = {"".join(c for c in title if c in "-_" or unicodedata.category(c)[0] in "LNM") for title in words}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def dead(file: Path) -> list[str]:
    """Links inside the repository that lead nowhere."""
    found = []
    for link in links(file):
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        lost = not target.exists() or (anchor and anchor not in anchors(target))
        if "://" not in link and lost:
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_an_anchor(document):
    assert dead(REPOSITORY / document) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    (tmp_path / "there.md").write_text("# One, two & three\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#one-two--three) [b](there.md#two) [c](gone.md) [d](#page) [e](https://example.org)\n")
    assert dead(page) == ["there.md#two", "gone.md", "#page"]


def rows() -> list[list[str]]:
    """The checklist's questions: cells of every row of its tables."""
    lines = [line for line in CHECKLIST.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if "question" not in row]


def test_every_question_is_answered_in_one_line_with_evidence():
    assert len(rows()) > 30
    for row in rows():
        question, answer, evidence = row[-3:]
        assert question.endswith("?"), row
        assert re.match("(yes|no|for|wired in|a loss has|small)", answer), row
        assert "](" in evidence or evidence.startswith("this line"), row


def test_every_test_that_is_named_as_evidence_is_there():
    named = 0
    for row in rows():
        files = [CHECKLIST.parent / link for link in re.findall(r"\((\.\./tests/[^)]+\.py)\)", row[-1])]
        for name in re.findall(r"`(test_\w+)`", row[-1]):
            assert any(f"\ndef {name}(" in file.read_text() for file in files), name
            named += 1
    assert named >= 9


def test_what_has_not_been_done_is_answered_with_no():
    if (REPOSITORY / "replication/pins/gpt2-xl").exists():
        pytest.skip("GPT-2 XL has pins here: docs/checklist.md and this test are to be answered anew")
    answers = {row[-3]: row[-2] for row in rows()}
    for question, answer in answers.items():
        if question.startswith(("Have others", "Is it in an archive")):
            assert answer.startswith("no"), question
    unpinned = answers["Does a run notice when numbers have changed?"]
    assert unpinned.endswith("for GPT-2 XL no: it is not pinned yet")
