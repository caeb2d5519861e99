"""Literals of RDF as features: numbers by predicate, dates in years, and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kgscale.data.audit import Audit
from kgscale.data.ngrams import NGrams
from kgscale.data.rdf import RdfFiles
from kgscale.data.rdf_literals import XSD, number_of
from kgscale.errors import DataError
from kgscale.graph.store import prepare

pytest.importorskip("pyoxigraph")
TURTLE = """@prefix : <http://x/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
:a :knows :b ; :age 5 ; :motto "per aspera"@la ; :born "1950-07-01"^^xsd:date .
:b :knows :c ; :age 7 ; :kind "x" .
:c :knows :a ; :motto "nil" .
"""


@pytest.mark.parametrize(
    ("value", "kind", "number"),
    [
        ("5", "integer", 5.0),
        ("1.5e3", "double", 1500.0),
        ("true", "boolean", 1.0),
        ("1950-07-01", "date", 1950.5),
        ("1950", "gYear", 1950.0),
        ("-0044-01-01T00:00:00Z", "dateTime", -44.0),
        ("5", "string", None),
        ("noon", "time", None),
        ("2002-09-24-06:00", "date", 2002 + 8 / 12 + 23 / 365),
        ("2002-06:00", "gYear", 2002.0),
        ("2002-06Z", "gYearMonth", 2002 + 5 / 12),
        (" 5 ", "integer", 5.0),
        ("\n true ", "boolean", 1.0),
        (" 1950 ", "gYear", 1950.0),
    ],
)
def test_numbers_by_their_type(value: str, kind: str, number: float | None) -> None:
    assert number_of(value, f"{XSD}{kind}") == number
    assert number_of(value, f"http://x/{kind}") is None


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        ("INF", "double", "literal that is no finite number"),
        ("NaN", "float", "literal that is no finite number"),
        ("five", "integer", "literal that is no finite number"),
        ("", "decimal", "literal that is no finite number"),
        ("1_000", "integer", "literal that is no finite number"),
        ("1e39", "double", "literal that is no finite number"),
        ("soon", "date", "literal that is no date"),
        ("2020-99-99", "date", "literal that is no date"),
        ("2020-00-01", "date", "literal that is no date"),
        ("", "gYear", "literal that is no date"),
        ("yes", "boolean", "literal that is no boolean"),
    ],
)
def test_what_is_no_number_is_no_text_either(value: str, kind: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        number_of(value, f"{XSD}{kind}")
    assert number_of(value, f"http://x/{kind}") is None


BROKEN = """:a :age "7years"^^xsd:integer ; :w "INF"^^xsd:double ; :born "soon"^^xsd:date .
:b :w "INF"^^xsd:double .
"""


def test_broken_literals_are_rejected_lines(tmp_path: Path) -> None:
    """The first are listed, and only they have no part in the features."""
    (tmp_path / "x.ttl").write_text(TURTLE + BROKEN, "utf-8")
    (tmp_path / "y.ttl").write_text(TURTLE, "utf-8")
    audit = Audit()
    source = RdfFiles(path=tmp_path / "x.ttl", literals="features", split=[1, 0, 0])
    list(source.read(audit, tmp_path).facts)
    reason = "literal that is no finite number"
    assert audit.rejected == {reason: 3, "literal that is no date": 1}
    assert audit.dropped == {"literal, which describes an entity": 6}
    assert audit.lines == 3 + 6 + 4
    assert audit.first[0] == {
        "file": "x.ttl (counting statements)",
        "line": 10,
        "reason": reason,
        "value": f'http://x/a\thttp://x/age\t"7years"^^<{XSD}integer>',
    }
    found, sound = (
        prepare(
            RdfFiles(path=tmp_path / f"{name}.ttl", literals="features", split=[1, 0, 0]),
            tmp_path / "stores",
        ).features()[0]
        for name in "xy"
    )
    np.testing.assert_array_equal(found, sound)


@pytest.mark.parametrize("literals", ["features", "entities", "drop"])
def test_too_many_broken_literals_stop_the_run(tmp_path: Path, literals: str) -> None:
    """Where they would describe entities."""
    lines = [f':s{at} :r :a ; :age "{at} years"^^xsd:integer ; :ok 7 .' for at in range(40)]
    (tmp_path / "x.ttl").write_text(TURTLE + "\n".join(lines), "utf-8")

    def read(share: float) -> Audit:
        audit = Audit()
        source = RdfFiles(path=tmp_path / "x.ttl", literals=literals, max_rejected=share)
        list(source.read(audit, tmp_path).facts)
        return audit

    if literals != "features":
        assert read(0).num_rejected == 0
        return
    with pytest.raises(DataError) as caught:
        read(0.001)
    told = str(caught.value)
    assert '\'http://x/s0\\thttp://x/age\\t"0 years"^^' in told
    assert "40 of 129 lines cannot be used: correct them, or allow them with data.max" in told
    assert read(0.5).rejected == {"literal that is no finite number": 40}


def test_a_long_broken_literal_is_listed_in_part(tmp_path: Path) -> None:
    line = f':a :age "{"x" * 100_000}"^^xsd:integer .'
    (tmp_path / "x.ttl").write_text(TURTLE + line, "utf-8")
    audit = Audit()
    source = RdfFiles(path=tmp_path / "x.ttl", literals="features")
    list(source.read(audit, tmp_path).facts)
    assert len(audit.first[0]["value"]) < 300


def test_literals_describe_their_subjects(tmp_path: Path) -> None:
    (tmp_path / "x.ttl").write_text(TURTLE, "utf-8")
    source = RdfFiles(path=tmp_path / "x.ttl", literals="features", split=[1, 0, 0])
    store = prepare(source, tmp_path / "stores")
    assert store.entity_keys([0, 1, 2]) == ["http://x/a", "http://x/b", "http://x/c"]
    (found,) = store.features().values()
    np.testing.assert_array_equal(found[:, :4], [[-1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found[:, 4:], NGrams().encode(["per aspera", "x", "nil"]))
    other = RdfFiles(path=tmp_path / "x.ttl", split=[1, 0, 0])
    assert prepare(other, tmp_path / "stores").features() == {}


def test_labels_are_no_features(tmp_path: Path) -> None:
    """What is asked for is never told."""
    more = TURTLE + ':b :motto "per aspera" . :a :motto "nil" . :c :age 7 .\n'
    (tmp_path / "x.ttl").write_text(more, "utf-8")
    motto = {"label_relation": "http://x/motto", "label_split": [1, 0, 0], "rare_label": "drop"}
    age = {**motto, "label_relation": ["http://x/motto", "http://x/kind", "http://x/age"]}
    for settings, dim in ((motto, 4 + 256), (age, 2)):
        source = RdfFiles(path=tmp_path / "x.ttl", literals="features", split=[1, 0, 0], **settings)
        assert prepare(source, tmp_path / "stores").features()[0].shape == (3, dim)


def test_no_literal(tmp_path: Path) -> None:
    nothing = RdfFiles(path=tmp_path / "y.nt", literals="features", split=[1, 0, 0])
    (tmp_path / "y.nt").write_text("<http://x/a> <http://x/r> <http://x/b> .\n", "utf-8")
    with pytest.raises(DataError, match="has no literal"):
        prepare(nothing, tmp_path / "stores")
