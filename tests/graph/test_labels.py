"""Labels, types and features come back from a store, and answers never get into the graph."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.triples import TripleFiles
from kgscale.errors import ConfigError, DataError, KgscaleError
from kgscale.graph import features as features_module
from kgscale.graph.store import GraphStore, prepare
from kgscale.tasks import show
from tests.graph.test_store import SPLITS, content, given_splits, keyed, some_rows, write

NEW = {
    "features_0.npy",
    "label_id.npy",
    "label_indptr.npy",
    "label_split.npy",
    "labels.parquet",
}
keys = [f"e{number}" for number in range(60)]


def chain(names: list[str]) -> list[tuple[str, str, str]]:
    return [(a, "next", b) for a, b in zip(names, names[1:] + names[:1], strict=True)]


def labels_by_key(store: GraphStore) -> dict[str, tuple[set[str], int]]:
    labels = store.labels()
    assert labels is not None
    found = {}
    for entity, key in enumerate(store.entity_keys(list(range(store.num_entities)))):
        start, stop = labels.indptr[entity : entity + 2].tolist()
        ids = labels.label_id[start:stop].tolist()
        assert ids == sorted(set(ids))
        assert (labels.split[entity].item() == 255) == (not ids)
        if ids:
            found[key] = ({labels.names[at] for at in ids}, labels.split[entity].item())
    return found


def features_by_key(store: GraphStore) -> dict[str, list[float]]:
    return {
        key: row
        for number, matrix in store.features().items()
        for key, row in zip(
            store.entity_keys(list(range(store.types[number].start, store.types[number].stop))),
            matrix.tolist(),
            strict=True,
        )
    }


texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), min_size=1, max_size=4
)


@settings(max_examples=5)
@given(
    # A single label for all is refused.
    st.dictionaries(texts, st.sets(texts, min_size=1, max_size=3), min_size=2, max_size=12).filter(
        lambda given: len(set().union(*given.values())) > 1
    ),
    st.randoms(use_true_random=False),
)
def test_what_is_given_comes_back_for_any_order_and_threads(
    tmp_path_factory: pytest.TempPathFactory, given_labels: dict[str, set[str]], draw: random.Random
) -> None:
    root = tmp_path_factory.mktemp("store")
    split = {key: draw.randrange(3) if at else 0 for at, key in enumerate(given_labels)}
    lines = [
        (key, label, SPLITS[split[key]]) for key, labels in given_labels.items() for label in labels
    ]
    numbers = [(key, str(draw.random()), str(draw.randrange(9))) for key in given_labels]
    stores = []
    for threads in (1, 2):
        folder = root / str(threads)
        source = TripleFiles(
            path=write(folder / "x.tsv", chain(list(given_labels))),
            split=[1, 0, 0],
            label_split=[1, 0, 0],
            labels=str(write(folder / "labels.tsv", lines)),
            features=str(write(folder / "numbers.tsv", numbers)),
        )
        stores.append(prepare(source, folder, threads=threads))
        draw.shuffle(lines)
        draw.shuffle(numbers)
    first, second = stores
    assert labels_by_key(first) == {key: (given_labels[key], split[key]) for key in given_labels}
    labels = first.labels()
    assert labels is not None
    assert labels.multi == any(len(found) > 1 for found in given_labels.values())
    assert features_by_key(first) == {
        key: [float(np.float32(one)), float(two)] for key, one, two in numbers
    }
    assert content(first.path).keys() >= NEW
    assert content(first.path) == content(second.path)
    GraphStore.open(first.path, verify="full")


def test_a_made_split_for_any_order_and_threads(tmp_path: Path) -> None:
    lines = [(key, f"class {at % 3}") for at, key in enumerate(keys)]
    path = write(tmp_path / "x.tsv", chain(keys))
    stores = []
    for threads in (1, 3):
        labels = write(tmp_path / str(threads) / "labels.tsv", lines)
        source = TripleFiles(path=path, labels=str(labels))
        stores.append(prepare(source, labels.parent, threads=threads))
        random.Random(threads).shuffle(lines)
    assert content(stores[0].path) == content(stores[1].path)
    told = stores[0].manifest["counts"]["labels"]
    assert told["entities"] == {"train": 36, "valid": 12, "test": 12}
    assert told["classes"]["class 2"] == {"train": 12, "valid": 4, "test": 4}
    other = prepare(TripleFiles(path=path, labels=str(labels), seed=1), tmp_path)
    assert labels_by_key(other) != labels_by_key(stores[0])
    assert other.fingerprint != stores[0].fingerprint


def test_a_store_without_them_is_as_before(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", some_rows())
    store = prepare(TripleFiles(path=path), tmp_path)
    assert store.labels() is None
    assert store.features() == {}
    assert not {file.name for file in store.path.iterdir()} & NEW
    assert not {"labels", "features"} & set(store.manifest["counts"])
    assert [(kind.name, kind.start, kind.stop) for kind in store.types] == [
        ("entity", 0, store.num_entities)
    ]
    # The name goes by schema and reader too; the fingerprint is version 0.1's for the same lines.
    assert store.path.name == "x-4cd6ea2c0f8bd555"
    assert store.fingerprint.startswith("935909be6bcdf55d")


LEAKY = [
    *chain(keys),
    *((key, "is", f"class {at % 3}") for at, key in enumerate(keys)),
    *((f"class {at % 2}", "has", key) for at, key in enumerate(keys[:20])),
]


@pytest.mark.parametrize("where", ["file", "splits"])
def test_no_answer_is_in_the_graph(tmp_path: Path, where: str) -> None:
    path = tmp_path / "data"
    if where == "file":
        path = write(tmp_path / "x.tsv", LEAKY)
    else:
        # Every relation in every split, and in train before others.
        given_splits(path, *(LEAKY[60:] * (at == 0) + LEAKY[at::3] for at in range(3)))
    store = prepare(TripleFiles(path=path, label_relation=["is", "has"]), tmp_path)
    assert store.relation_keys(list(range(store.num_relations))) == ["next"]
    assert store.num_entities == len(keys)
    triples = [triple for split in SPLITS for triple in keyed(store, split)]
    assert {relation for _, relation, _ in triples} == {"next"}
    for known in (False, True):
        adjacency = store.adjacency(known=known)
        assert set(adjacency.relation.tolist()) == {0, 1}
        assert int(adjacency.source.max()) < len(keys)
    assert {key: labels for key, (labels, _) in labels_by_key(store).items()} == {
        key: {f"class {at % 3}"} for at, key in enumerate(keys)
    }
    answers = len(LEAKY) - len(keys)
    dropped = sum(store.manifest["input"]["dropped"].values())
    assert dropped == (answers if where == "file" else 2 * answers)

    # Other triples mention two of the labels: these are entities, and what joins them is told.
    store = prepare(TripleFiles(path=path, label_relation="is"), tmp_path)
    assert store.num_entities == len(keys) + 2
    assert "is" not in store.relation_keys(list(range(store.num_relations)))
    joined = sum(at % 2 == at % 3 for at in range(20))
    assert store.manifest["counts"]["labels"]["triples_that_join_own_label"] == {"0": joined}
    assert any(f"own label: {joined} 'has'; data" in line for line in show.graph(store))


def test_types_order_the_ids_and_own_the_features(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", chain(keys))
    types = [(key, "abz"[at % 3]) for at, key in enumerate(keys) if at % 3 or at % 2]
    types = [(key, "entity" if kind == "z" else kind) for key, kind in types]
    save = {"e1": np.float32, "e2": np.float16}
    for prefix, kind in save.items():
        np.save(tmp_path / f"{prefix}.npy", np.arange(20).reshape(10, 2).astype(kind))
    source = TripleFiles(
        path=path,
        types=str(write(tmp_path / "types.tsv", types)),
        features=[
            {"path": str(tmp_path / "e1.npy"), "prefix": "e1"},
            {"path": str(tmp_path / "e2.npy"), "prefix": "e2"},
        ],
    )
    store = prepare(source, tmp_path)
    given_labels = dict(types)
    start = 0
    for kind in store.types:
        assert kind.start == start
        found = store.entity_keys(list(range(kind.start, kind.stop)))
        assert found == sorted(key for key in keys if given_labels.get(key, "entity") == kind.name)
        start = kind.stop
    assert [kind.name for kind in store.types] == ["entity", "a", "b"]
    assert start == len(keys)
    expected = {f"e{at}": [2.0 * (at % 10), 2.0 * (at % 10) + 1] for at in range(10, 30)}
    assert features_by_key(store) == {key: expected.get(key, [0, 0]) for key in keys}
    told = store.manifest["counts"]["features"]
    assert told["rows_without_facts"] == 0
    assert sum(matrix["entities_without_row"] for matrix in told["matrices"]) == 40


def test_half_precision_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", chain(keys))
    np.save(tmp_path / "half.npy", np.random.default_rng(0).random((70, 3)).astype(np.float16))
    store = prepare(
        TripleFiles(path=path, features={"path": str(tmp_path / "half.npy"), "prefix": "e"}),
        tmp_path,
    )
    (matrix,) = store.features().values()
    assert matrix.dtype == torch.float16
    assert store.manifest["counts"]["features"]["rows_without_facts"] == 10
    assert "features: 3 float16 of 'entity'; 10 rows of keys in no triple left out" in list(
        show.graph(store)
    )
    before = content(store.path)
    matrix[:] = 0
    assert content(store.path) == before


def test_small_pieces_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tsv", chain(keys))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((60, 7)))
    source = TripleFiles(path=path, features={"path": str(tmp_path / "x.npy"), "prefix": "e"})
    first = prepare(source, tmp_path / "first")
    monkeypatch.setattr(features_module, "BYTES", 60)
    monkeypatch.setattr("kgscale.data.features.CHUNK", 7)
    second = prepare(source, tmp_path / "second")
    assert content(first.path) == content(second.path)


def _features(root: Path, values: Any, **more: Any) -> dict[str, Any]:
    np.save(root / "f.npy", np.asarray(values))
    return {"features": {"path": str(root / "f.npy"), "prefix": "e", **more}}


def _typed(root: Path) -> dict[str, Any]:
    types = write(root / "types.tsv", [("e0", "a"), ("e1", "b")])
    return {"types": str(types)}


def _two_widths(root: Path) -> dict[str, Any]:
    np.save(root / "f.npy", np.ones((2, 2)))
    np.save(root / "g.npy", np.ones((2, 3)))
    prefixes = {"f": "e", "g": "e1"}
    return {
        "features": [
            {"path": str(root / f"{name}.npy"), "prefix": prefix}
            for name, prefix in prefixes.items()
        ]
    }


REFUSALS: list[tuple[Any, type[KgscaleError], list[str]]] = [
    (
        lambda root: _features(root, [[1, 2], [3, np.nan]]),
        DataError,
        ["f.npy row 1 (counted from 0) column 1 holds nan", "zeros"],
    ),
    (
        lambda root: _features(root, [[1e300, 2], [3, 4]]),
        DataError,
        ["f.npy row 0 (counted from 0) column 0 holds 1e+300, which is no finite float32"],
    ),
    (
        lambda root: _features(root, [[1]], prefix="x"),
        DataError,
        ["f.npy: none of its keys is in a triple", "'x0'", "'e0'"],
    ),
    (
        lambda root: {
            "features": [str(write(root / f"{n}.tsv", [("e1", "1", "2")])) for n in "fg"]
        },
        DataError,
        ["g.tsv row 0", "'e1' has features at", "f.tsv row 0", "one row"],
    ),
    (_two_widths, DataError, ["g.npy has 3 columns, but", "f.npy has 2"]),
    (
        lambda root: {"features": {"papr": _features(root, [[1]])["features"]}, **_typed(root)},
        ConfigError,
        ["data.features names the type 'papr'", "did you mean"],
    ),
    (
        lambda root: {"features": {"a": _features(root, [[1], [2]])["features"]}, **_typed(root)},
        DataError,
        ["f.npy row 1", "type 'b', while data.features says 'a' (1 such rows)"],
    ),
    (
        lambda root: {"types": str(write(root / "t.tsv", [("e1", "a"), ("e1", "b")]))},
        DataError,
        ["'e1' has the types 'a' and 'b'", "data.classes"],
    ),
    (
        lambda root: {"labels": str(write(root / "l.tsv", [("e1", "a"), ("x", "b")]))},
        DataError,
        ["l.tsv line 2: 'x' is in no triple: correct it", "data.unknown_label=drop"],
    ),
    (
        lambda root: {"labels": str(write(root / "l.tsv", []))},
        DataError,
        ["l.tsv: no label is left to learn"],
    ),
]


@pytest.mark.parametrize(("make", "kind", "words"), REFUSALS)
def test_refusals(tmp_path: Path, make: Any, kind: type[KgscaleError], words: list[str]) -> None:
    path = write(tmp_path / "x.tsv", chain(keys))
    with pytest.raises(kind) as caught:
        prepare(TripleFiles(path=path, **make(tmp_path)), tmp_path)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_the_manifest_is_told(tmp_path: Path) -> None:
    lines = [(key, f"class {at % 3}", ("train", "")[at % 5 == 0]) for at, key in enumerate(keys)]
    lines += [("stranger", "class 0", "train")]
    path = write(tmp_path / "x.tsv", chain(keys))
    labels = write(tmp_path / "labels.tsv", lines)
    store = prepare(TripleFiles(path=path, labels=str(labels), unknown_label="drop"), tmp_path)
    assert (
        "labels: 3 classes, entities 30 train, 9 valid, 9 test; "
        "left out: 12 in no split, 1 unknown keys"
    ) in list(show.graph(store))
    told = store.manifest["counts"]["labels"]["left_out"]
    assert told == {"unknown_keys": 1, "in_no_split": 12, "rare_labels": 0}
