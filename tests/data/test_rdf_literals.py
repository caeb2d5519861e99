"""Literals of RDF as features: numbers by predicate, dates in years, and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
        ("INF", "double", None),
        ("five", "integer", None),
        ("5", "string", None),
        ("soon", "date", None),
        ("2020-99-99", "date", None),
        ("2020-00-01", "date", None),
        ("2002-09-24-06:00", "date", 2002 + 8 / 12 + 23 / 365),
        ("2002-06:00", "gYear", 2002.0),
        ("2002-06Z", "gYearMonth", 2002 + 5 / 12),
        ("1_000", "integer", None),
        (" 5 ", "integer", 5.0),
    ],
)
def test_numbers_by_their_type(value: str, kind: str, number: float | None) -> None:
    assert number_of(value, f"{XSD}{kind}") == number
    assert number_of(value, f"http://x/{kind}") is None


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
