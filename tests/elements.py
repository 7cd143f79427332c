"""The elements of an HTML page, read with Python's own parser."""

from html.parser import HTMLParser

VOID = ("meta", "img", "br", "hr", "link", "input")

Attributes = dict[str, str | None]


class Elements(HTMLParser):
    """Every element with its attributes and the names of those around it; complains of what is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, Attributes, tuple[str, ...]]] = []
        self.scripts: list[str] = []
        """What stands in the scripts."""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes), tuple(self._open)))

    def handle_data(self, text: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += text

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def of(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes, _ in self.found if name == tag]

    def policy(self) -> str:
        """The Content Security Policy."""
        return next(
            str(meta["content"]) for meta in self.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"
        )

    def attributes(self) -> list[tuple[str, str | None]]:
        return [item for _, attributes, _ in self.found for item in attributes.items()]
