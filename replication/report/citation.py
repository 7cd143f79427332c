"""How to cite: the references of CITATION.cff, the one place they are written, as BibTeX and as entries of a list."""

import re
from dataclasses import dataclass
from typing import Any

from replication.base.paths import in_checkout
from replication.base.strict_yaml import read_yaml

_ARXIV = "10.48550/arXiv."
"""Prefix of the DOIs that arXiv gives."""

_BIBTEX_SPECIAL = re.compile(r"[&%$#_{}]")


@dataclass(frozen=True)
class Reference:
    """Something to cite."""

    title: str
    authors: tuple[str, ...]
    """Each "Given Family", or the name of a group."""
    family: str
    """Family name of the first author; empty for a group."""
    year: str
    publisher: str
    """Where it appeared; empty where the DOI says it, or for software."""
    doi: str
    url: str
    version: str

    @property
    def arxiv(self) -> str:
        """The arXiv identifier; empty for what is not on arXiv."""
        return self.doi.removeprefix(_ARXIV) if self.doi.startswith(_ARXIV) else ""

    @property
    def key(self) -> str:
        """BibTeX key: first author, year and first word of the title, or the title's first word for a group's work."""
        words = re.findall(r"[a-z0-9][a-z0-9-]*", self.title.lower())
        return f"{self.family.lower()}{self.year}{words[0]}" if self.family else words[0]


def references() -> list[Reference]:
    """This package, then what it replicates and builds on, in the order of CITATION.cff."""
    cff = read_yaml(in_checkout("CITATION.cff"))
    return [_reference(cff), *(_reference(entry) for entry in cff["references"])]


def bibtex() -> str:
    """BibTeX entries of this package, the post, ActAdd, the logit lens and the tuned lens."""
    return "\n".join(_entry(reference) for reference in references())


def _reference(entry: dict[str, Any]) -> Reference:
    people = entry["authors"]
    date = str(entry.get("date-released") or entry["year"])
    return Reference(
        title=entry["title"],
        authors=tuple(map(_name, people)),
        family=people[0].get("family-names", ""),
        year=date[:4],
        publisher=entry.get("publisher", {}).get("name", ""),
        doi=entry.get("doi", ""),
        url=entry.get("url", ""),
        version=entry.get("version", ""),
    )


def _name(person: dict[str, str]) -> str:
    """Of a group, of a person, or one by which a person is known alone."""
    return person.get("name") or f"{person.get('given-names', '')} {person['family-names']}".strip()


def _entry(reference: Reference) -> str:
    """One entry; `@misc` because plain BibTeX knows no software, web page or preprint."""
    # Braces keep capitals, and a group's name in one piece.
    authors = [_escaped(name) if reference.family else f"{{{_escaped(name)}}}" for name in reference.authors]
    fields = {
        "title": f"{{{_escaped(reference.title)}}}",
        "author": " and ".join(authors),
        "year": reference.year,
        "howpublished": _escaped(reference.publisher),
        "version": reference.version,
        "eprint": reference.arxiv,
        "archiveprefix": "arXiv" if reference.arxiv else "",
        "doi": reference.doi,
        "url": reference.url,
    }
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
    return f"@misc{{{reference.key},\n{''.join(lines)}}}\n"


def _escaped(text: str) -> str:
    return _BIBTEX_SPECIAL.sub(r"\\\g<0>", text)
