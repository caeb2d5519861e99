"""RDF: every format gives the same facts; literals, labels, types and errors as documented."""

from __future__ import annotations

import gzip
import importlib.util
import resource
from pathlib import Path
from typing import Any

import pytest

from kgscale.data.audit import Audit
from kgscale.data.rdf import RdfFiles
from kgscale.data.splits import SPLITS
from kgscale.errors import ConfigError, DataError, KgscaleError
from kgscale.graph.store import prepare
from tests.data.test_triples import write

pytest.importorskip("pyoxigraph")
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
TURTLE = f"""@prefix : <http://x/> . @prefix rdfs: <{RDFS}> .
:a :knows :b , _:n ; a :Person ; rdfs:label "Änne"@de , "Anne"@en ; :age 5 .
_:n :knows :a .
"""
N_TRIPLES = f"""# a comment
<http://x/a> <http://x/knows> <http://x/b> .
<http://x/a> <http://x/knows> _:n .
<http://x/a> <{RDF}type> <http://x/Person> .
<http://x/a> <{RDFS}label> "Änne"@de .
<http://x/a> <{RDFS}label> "Anne"@en .
<http://x/a> <http://x/age> "5"^^<http://www.w3.org/2001/XMLSchema#integer> .
_:n <http://x/knows> <http://x/a> .
"""
XML = f"""<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="{RDF}" xmlns:rdfs="{RDFS}" xmlns="http://x/" xml:base="http://x/">
<Person rdf:about="a">
<knows rdf:resource="b"/><knows rdf:nodeID="n"/>
<rdfs:label xml:lang="de">Änne</rdfs:label><rdfs:label xml:lang="en">Anne</rdfs:label>
<age rdf:datatype="http://www.w3.org/2001/XMLSchema#integer">5</age>
</Person>
<rdf:Description rdf:nodeID="n"><knows rdf:resource="a"/></rdf:Description>
</rdf:RDF>
"""
FILES = {
    "x.nt": N_TRIPLES,
    "x.nq": N_TRIPLES.replace(" .\n", " <http://x/graph> .\n", 2),
    "x.ttl": TURTLE,
    "x.trig": TURTLE.replace("_:n :knows", ":graph { _:n :knows").replace(":a .\n", ":a . }\n"),
    "x.rdf": XML,
    "x.owl": XML,
}
KNOWS = {("http://x/a", "http://x/b"), ("http://x/a", "_:n"), ("_:n", "http://x/a")}
AGE = "literal of http://x/age"
Triple = tuple[str, str, str]


def facts_of(audit: Audit | None = None, **settings: Any) -> list[Triple]:
    reading = RdfFiles(**settings).read(audit or Audit(), Path())
    return [
        (head, relation.removeprefix("http://x/"), tail)
        for facts in reading.facts
        for head, relation, tail in zip(
            facts.head.to_pylist(), facts.relation.to_pylist(), facts.tail.to_pylist(), strict=True
        )
    ]


def said(**settings: Any) -> list[tuple[str, str | None, str | None]]:
    reading = RdfFiles(**settings).read(Audit(), Path())
    for _ in reading.facts:
        pass
    return [
        row
        for labels in reading.entities
        for row in zip(
            *(c.to_pylist() for c in (labels.key, labels.name, labels.class_)), strict=True
        )
    ]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same(tmp_path: Path, name: str, packed: bool) -> None:
    content = FILES[name].encode()
    path = write(tmp_path / (name + ".gz" * packed), content)
    audit = Audit()
    facts = facts_of(audit, path=path)
    expected = {(head, "knows", tail) for head, tail in KNOWS}
    assert set(facts) == {*expected, ("http://x/a", f"{RDF}type", "http://x/Person")}
    assert len(facts) == audit.accepted == 4
    assert audit.dropped == {AGE: 1, "rdfs:label, which gives names": 2}
    assert sorted(said(path=path)) == [
        ("http://x/a", "Anne", None),
        ("http://x/a", "Änne", None),
    ]
    assert said(path=path, language="de") == [("http://x/a", "Änne", None)]


