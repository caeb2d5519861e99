"""The readers give what the miniatures were made of, which OGB's own loaders give too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kgscale.data.ogb.benchmarks import BENCHMARKS
from kgscale.data.ogb.source import OgbDataSet
from kgscale.data.source import DEFAULT_TYPE
from kgscale.data.splits import SPLITS
from kgscale.graph.store import GraphStore, prepare
from tests.ogb.miniature import DATASETS, Miniature, write
from tests.ogb.miniature.contents import NODE
from tests.ogb.test_layout import datasets

Array = NDArray[Any]
HELD = ("valid", "test")


def ingest(name: str, folder: Path) -> tuple[Miniature, GraphStore]:
    miniature = write(name, folder / "dataset")
    source = OgbDataSet(benchmark=name, path=folder / "dataset")
    return miniature, prepare(source, folder / "stores", threads=1)


def starts(store: GraphStore) -> dict[str, int]:
    """By OGB's names of the types."""
    return {NODE if kind.name == DEFAULT_TYPE else kind.name: kind.start for kind in store.types}


def stored(store: GraphStore, split: str) -> set[tuple[int, str, int]]:
    head, relation, tail = store.triples(split).unbind(dim=1)
    return set(zip(head.tolist(), store.relation_keys(relation), tail.tolist(), strict=True))


def rows(*columns: Any) -> set[tuple[Any, ...]]:
    return set(zip(*(np.asarray(column).tolist() for column in columns), strict=True))


def test_every_benchmark_has_a_miniature() -> None:
    assert list(BENCHMARKS) == list(DATASETS)
    for name, (folder, _, _) in DATASETS.items():
        assert BENCHMARKS[name].folder == folder


@pytest.mark.parametrize("name", datasets(""))
def test_sizes_and_types(name: str, tmp_path: Path) -> None:
    """Also nodes without any edge are entities."""
    miniature, store = ingest(name, tmp_path)
    sizes = {kind: end - start for kind, start, end in bounds(store)}
    assert sizes == miniature.num_nodes
    if miniature.release:
        assert store.name == name


def bounds(store: GraphStore) -> list[tuple[str, int, int]]:
    named = [NODE if kind.name == DEFAULT_TYPE else kind.name for kind in store.types]
    return [(name, kind.start, kind.stop) for name, kind in zip(named, store.types, strict=True)]


@pytest.mark.parametrize("name", datasets("ogbl-"))
def test_triples_of_links(name: str, tmp_path: Path) -> None:
    miniature, store = ingest(name, tmp_path)
    for split in SPLITS:
        head, relation, tail = columns(miniature, split, starts(store))
        names = BENCHMARKS[name].relation
        keys = [names] * len(head) if relation is None else list(map(str, relation.tolist()))
        assert stored(store, split) == rows(head, keys, tail)


def columns(miniature: Miniature, split: str, first: dict[str, int]) -> tuple[Array, Any, Array]:
    """Head, relation or none, and tail as numbers among all entities."""
    part = miniature.split[split]
    if "edge" in part:
        head, tail = np.asarray(part["edge"]).T
        return head, None, tail
    if "source_node" in part:
        return part["source_node"], None, part["target_node"]
    if "head_type" in part:
        shift = [np.array([first[t] for t in part[f"{side}_type"]]) for side in ("head", "tail")]
        return part["head"] + shift[0], part["relation"], part["tail"] + shift[1]
    return part["head"], part["relation"], part["tail"]


@pytest.mark.parametrize("name", datasets("ogbl-"))
def test_questions_of_links(name: str, tmp_path: Path) -> None:
    """In OGB's order, with OGB's candidates."""
    miniature, store = ingest(name, tmp_path)
    first = starts(store)
    assert store.asked("train") is None
    for split in HELD:
        part, asked = miniature.split[split], store.asked(split)
        assert asked is not None
        head, relation, tail = columns(miniature, split, first)
        assert_equal(asked.head, head)
        assert_equal(asked.tail, tail)
        assert asked.relation is not None
        keys = store.relation_keys(asked.relation.long())
        names = BENCHMARKS[name].relation
        assert keys == ([names] * len(head) if relation is None else list(map(str, relation)))
        expected: dict[str, Array] = {}
        if "edge_neg" in part:
            expected["other_head"], expected["other_tail"] = np.asarray(part["edge_neg"]).T
        if "target_node_neg" in part:
            expected["tail_negative"] = part["target_node_neg"]
        for side in ("head", "tail"):
            if f"{side}_neg" in part:
                types = part.get(f"{side}_type", [NODE] * len(head))
                shift = np.array([first[type] for type in types])
                expected[f"{side}_negative"] = part[f"{side}_neg"] + shift[:, None]
        for field in ("head_negative", "tail_negative", "other_head", "other_tail"):
            found = getattr(asked, field)
            assert (found is None) == (field not in expected)
            if found is not None:
                assert_equal(found, expected[field])


