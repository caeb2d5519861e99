"""Keys, names, classes: from ids and back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError
from kgscale.graph import names as names_module
from kgscale.graph.names import SEVERAL, UNKNOWN
from kgscale.graph.store import GraphStore, prepare
from tests.graph.test_store import given_splits

TRAIN = [("p1", "born", "c1"), ("p2", "born", "c2"), ("p3", "knows", "p1"), ("p1", "knows", "p2")]
NAMES = "p1\tAda\np2\tAlan\np3\talan\nc1\tParis\nc2\tParis\np1\tZoe\nunused\tNobody\n"
CLASSES = "p1\tperson\np1\tauthor\np2\tperson\np3\tperson\nc1\tcity\n"


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    data = given_splits(tmp_path / "data", TRAIN, TRAIN[:1], TRAIN[:1])
    (tmp_path / "names.tsv").write_text(NAMES, "utf-8")
    (tmp_path / "relations.tsv").write_text("born\twas born in\n", "utf-8")
    (tmp_path / "classes.tsv").write_text(CLASSES, "utf-8")
    source = TripleFiles(
        path=data,
        names=str(tmp_path / "names.tsv"),
        relation_names=str(tmp_path / "relations.tsv"),
        classes=str(tmp_path / "classes.tsv"),
    )
    return prepare(source, tmp_path)


def test_names_and_keys(store: GraphStore) -> None:
    assert store.entity_keys([4, 0, 0]) == ["p3", "c1", "c1"]
    assert store.entity_names([2, 1]) == ["Ada", "Paris"]
    assert store.relation_names([0, 1]) == ["was born in", "knows"]
    assert store.relation_keys([1]) == ["knows"]
    assert store.entity_keys([]) == []


def test_finding(store: GraphStore) -> None:
    assert store.find_entity("p1") == store.find_entity("Ada") == store.find_entity("ADA") == 2
    assert store.find_entity("Alan") == 3
    assert store.find_entity("alan") == 4
    assert store.find_relation("Was Born In") == 0


def test_an_ambiguous_name_lists_the_keys(store: GraphStore) -> None:
    with pytest.raises(ConfigError, match=r"'Paris' .*'c1', 'c2'"):
        store.find_entity("Paris")
    with pytest.raises(ConfigError, match=r"'ALAN' .*'p2', 'p3'"):
        store.find_entity("ALAN")


def test_finding_among_some(store: GraphStore) -> None:
    assert store.find_entity("Paris", range(1, 3)) == 1
    with pytest.raises(ConfigError, match=r"'Ada': nearest are 'Alan' \(p2\), 'alan' \(p3\)$"):
        store.find_entity("Ada", range(3, 5))


def test_finding_many_among_some(store: GraphStore) -> None:
    texts = pa.array(["Paris", "Ada", "alan"])
    assert store.find_entities(texts).tolist() == [SEVERAL, 2, 4]
    assert store.find_entities(texts, range(1, 3)).tolist() == [1, 2, UNKNOWN]


def test_an_unknown_name_suggests_the_nearest(store: GraphStore) -> None:
    with pytest.raises(ConfigError, match=r"'Adaa': nearest are 'Ada' \(p1\), "):
        store.find_entity("Adaa")
    with pytest.raises(ConfigError, match=r"relation .*'know': nearest are 'knows'"):
        store.find_relation("know")


def test_oddities_are_counted(store: GraphStore) -> None:
    counts = store.manifest["counts"]
    assert counts["keys_with_several_names"]["entity"] == 1
    assert counts["labels_without_facts"]["entity"] == 1


def test_classes(store: GraphStore) -> None:
    assert store.class_names == ["author", "city", "person"]
    indptr, class_id = store.entity_classes()
    found = [class_id[a:b].tolist() for a, b in pairwise(indptr.tolist())]
    assert found == [[1], [], [0, 2], [2], [2]]
    # born: p1 (author, person) to c1 (city); c2 has no class. knows: p3 to p1, p1 to p2.
    assert store.relation_classes() == [[(0, 1), (2, 1)], [(0, 2), (2, 0), (2, 2)]]


def test_one_class_where_nothing_is_said(tmp_path: Path) -> None:
    data = given_splits(tmp_path / "data", TRAIN, TRAIN[:1], TRAIN[:1])
    store = prepare(TripleFiles(path=data), tmp_path)
    assert store.class_names == ["entity"]
    assert store.entity_classes()[1].tolist() == [0] * 5
    assert store.relation_classes() == [[(0, 0)], [(0, 0)]]
    assert store.entity_names([0]) == ["c1"]


def test_groups_of_rows_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.graph.tables.GROUP", 2)
    monkeypatch.setattr(names_module, "GROUP", 2)
    data = given_splits(tmp_path / "data", TRAIN, TRAIN[:1], TRAIN[:1])
    store = prepare(TripleFiles(path=data), tmp_path)
    assert store.entity_keys([4, 0, 2, 4]) == ["p3", "c1", "p1", "p3"]
    assert store.find_entity("p3") == 4
    assert store.num_triples["train"] == len(store.triples("train")) == 4


def test_finding_many_at_once(store: GraphStore) -> None:
    """Each as it would be found alone."""
    texts = ["p1", "Ada", "ADA", "Alan", "alan", "Paris", "ALAN", "Adaa", "Zoe", "c1", "", "ä"]
    found = store.find_entities(pa.array(texts)).tolist()
    for text, number in zip(texts, found, strict=True):
        if number >= 0:
            assert store.find_entity(text) == number
        else:
            words = {SEVERAL: "name of several", UNKNOWN: "nearest are"}[number]
            with pytest.raises(ConfigError, match=words):
                store.find_entity(text)
    assert {SEVERAL, UNKNOWN, 2} <= set(found)
    assert store.find_relations(pa.array(["Was Born In", "knows"])).tolist() == [0, 1]
    assert store.find_entities(pa.array([], pa.string())).tolist() == []