def test_types_as_classes_and_literals_as_entities(tmp_path: Path) -> None:
    path = write(tmp_path / "x.ttl", TURTLE.encode())
    audit = Audit()
    facts = facts_of(audit, path=path, rdf_type="class", literals="entities")
    age = '"5"^^<http://www.w3.org/2001/XMLSchema#integer>'
    assert set(facts) == {*((h, "knows", t) for h, t in KNOWS), ("http://x/a", "age", age)}
    assert audit.dropped["rdf:type, which gives classes"] == 1
    assert audit.lines == 7
    assert ("http://x/a", None, "http://x/Person") in said(path=path, rdf_type="class")
    store = prepare(RdfFiles(path=path, rdf_type="class", split=[1, 0, 0]), tmp_path)
    assert store.class_names == ["http://x/Person"]
    assert store.find_entity("Anne") == store.find_entity("http://x/a")


def test_nodes_without_a_label_are_numbered(tmp_path: Path) -> None:
    content = b"@prefix : <http://x/> . :a :r [ :r :b ] , [ :r :c ] . _:b :r :a ."
    path = write(tmp_path / "x.ttl", content)
    facts = facts_of(path=path)
    assert facts == facts_of(path=path)
    assert {key for h, _, t in facts for key in (h, t) if key[0] == "_"} == {"_:#1", "_:#2", "_:b"}


def test_blank_nodes_belong_to_their_file(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / f"{split}.nt.gz", b"_:n <http://x/knows> <http://x/b> .\n")
    facts = facts_of(path=tmp_path)
    assert [head for head, _, _ in facts] == ["_:train/n", "_:valid/n", "_:test/n"]


def test_labels_of_a_relation_may_be_literals(tmp_path: Path) -> None:
    path = write(tmp_path / "x.ttl", TURTLE.encode())
    reading = RdfFiles(path=path, label_relation="http://x/age").read(Audit(), Path())
    rows = [facts.node_labels for facts in reading.facts if facts.node_labels is not None]
    assert [(row.key.to_pylist(), row.label.to_pylist()) for row in rows] == [
        (["http://x/a"], ["5"])
    ]
    assert rows[0].file.endswith("x.ttl (counting statements)")


def test_a_broken_line_is_counted_where_the_parser_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nt", N_TRIPLES.replace("<http://x/b> .", ".").encode())
    audit = Audit()
    assert len(facts_of(audit, path=path)) == 3
    assert audit.rejected == {"syntax error": 1}
    assert audit.first[0]["line"] == 2
    with pytest.raises(DataError, match=r"x\.nt line 2: syntax error: .*object.*max_rejected"):
        facts_of(path=path, max_rejected=0)


@pytest.mark.parametrize(
    ("name", "content", "settings", "kind", "words"),
    [
        ("x.ttl", ":a :b :c .", {}, DataError, ["x.ttl line 1: ", "prefix", "correct it"]),
        ("x.ttl", "<a> <b> <c> .", {}, DataError, ["line 1", "data.base"]),
        ("x.rdf", XML[:300], {}, DataError, ["x.rdf", "syntax error", "correct it"]),
        ("x.nt", "", {}, DataError, ["x.nt is empty"]),
        ("x.nt", "<http://x/a> <http://x/b> 'c' .\n" * 20, {}, DataError, ["20 of 20 lines"]),
        (
            "x.nt",
            '<http://x/a> <http://x/b> "c" .',
            {},
            DataError,
            ["joins two resources", "data.literals=entities"],
        ),
        ("x.tsv", "a\tb\tc", {}, ConfigError, ["x.tsv is none of .nt, .nq", "data=triples"]),
        (
            "x.nt",
            "",
            {"literals": "keep"},
            ConfigError,
            ["data.literals is drop, entities or features"],
        ),
        ("x.nt", "", {"rdf_type": "no"}, ConfigError, ["data.rdf_type is relation or class"]),
        ("x.ttl", TURTLE, {"base": "x y"}, ConfigError, ["data.base is no IRI: 'x y'"]),
        ("x.ttl", TURTLE, {"label_relation": "http://x/ag"}, ConfigError, ["no relation 'http"]),
    ],
)
def test_refusals(
    tmp_path: Path,
    name: str,
    content: str,
    settings: dict[str, Any],
    kind: type[KgscaleError],
    words: list[str],
) -> None:
    path = write(tmp_path / name, content.encode())
    with pytest.raises(kind) as caught:
        facts_of(path=path, **settings)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.nt.gz"
    path.write_bytes(gzip.compress(N_TRIPLES.encode() * 99)[:-20])
    with pytest.raises(DataError, match=r"x\.nt\.gz cannot be read"):
        facts_of(path=path)


