"""Reads a page as a browser would, as far as tests ask about it."""

from __future__ import annotations

from collections import defaultdict
from html.parser import HTMLParser

VOID = {"meta", "br", "rect", "circle", "line", "polyline"}


class Read(HTMLParser):
    """Elements, attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[str] = []
        """Texts of ``bdi``, where names stand."""
        self._open: list[str] = []
        self._section = "header"
        self._texts: defaultdict[str, list[str]] = defaultdict(list)
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "section":
            self._section = str(dict(attrs)["id"])
        if tag == "bdi":
            self.cells.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["bdi"]:
            self.cells[-1] += data
        if "style" not in self._open:
            self._texts[self._section].append(data)

    def __getitem__(self, section: str) -> str:
        """Its text, in single spaces; empty if there is no such section."""
        return " ".join(" ".join(self._texts[section]).split())
