"""RDF that ends too early is refused, wherever it is cut; mistakes of RDF/XML have a line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest

from kgscale.data.audit import Audit
from kgscale.data.rdf_xml import Lines
from kgscale.errors import DataError
from tests.data.test_rdf import RDF, facts_of
from tests.data.test_triples import write

pytest.importorskip("pyoxigraph")
PERSON = '<rdf:Description rdf:about="p{}">\n<knows rdf:resource="q"/>\n</rdf:Description>\n'
OPEN = f'<rdf:RDF xmlns:rdf="{RDF}" xmlns="http://x/" xml:base="http://x/">\n' + "".join(
    PERSON.format(at) for at in range(200)
)
"""601 lines."""
CLOSED = OPEN + "</rdf:RDF>"
NODE = f'<Person xmlns:rdf="{RDF}" xmlns="http://x/" rdf:about="http://x/a"><knows>{{}}</Person>'
RICH = f"""<?xml version="1.0"?><!DOCTYPE rdf:RDF [<!ENTITY x "http://x/">]><!-- a > b -->
<rdf:RDF xmlns:rdf="{RDF}" xmlns:x="http://x/"
 xml:base='http://x/'><rdf:Description rdf:about="&x;a" x:t="1 > 0"><x:r rdf:resource="b" />
<x:s>text &gt; text</x:s><x:l rdf:parseType="Literal"><b>bold<i/></b> and</x:l>
<x:q rdf:parseType="Resource"><x:r rdf:resource="c"/></x:q><x:d><![CDATA[ <a> ]]></x:d><?some > ?>
<!-- -- --></rdf:Description></rdf:RDF>"""
FACT = "<http://x/a> <http://x/r> <http://x/b> .\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (OPEN, 601, "the document ends within an element (rdf:RDF)"),
        (OPEN[:-1], 601, "the document ends within an element (rdf:RDF)"),
        (OPEN.removesuffix("</rdf:Description>\n"), 600, "within an element (rdf:Description)"),
        (OPEN.removesuffix('"/>\n</rdf:Description>\n'), 600, "not closed"),
        (CLOSED[:-1], 602, "not closed"),
        (f"{OPEN}<!-- > no end", 602, "not closed"),
        (f"{OPEN}<Person><age>\n5", 603, "the document ends within an element"),
        (f"{OPEN}<Person><age><![CDATA[>", 602, "not closed"),
        (f"{OPEN}<!-- -- --><Person><age>\n", 602, "within an element (age)"),
        (NODE.format('<Person rdf:about="http://x/b"/>')[:-9], 1, "within an element (knows)"),
    ],
)
def test_a_document_that_ends_early(
    tmp_path: Path, content: str, line: int, words: str, packed: bool
) -> None:
    path = write(tmp_path / ("x.rdf" + ".gz" * packed), content.encode())
    with pytest.raises(DataError) as caught:
        facts_of(path=path)
    told = str(caught.value)
    assert told.startswith(f"{path} line {line}: "), told
    assert words in told
    assert "\n" not in told


class Untimed(Lines):
    """Only a process of its own may be ended."""

    def _read(self, size: int) -> bytes:
        chunk: bytes = self.stream.read(size)
        return chunk


def test_no_part_of_a_document_is_one() -> None:
    from pyoxigraph import RdfFormat, parse

    def mistake(text: str) -> str | None:
        lines, broken = Untimed(io.BytesIO(text.encode())), None
        try:
            list(parse(cast(Any, lines), format=RdfFormat.RDF_XML))
        except SyntaxError as error:
            broken = error
        assert lines.line == text.removesuffix("\n").count("\n") + 1 or not text
        return lines.mistake(broken)

    assert mistake(RICH) is None
    for at in range(RICH.index("<rdf:RDF") + 1, len(RICH)):
        assert mistake(RICH[:at]), RICH[:at]


@pytest.mark.parametrize("after", ["", "\n<!-- no more > -->\n", "<?end here?>", " \t\r\n\n"])
@pytest.mark.parametrize(
    ("content", "facts"),
    [(CLOSED, 200), (NODE.format('<Person rdf:about="http://x/b"/></knows>'), 3)],
)
def test_documents_that_are_whole(tmp_path: Path, content: str, facts: int, after: str) -> None:
    path = write(tmp_path / "x.rdf", (content + after).encode())
    assert len(facts_of(path=path)) == facts


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("</rdf:Description>", "</rdf:Descr>", 4),
        ('rdf:resource="q"', 'rdf:resource="http://x/%"', 3),
        ("<knows", "\n<other:knows", 4),
        ('"p199"', '"p199" rdf:about="p199"', 599),
        ("</rdf:RDF>", "</rdf:RDF></rdf:RDF>", 602),
    ],
)
def test_mistakes_of_rdf_xml_have_a_line(tmp_path: Path, old: str, new: str, line: int) -> None:
    path = write(tmp_path / "x.rdf", CLOSED.replace(old, new, 1).encode())
    with pytest.raises(DataError, match=rf"x\.rdf line {line}: .*: correct it"):
        facts_of(path=path)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("x.nt", '<http://x/a> <http://x/é> "5. "^^<http://x/i> .'),
        ("x.nq", '<http://x/a> <http://x/é> "5"@de <http://www.x.com/g> .'),
        ("x.nq", "_:b.c <http://x/é> <http://x/b> _:g ."),
        ("x.ttl", '<http://x/a> <http://x/é> [ <http://x/s> "5" ] , ( <http://x/b> ) .'),
        ("x.trig", "<http://x/g> { <http://x/a> <http://x/é> <http://x/b> . }"),
    ],
)
def test_a_file_that_ends_within_a_statement(tmp_path: Path, name: str, last: str) -> None:
    """Wherever it is cut, and however many lines may be unusable."""
    facts_of(path=write(tmp_path / name, f"{FACT}{FACT}{last}".encode()), max_rejected=0)
    for at in range(1, len(last)):
        path = write(tmp_path / name, f"{FACT}{FACT}{last[:at]}".encode())
        with pytest.raises(DataError, match=rf"{name} line 3: .*correct it"):
            facts_of(path=path, max_rejected=1)


@pytest.mark.parametrize("end", ["", "# an end", FACT.rstrip(), FACT.rstrip() + " # end"])
def test_a_broken_line_before_the_end_is_counted(tmp_path: Path, end: str) -> None:
    audit = Audit()
    text = f"{FACT}<http://x/a> <http://x/r> .\n{end}"
    facts_of(audit, path=write(tmp_path / "x.nt", text.encode()))
    assert audit.rejected == {"syntax error": 1}