def test_a_line_without_end(tmp_path: Path) -> None:
    line = b'<http://x/a> <http://x/b> "' + b"x" * (17 << 20) + b'" .\n'
    path = write(tmp_path / "x.nt", line)
    with pytest.raises(DataError, match=r"x\.nt: a line of more than 16 MiB: correct it"):
        facts_of(path=path)


@pytest.mark.slow
def test_elements_within_elements_take_no_time_by_the_square(tmp_path: Path) -> None:
    start = XML[: XML.index(">", XML.index("<rdf:RDF")) + 1]
    path = write(tmp_path / "x.rdf", (start + "<rdf:value>" * 300_000).encode())
    with pytest.raises(DataError, match=r"x\.rdf: [\d,]+ bytes of its XML take too long"):
        facts_of(path=path)


def test_an_entity_outside_is_reached_by_no_xml(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.txt", b"hidden")
    declared = f'<!DOCTYPE r [<!ENTITY s SYSTEM "{secret.as_uri()}">]>\n<rdf:RDF'
    content = XML.replace("<rdf:RDF", declared, 1).replace(">5<", ">&s;<")
    with pytest.raises(DataError, match=r"x\.rdf"):
        facts_of(path=write(tmp_path / "x.rdf", content.encode()))


@pytest.mark.parametrize("depth", [5, 9])
def test_entities_within_entities_are_stopped(tmp_path: Path, depth: int) -> None:
    """A few hundred bytes that ask for gigabytes; the whole program stays as small as it was."""
    levels = [f'<!ENTITY a0 "{"ha" * 40}">']
    levels += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 30}">' for n in range(1, depth)]
    declared = f"<!DOCTYPE r [{''.join(levels)}]>\n<rdf:RDF"
    content = XML.replace("<rdf:RDF", declared, 1).replace(">5<", f">&a{depth - 1};<")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"x\.rdf.*more than (512|16) MiB, perhaps by entities"):
        facts_of(path=write(tmp_path / "x.rdf", content.encode()))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_entities_that_abbreviate_are_fine(tmp_path: Path) -> None:
    declared = '<!DOCTYPE r [<!ENTITY five "&#53;">]>\n<rdf:RDF'
    content = XML.replace("<rdf:RDF", declared, 1).replace(">5<", ">&five;<")
    plain = facts_of(path=write(tmp_path / "plain.rdf", XML.encode()))
    assert facts_of(path=write(tmp_path / "x.rdf", content.encode())) == plain


def test_a_cut_rdf_xml_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.rdf.gz"
    path.write_bytes(gzip.compress(XML.encode() * 999)[:-20])
    with pytest.raises(DataError, match=r"x\.rdf\.gz"):
        facts_of(path=path)


def test_the_digest_knows_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path / "x.ttl", TURTLE.encode())
    settings: list[dict[str, Any]] = [
        {},
        {"literals": "entities"},
        {"rdf_type": "class"},
        {"language": "de"},
        {"base": "http://y/"},
    ]
    assert len({RdfFiles(path=path, **more).digest() for more in settings}) == len(settings)
    assert len({RdfFiles(path=path, **more).stamp() for more in settings}) == len(settings)


def test_without_the_package_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        RdfFiles(path="x.nt")
    assert "pip install -c constraints.txt -e '.[rdf]'" in str(caught.value)


@pytest.mark.shared_data
def test_aifb_has_the_published_counts(tmp_path: Path, shared_data: Path) -> None:
    aifb = shared_data / "aifb"
    labels = {split: str(aifb / f"labels_{split}.tsv.gz") for split in ("train", "test")}
    path = aifb / "aifb_stripped.nt.gz"
    store = prepare(RdfFiles(path=path, literals="entities", labels=labels), tmp_path)
    assert (store.num_entities, store.num_relations) == (8285, 45)
    assert sum(store.num_triples.values()) == 29043
    told = store.manifest["counts"]["labels"]
    assert told["entities"] == {"train": 112, "valid": 28, "test": 36}
    assert len(told["classes"]) == 4
    # Without literals the graph is smaller, but every labelled person is there.
    store = prepare(RdfFiles(path=path, labels=labels), tmp_path)
    assert (store.num_entities, store.num_relations) == (2835, 22)
    assert store.manifest["counts"]["labels"]["entities"]["test"] == 36


def test_a_long_prefix_in_many_statements_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "x.ttl"
    path.write_text(f"@prefix x: <http://x/{'x' * 100_000}> .\n" + "x:a x:r x:b .\n" * 5_000)
    with pytest.raises(DataError, match="which no data set does"):
        facts_of(path=path)
