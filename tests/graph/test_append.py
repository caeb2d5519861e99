"""A version of a store is the store that all its input together would have made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.papers import Papers
from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError
from kgscale.graph.append import Appended, numbers_in
from kgscale.graph.store import GraphStore, prepare

Row = tuple[str, str, str]
NAMES = ("train", "valid", "test")
some = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("rs"), st.sampled_from("acegikmo")),
    min_size=1,
    max_size=25,
)


def lines(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")
    return path


def folder(path: Path, parts: Sequence[Sequence[Row]]) -> Path:
    """A part that is not given repeats a triple of the first: an empty file would be refused."""
    for at, name in enumerate(NAMES):
        lines(path / f"{name}.tsv", parts[at] if at < len(parts) else parts[0][:1])
    return path


def store_of(root: Path, path: Path, **options: Any) -> GraphStore:
    options = {"unseen_relation": "drop", **options}
    return prepare(TripleFiles(path=path, name="graph", **options), root / "stores")


def appended(root: Path, old: GraphStore, path: Path, **options: Any) -> GraphStore:
    source = TripleFiles(path=path, **{"unseen_relation": "drop", **options})
    return prepare(Appended(old, source), root / "stores")


def about(entities: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Something of every kind to say about entities."""
    return {
        "names": [(key, f"the {key}") for key in entities],
        "types": [(key, "even" if ord(key) % 2 else "odd") for key in entities],
        "classes": [(key, kind) for key in entities for kind in (key < "e", key > "c")],
        "labels": [(key, "xy"[ord(key) % 2], NAMES[ord(key) % 3]) for key in entities],
        "features": [(key, ord(key), 1 / ord(key)) for key in entities],
    }


def entities_of(parts: Sequence[Sequence[Row]]) -> set[str]:
    return {end for part in parts for head, _, tail in part for end in (head, tail)}


@settings(max_examples=3)
@given(first=st.tuples(some, some, some), more=st.tuples(some, some, some), told=st.booleans())
def test_a_version_is_what_all_input_makes(
    first: tuple[list[Row], ...], more: tuple[list[Row], ...], told: bool
) -> None:
    # Every relation is in train, since the others are left out; and every split has a label.
    first = ([("a", "r", "c"), ("a", "s", "b"), *first[0]], *first[1:])
    both = [[*one, *other] for one, other in zip(first, more, strict=True)]
    before, after = entities_of(first), entities_of(both)
    with TemporaryDirectory() as place:
        root = Path(place)

        def described(name: str, keys: set[str]) -> dict[str, str]:
            found = about(sorted(keys)) if told and keys else {}
            return {
                kind: str(lines(root / name / f"{kind}.tsv", rows)) for kind, rows in found.items()
            }

        whole = store_of(root, folder(root / "whole", both), **described("all", after))
        old = store_of(root, folder(root / "old", first), **described("first", before))
        later = described("later", after - before)
        version = appended(root, old, folder(root / "more", more), **later)
        assert version.fingerprint == whole.fingerprint
        assert version.num_triples == whole.num_triples
        entity, relation = numbers_in(old, version)
        known = [at for at, number in enumerate(entity.tolist()) if number >= 0]
        assert version.entity_keys(known) == old.entity_keys(entity[known].tolist())
        assert sorted(entity[known].tolist()) == list(range(old.num_entities))
        assert relation.tolist() == list(range(old.num_relations))


def test_a_single_file_is_for_training(tmp_path: Path) -> None:
    old = store_of(tmp_path, folder(tmp_path / "old", [[("a", "r", "b")]]))
    version = appended(tmp_path, old, lines(tmp_path / "more.tsv", [("c", "r", "a")]))
    assert version.num_triples == {"train": 2, "valid": 1, "test": 1}
    assert version.entity_keys([0, 1, 2]) == ["a", "b", "c"]
    assert version.path.parent == old.path.parent != version.path
    assert numbers_in(old, version)[0].tolist() == [0, 1, -1]


def test_versions_of_versions(tmp_path: Path) -> None:
    store = store_of(tmp_path, folder(tmp_path / "old", [[("m", "r", "n")]]))
    for key in "zyx":
        store = appended(tmp_path, store, lines(tmp_path / f"{key}.tsv", [(key, "r", "m")]))
    rows = [("m", "r", "n"), *((key, "r", "m") for key in "xyz")]
    whole = store_of(tmp_path, folder(tmp_path / "whole", [rows]))
    assert store.fingerprint == whole.fingerprint


def test_the_input_of_the_old_is_not_read_again(tmp_path: Path) -> None:
    old = store_of(tmp_path, folder(tmp_path / "old", [[("a", "r", "b")]]))
    shutil.rmtree(tmp_path / "old")
    assert appended(tmp_path, old, lines(tmp_path / "m.tsv", [("c", "r", "a")])).num_entities == 3


def test_an_earlier_version_is_not_of_another_graph(tmp_path: Path) -> None:
    one, other = (store_of(tmp_path, folder(tmp_path / key, [[(key, "r", "b")]])) for key in "ac")
    with pytest.raises(DataError, match=r"lacks 1 of the entities of .* no later version"):
        numbers_in(one, other)


def test_a_type_that_changes_is_refused(tmp_path: Path) -> None:
    kinds = [str(lines(tmp_path / f"{kind}.tsv", [("a", kind)])) for kind in ("one", "two")]
    old = store_of(tmp_path, folder(tmp_path / "old", [[("a", "r", "b")]]), types=kinds[0])
    with pytest.raises(DataError, match="'a' has the types 'one' and 'two'"):
        appended(tmp_path, old, lines(tmp_path / "m.tsv", [("c", "r", "a")]), types=kinds[1])


def test_what_cannot_be_added_is_refused(tmp_path: Path) -> None:
    old = store_of(tmp_path, folder(tmp_path / "old", [[("a", "r", "b")]]))
    with pytest.raises(ConfigError, match=r"data\.undirected is true, and false of"):
        appended(tmp_path, old, lines(tmp_path / "m.tsv", [("c", "r", "a")]), undirected=True)
    with pytest.raises(ConfigError, match="tells who may hear what"):
        prepare(Appended(old, Papers(edges=2000)), tmp_path / "stores")
    papers = prepare(Papers(edges=2000), tmp_path / "stores")
    with pytest.raises(ConfigError, match="only some may hear of"):
        Appended(papers, TripleFiles(path=tmp_path / "m.tsv"))
