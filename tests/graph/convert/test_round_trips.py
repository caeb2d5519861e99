"""Stores become graphs of other libraries and stores again, and nothing is lost on the way."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data, HeteroData

from kgscale.data.audit import Audit
from kgscale.errors import ConfigError, DataError
from kgscale.graph.convert import from_networkx, from_pyg, to_networkx, to_pyg
from kgscale.graph.convert.stored import StoredGraph, graph_of
from kgscale.graph.labels import UNLABELLED
from kgscale.graph.store import make, prepare
from tests.graph.convert.sources import NUMBER, Files, files

SPLIT_INDEX = ("edge_index", "val_edge_index", "test_edge_index")


def new(root: Path) -> Path:
    return root / f"store-{next(NUMBER)}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round")


@settings(max_examples=2)
@given(files())
def test_a_store_comes_back(root: Path, given_files: Files) -> None:
    store = given_files.store(root)
    again = make(graph_of(store), new(root))
    assert again.fingerprint == store.fingerprint
    pyg = from_pyg(to_pyg(store), new(root))
    assert pyg.fingerprint == store.fingerprint


@st.composite
def heteros(draw: st.DrawFn) -> HeteroData:
    """With features, labels of one type and splits; some nodes have no edge."""
    data = HeteroData()
    sizes = {"paper": draw(st.integers(3, 12)), "author": draw(st.integers(1, 12))}
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    for kind, size in sizes.items():
        data[kind].num_nodes = size
        if draw(st.booleans()):
            data[kind].x = torch.randn(size, draw(st.integers(1, 3)), generator=generator)
    if draw(st.booleans()):
        size = sizes["paper"]
        code = torch.arange(size) % 3
        y = torch.randint(11, (size,), generator=generator)
        y[0], y[1] = 0, 1
        data["paper"].y = y.float() / 4 if draw(st.booleans()) else y
        for at, name in enumerate(("train_mask", "val_mask", "test_mask")):
            data["paper"][name] = code == at
    for kind in (("author", "to", "paper"), ("paper", "to", "author"), ("paper", "cites", "paper")):
        for name in SPLIT_INDEX[: draw(st.integers(2, 3))]:
            # Distinct edges in the order of a store, where train has all relations.
            code = torch.randperm(sizes[kind[0]] * sizes[kind[2]], generator=generator)
            code = code[: max(1, len(code) // 3)].sort().values
            data[kind][name] = torch.stack([code // sizes[kind[2]], code % sizes[kind[2]]])
    return data


def same(one: HeteroData | Data, other: HeteroData | Data) -> None:
    """The same values by the same names."""
    left, right = (data.to_dict() for data in (one, other))
    assert left.keys() == right.keys()
    for kind, value in left.items():
        if not isinstance(value, dict):
            pairs = {kind: (value, right[kind])}
        else:
            assert value.keys() == right[kind].keys(), kind
            pairs = {name: (value[name], right[kind][name]) for name in value}
        for name, (mine, others) in pairs.items():
            if isinstance(mine, torch.Tensor):
                torch.testing.assert_close(others, mine, rtol=0, atol=0, equal_nan=True, msg=name)
            else:
                assert mine == others, name


@settings(max_examples=2)
@given(heteros())
def test_hetero_data_comes_back(root: Path, data: HeteroData) -> None:
    directory = new(root)
    store = from_pyg(data, directory)
    assert {kind.name: kind.stop - kind.start for kind in store.types} == {
        kind: data[kind].num_nodes for kind in data.node_types
    }
    same(data, to_pyg(store))
    same(data, to_pyg(directory))


def test_data_comes_back(root: Path) -> None:
    data = Data(
        x=torch.rand(11, 2),
        edge_index=torch.tensor([[0, 1, 10], [1, 2, 0]]),
        edge_type=torch.tensor([0, 0, 1]),
        val_edge_index=torch.tensor([[3], [4]]),
        val_edge_type=torch.tensor([0]),
        relation_key=["likes", "owns"],
        num_nodes=11,
    )
    same(data, to_pyg(from_pyg(data, new(root)), flat=True))
    plain = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 0]]), num_nodes=3)
    store = from_pyg(plain, new(root), split=[1, 0, 0])
    assert store.relation_keys([0]) == ["edge"]
    torch.testing.assert_close(to_pyg(store, flat=True).edge_index, plain.edge_index)


@settings(max_examples=2)
@given(files())
def test_networkx_comes_back(root: Path, given_files: Files) -> None:
    graph = to_networkx(given_files.store(root))
    again = to_networkx(from_networkx(graph, new(root)))
    assert again.graph["name"]
    assert type(again) is type(graph)
    assert {k: v for k, v in again.graph.items() if k != "name"} == {
        k: v for k, v in graph.graph.items() if k != "name"
    }
    assert again.nodes.keys() == graph.nodes.keys()
    for node, about in graph.nodes.items():
        mine, others = dict(about), dict(again.nodes[node])
        np.testing.assert_array_equal(mine.pop("x", None), others.pop("x", None))
        assert mine == others
    edges = [sorted(map(str, some.edges(keys=True, data=True))) for some in (graph, again)]
    assert edges[0] == edges[1]


def test_a_simple_graph(root: Path) -> None:
    graph = networkx.Graph([(1, 2), (2, 3), (3, 1), (3, 3)])
    graph.add_edge(1, 4, relation="knows")
    graph.nodes[1]["x"] = [1.0, 2.0]
    graph.add_node("alone")
    store = from_networkx(graph, new(root), split=[1, 0, 0])
    assert store.undirected
    assert store.entity_keys([0, 1, 2, 3]) == ["1", "2", "3", "4"]
    assert store.relation_keys([0, 1]) == ["edge", "knows"]
    assert store.triples("train").tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 3], [1, 0, 2]]
    torch.testing.assert_close(store.features()[0][0], torch.tensor([1.0, 2.0]))


def test_a_split_is_made_where_there_is_none(root: Path) -> None:
    edge_index = torch.combinations(torch.arange(20)).T
    store = from_pyg(Data(edge_index=edge_index, num_nodes=20), new(root), split=[0.8, 0.1, 0.1])
    assert store.num_triples["valid"] == store.num_triples["test"] == 19
    other = from_pyg(Data(edge_index=edge_index, num_nodes=20), new(root), seed=1)
    assert other.fingerprint != store.fingerprint


def test_edges_that_repeat_others_backwards_are_left_out(root: Path) -> None:
    data = HeteroData()
    data["a"].num_nodes = data["b"].num_nodes = 4
    data["a", "r", "b"].edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    data["b", "rev_r", "a"].edge_index = torch.tensor([[3, 1, 2], [2, 0, 1]])
    store = from_pyg(data, new(root), split=[1, 0, 0])
    assert store.num_relations == 1
    kept = from_pyg(data, new(root), split=[1, 0, 0], keep_reverse=True)
    assert kept.num_relations == 2


def test_attributes_that_have_no_place_are_said(root: Path) -> None:
    graph = networkx.DiGraph([("a", "b", {"weight": 2.0, "kind": "likes"})])
    graph.nodes["a"].update(age=3, name="Ann")
    with pytest.warns(UserWarning, match="no place for age, weight"):
        store = from_networkx(graph, new(root), relation="kind", split=[1, 0, 0])
    assert store.relation_keys([0]) == ["likes"]


def test_what_has_no_place_is_said(root: Path) -> None:
    data = Data(edge_index=torch.tensor([[0], [1]]), edge_attr=torch.rand(1, 2), num_nodes=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from_pyg(data, new(root), split=[1, 0, 0])
    assert [str(one.message) for one in caught] == ["a store has no place for edge_attr"]


def test_a_store_is_a_data_set(root: Path) -> None:
    directory = new(root)
    store = from_pyg(
        Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=4), directory, split=[1, 0, 0]
    )
    source = StoredGraph(path=directory)
    assert prepare(source, root / "unused").path == directory
    assert not (root / "unused").exists()
    reading = source.read(Audit(), root)
    assert sum(len(facts.head) for facts in reading.facts) == 2
    assert source.digest() == store.fingerprint


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"x": torch.rand(4, 2)}, "x of the type 'entity' has 4 rows for 3 nodes"),
        ({"y": torch.tensor(1)}, "y of the type 'entity' has 1 rows for 3 nodes"),
        ({"key": ["a", "b"]}, "key of the type 'entity' has 2 rows"),
        ({"name": ["a", "b", "c", "d"]}, "name of the type 'entity' has 4 rows"),
        ({"y": torch.arange(3), "test_mask": torch.ones(2, dtype=torch.bool)}, "test_mask of"),
        (
            {"y": torch.arange(3), "train_mask": torch.ones(3, 10, dtype=torch.bool)},
            r"has 10 splits side by side: take one, as train_mask\[:, 0\]",
        ),
        ({"y": torch.arange(3), "y_name": ["a", "b"]}, "label 2, and y_name has 2"),
        (
            {
                "y": torch.arange(3),
                "train_mask": torch.tensor([True, True, False]),
                "test_mask": torch.tensor([False, True, True]),
            },
            "the node 1 of the type 'entity' is in train_mask and in test_mask",
        ),
    ],
)
def test_what_is_said_of_other_nodes_than_there_are(
    root: Path, about: dict[str, Any], words: str
) -> None:
    data = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=3, **about)
    with pytest.raises(DataError, match=words):
        from_pyg(data, new(root), split=[1, 0, 0])


def test_labels_that_are_missing_among_several(root: Path) -> None:
    """NaN and -1 are none, as where there is one label; zeros alone are a node without any."""
    nan = float("nan")
    y = torch.tensor([[1.0, 0, 1], [nan, nan, nan], [0, 0, 0], [-1, nan, 1]])
    data = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4, y=y)
    data.train_mask = torch.ones(4, dtype=torch.bool)
    labels = from_pyg(data, new(root), split=[1, 0, 0]).labels()
    assert labels is not None
    said = [labels.names[at] for at in labels.label_id.tolist()]
    assert (labels.indptr.tolist(), said) == ([0, 2, 2, 2, 3], ["0", "2", "2"])
    assert (labels.split == UNLABELLED).tolist() == [False, True, False, False]


def test_reverse_edges_of_which_none_are_for_training(root: Path) -> None:
    data = HeteroData()
    data["a"].num_nodes = data["b"].num_nodes = 2
    data["a", "r", "b"].edge_index = torch.tensor([[0, 1], [0, 1]])
    data["b", "rev_r", "a"].val_edge_index = torch.tensor([[0], [1]])
    assert from_pyg(data, new(root)).num_relations == 2


def test_a_label_too_long_for_a_number(root: Path) -> None:
    data = Data(
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        num_nodes=2,
        y=torch.tensor([0, 1]),
        y_name=["1" * 30, "2"],
        train_mask=torch.ones(2, dtype=torch.bool),
    )
    back = to_pyg(from_pyg(data, new(root), split=[1, 0, 0]))
    assert (back.y_name, back["entity"].y.tolist()) == (["1" * 30, "2"], [0, 1])


def test_numbers_of_numpy_on_nodes(root: Path) -> None:
    """The first node's whole numbers don't cut off the others' fractions; labels are as Python's;
    ``None`` is no label."""
    graph = networkx.DiGraph([("a", "b"), ("b", "c"), ("c", "d")])
    graph.nodes["a"]["x"], graph.nodes["b"]["x"] = [1, 2], [0.5, 1.5]
    for node, label in zip(
        "abcd", (np.float64(1.5), np.float32(2.5), np.int64(3), None), strict=True
    ):
        graph.nodes[node]["label"] = label
    store = from_networkx(graph, new(root), split=[1, 0, 0], label_split=[1, 0, 0])
    assert store.features()[0].tolist() == [[1, 2], [0.5, 1.5], [0, 0], [0, 0]]
    labels = store.labels()
    assert labels is not None
    assert store.has_numbers
    assert sorted(map(float, labels.names)) == [1.5, 2.5, 3]
    for node, label in zip("abcd", np.array([0, 1, 1, 0]), strict=True):
        graph.nodes[node]["label"] = label
    labels = from_networkx(graph, new(root), split=[1, 0, 0], label_split=[1, 0, 0]).labels()
    assert labels is not None
    assert labels.names == ["0", "1"]


def test_a_text_is_not_its_letters(root: Path) -> None:
    graph = networkx.DiGraph([("a", "b")])
    graph.nodes["a"]["classes"] = "ab"
    graph.nodes["b"]["classes"] = ["c", "d"]
    for node in "ab":
        graph.nodes[node].update(label=f"x{node}", split="train")
    back = to_networkx(from_networkx(graph, new(root), split=[1, 0, 0], label_split=[1, 0, 0]))
    assert {node: about["classes"] for node, about in back.nodes.items()} == {
        "a": ["ab"],
        "b": ["c", "d"],
    }
    assert [about["label"] for about in back.nodes.values()] == [["xa"], ["xb"]]


def test_mistakes(root: Path) -> None:
    data = HeteroData()
    data["a"].num_nodes = data["b"].num_nodes = 2
    data["a", "r", "b"].edge_index = torch.tensor([[0, 5], [1, 0]])
    with pytest.raises(DataError, match=r"edge_index of \(a, r, b\) names the node 5 of 2"):
        from_pyg(data, new(root))
    data["a", "r", "b"].edge_index = torch.tensor([[0], [1]])
    data["a"].key = ["x", "y"]
    with pytest.raises(ConfigError, match="'a' have keys and others have none"):
        from_pyg(data, new(root))
    del data["a"].key
    data["a"].y = data["b"].y = torch.tensor([0, 1])
    with pytest.raises(ConfigError, match="'a' and 'b' have y"):
        from_pyg(data, new(root))
    del data["a"].y, data["b"].y
    directory = new(root)
    store = from_pyg(data, directory, split=[1, 0, 0])
    with pytest.raises(ConfigError, match="is there already"):
        from_pyg(data, directory)
    with pytest.raises(ConfigError, match="a Data has one type"):
        to_pyg(store, flat=True)
    with pytest.raises(DataError, match="two nodes are written '1'"):
        from_networkx(networkx.DiGraph([(1, "1")]), new(root))
    with pytest.raises(DataError, match="has the split 'dev'"):
        from_networkx(networkx.DiGraph([(1, 2, {"split": "dev"})]), new(root))
    for label, error, words in (
        (1j, DataError, "the node 1 has the label 1j"),
        ("a", ConfigError, "numbers or texts, and not both"),
        (["a"], ConfigError, "numbers or texts, and not both"),
    ):
        graph = networkx.DiGraph([(1, 2)])
        graph.nodes[1]["label"], graph.nodes[2]["label"] = label, 0.5
        with pytest.raises(error, match=words):
            from_networkx(graph, new(root))
    with pytest.raises(ConfigError, match=r"data\.path is not set"):
        StoredGraph(path=None)