def assert_equal(actual: torch.Tensor | None, expected: Array) -> None:
    assert actual is not None
    np.testing.assert_array_equal(actual.numpy(), expected)


NODE_SETS = [*datasets("ogbn-"), *datasets("mag240m")]


@pytest.mark.parametrize("name", NODE_SETS)
def test_triples_of_nodes(name: str, tmp_path: Path) -> None:
    miniature, store = ingest(name, tmp_path)
    first = starts(store)
    expected = set()
    for (head, relation, tail), edge_index in miniature.edge_index.items():
        word = BENCHMARKS[name].relation or relation
        numbers = edge_index[0] + first[head], edge_index[1] + first[tail]
        expected |= rows(numbers[0], [word] * edge_index.shape[1], numbers[1])
    assert stored(store, "train") == expected
    assert store.num_triples["valid"] == store.num_triples["test"] == 0


@pytest.mark.parametrize("name", NODE_SETS)
def test_labels_and_splits(name: str, tmp_path: Path) -> None:
    miniature, store = ingest(name, tmp_path)
    labels = store.labels()
    assert labels is not None
    ((kind, label),) = miniature.node["node_label"].items()
    start = starts(store)[kind]
    for split in SPLITS:
        if split not in miniature.split:
            continue  # whose labels OGB keeps
        part = miniature.split[split]
        index = np.sort(part[kind] if isinstance(part, dict) else part)
        node, found = labels.of(split)
        assert_equal(node, index + start)
        if label.ndim == 2 and label.shape[1] > 1:
            assert_equal(found, label[index])
        else:
            assert_equal(found, label.reshape(-1)[index])
    assert [int(name) for name in labels.names] == sorted(int(name) for name in labels.names)


@pytest.mark.parametrize("name", [*NODE_SETS, *datasets("ogbl-"), *datasets("wikikg90")])
def test_features(name: str, tmp_path: Path) -> None:
    miniature, store = ingest(name, tmp_path)
    expected = miniature.node.get("node_feat", {})
    if name == "ogbn-proteins":
        expected = {NODE: means(miniature)}
    found = {bounds(store)[number][0]: rows.numpy() for number, rows in store.features().items()}
    assert sorted(found) == sorted(expected)
    for kind, numbers in expected.items():
        np.testing.assert_allclose(found[kind], numbers, rtol=1e-6)


def means(miniature: Miniature) -> Array:
    """Of the numbers of all edges at a node."""
    ((_, weight),) = miniature.edge["edge_feat"].items()
    ((_, edge_index),) = miniature.edge_index.items()
    found = np.zeros((miniature.num_nodes[NODE], weight.shape[1]), np.float32)
    for node in range(len(found)):
        at = (edge_index == node).any(axis=0)
        if at.any():
            found[node] = weight[at].mean(axis=0)
    return found


def test_wikikg90mv2(tmp_path: Path) -> None:
    miniature, store = ingest("wikikg90mv2", tmp_path)
    head, relation, tail = miniature.split["train"].T
    assert stored(store, "train") == rows(head, map_text(relation), tail)
    valid = miniature.split["valid"]["h,r->t"]
    assert stored(store, "valid") == rows(
        valid["hr"][:, 0], map_text(valid["hr"][:, 1]), valid["t"]
    )
    for split in ("valid", "test-dev", "test-challenge"):
        asked, part = store.asked(split), miniature.split[split]["h,r->t"]
        assert asked is not None
        assert asked.relation is not None
        assert_equal(asked.head, part["hr"][:, 0])
        assert store.relation_keys(asked.relation.long()) == map_text(part["hr"][:, 1])
        assert (asked.tail is None) == (split != "valid")


def map_text(numbers: Array) -> list[str]:
    return list(map(str, numbers.tolist()))


def test_mag240m_asks_for_hidden_papers(tmp_path: Path) -> None:
    miniature, store = ingest("mag240m", tmp_path)
    for split in ("test-dev", "test-challenge"):
        asked = store.asked(split)
        assert asked is not None
        assert asked.relation is None
        assert_equal(asked.head, miniature.split[split] + starts(store)["paper"])


@pytest.mark.parametrize("name", ["ogbl-wikikg2", "ogbl-biokg", "ogbn-mag", "ogbn-arxiv"])
def test_names(name: str, tmp_path: Path) -> None:
    miniature, store = ingest(name, tmp_path)
    for kind, start, stop in bounds(store):
        table = f"{kind}_entidx2name" if kind != NODE else None
        for file, columns in miniature.mapping.items():
            if file == table or (table is None and file.startswith("nodeidx2")):
                _, names = columns.values()
                assert store.entity_names(list(range(start, stop))) == list(map(str, names))
