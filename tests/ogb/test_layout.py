"""OGB's own loaders read the miniatures and give the arrays that were made up."""

from __future__ import annotations

import csv
import gzip
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from kgscale.data.ogb.source import OgbDataSet
from kgscale.graph.store import prepare
from tests.ogb.miniature import DATASETS, NUMPY_ARRAYS, Miniature, write
from tests.ogb.miniature.contents import EDGE, NODE
from tests.scripts import script

COLUMNS = ("head", "relation", "tail")
# One of each layout family; the others run with the slow tests.
QUICK = {
    "ogbl-wikikg2",
    "ogbl-biokg",
    "ogbl-collab",
    "ogbn-mag",
    "ogbn-arxiv",
    "ogbn-papers100M",
    "mag240m",
    "wikikg90mv2",
}


def datasets(prefix: str) -> list[Any]:
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in DATASETS
        if name.startswith(prefix)
    ]


def assert_same(actual: Any, expected: Any) -> None:
    """Equal in value, type, dtype and shape, through dicts and lists; NaN equals NaN."""
    if isinstance(expected, dict):
        assert sorted(actual) == sorted(expected)
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, torch.Tensor):
        assert actual.dtype == expected.dtype
        assert torch.equal(actual, expected)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(actual, expected, strict=True)
    else:
        assert actual == expected


def both_directions(edge_index: np.ndarray) -> np.ndarray:
    """Each edge followed by its reverse, as OGB's loader adds them."""
    return np.stack([edge_index, edge_index[::-1]], axis=2).reshape(2, -1)


def homogeneous(miniature: Miniature, undirected: bool) -> dict[str, Any]:
    """The graph as OGB's loader returns it."""
    edge_index = miniature.edge_index[EDGE]
    edge = {name: of[EDGE] for name, of in miniature.edge.items()}
    if undirected:
        edge_index = both_directions(edge_index)
        edge = {name: values.repeat(2, axis=0) for name, values in edge.items()}
    node = {name: of[NODE] for name, of in miniature.node.items() if name != "node_label"}
    rest = {"node_feat": None, "edge_feat": None, "num_nodes": miniature.num_nodes[NODE]}
    return {**rest, **node, **edge, "edge_index": edge_index}


def heterogeneous(miniature: Miniature) -> dict[str, Any]:
    """The graph as OGB's loader returns it: some of its keys end in ``_dict``."""
    node = {name: of for name, of in miniature.node.items() if name != "node_label"}
    return {
        "edge_index_dict": miniature.edge_index,
        "num_nodes_dict": miniature.num_nodes,
        "node_feat_dict": node.pop("node_feat", None),
        "edge_feat_dict": None,
        **node,
        **miniature.edge,
    }


def assert_graph(dataset: Any, graph: dict[str, Any], miniature: Miniature) -> None:
    assert Path(dataset.root) == miniature.folder
    assert dataset.meta_info["split"] == miniature.split_type
    if dataset.is_hetero:
        assert_same(graph, heterogeneous(miniature))
    else:
        undirected = dataset.meta_info["add_inverse_edge"] == "True"
        assert_same(graph, homogeneous(miniature, undirected))


@pytest.mark.parametrize("name", datasets("ogbl-"))
def test_link_prediction(name: str, ogb: ModuleType, tmp_path: Path) -> None:
    miniature = write(name, tmp_path)
    dataset = ogb.linkproppred.LinkPropPredDataset(name, root=str(tmp_path))
    assert_graph(dataset, dataset[0], miniature)
    with torch.serialization.safe_globals(NUMPY_ARRAYS):
        assert_same(dataset.get_edge_split(), miniature.split)


@pytest.mark.parametrize("name", datasets("ogbn-"))
def test_node_classification(name: str, ogb: ModuleType, tmp_path: Path) -> None:
    miniature = write(name, tmp_path)
    dataset = ogb.nodeproppred.NodePropPredDataset(name, root=str(tmp_path))
    graph, label = dataset[0]
    assert_graph(dataset, graph, miniature)
    assert_same(dataset.get_idx_split(), miniature.split)

    of_type = miniature.node["node_label"]
    assert_same(label, of_type if dataset.is_hetero else of_type[NODE])
    (values,) = of_type.values()
    assert values.shape[1] == dataset.num_tasks
    assert len(np.unique(values[~np.isnan(values)])) == dataset.num_classes


@pytest.mark.parametrize(
    ("name", "part"), [("ogbl-wikikg2", 1e-3), ("ogbn-mag", 1e-3), ("ogbn-papers100M", 1e-5)]
)
def test_made_graphs_of_the_benchmark(
    name: str, part: float, ogb: ModuleType, tmp_path: Path
) -> None:
    """They are in OGB's layout too: its loaders find the sizes that ours do."""
    script("benchmark.py")
    layouts = import_module("benchmarks.ogb_layouts")
    getattr(layouts, name.split("-")[1].removesuffix("100M"))(tmp_path, part=part)
    store = prepare(OgbDataSet(benchmark=name, path=str(tmp_path)), tmp_path / "stores")
    if name.startswith("ogbl"):
        dataset = ogb.linkproppred.LinkPropPredDataset(name, root=str(tmp_path))
        with torch.serialization.safe_globals(NUMPY_ARRAYS):
            split = dataset.get_edge_split()
        found = store.triples("train")
        number = torch.tensor([int(key) for key in store.relation_keys(torch.arange(535))])
        found[:, 1] = number[found[:, 1]]
        train = zip(*(split["train"][key].tolist() for key in COLUMNS), strict=True)
        theirs, ours = set(train), set(map(tuple, found.tolist()))
        assert ours <= theirs
        assert len(theirs - ours) < 10  # those that are drawn for test as well
        asked = store.asked("test")
        assert asked is not None
        assert asked.tail_negative is not None
        np.testing.assert_array_equal(asked.tail_negative, split["test"]["tail_neg"])
        return
    dataset = ogb.nodeproppred.NodePropPredDataset(name, root=str(tmp_path))
    graph, train = dataset[0][0], dataset.get_idx_split()["train"]
    if dataset.is_hetero:
        nodes, indices = sum(graph["num_nodes_dict"].values()), graph["edge_index_dict"].values()
        train = train["paper"]
    else:
        nodes, indices = graph["num_nodes"], [graph["edge_index"]]
    assert nodes == store.num_entities
    distinct = sum(len({tuple(pair) for pair in index.T.tolist()}) for index in indices)
    assert distinct == len(store.triples("train"))
    labels = store.labels()
    assert labels is not None
    assert len(labels.of("train")[0]) == len(train)


def test_mag240m(ogb: ModuleType, tmp_path: Path) -> None:
    miniature = write("mag240m", tmp_path)
    with torch.serialization.safe_globals(NUMPY_ARRAYS):
        dataset = ogb.lsc.MAG240MDataset(str(tmp_path))
    counts = {
        "author": dataset.num_authors,
        "institution": dataset.num_institutions,
        "paper": dataset.num_papers,
    }
    assert_same(counts, miniature.num_nodes)
    arrays = {
        "node_feat": dataset.all_paper_feat,
        "node_year": dataset.all_paper_year,
        "node_label": dataset.all_paper_label,
    }
    assert_same(arrays, {name: of["paper"] for name, of in miniature.node.items()})
    assert arrays["node_feat"].shape[1] == dataset.num_paper_features
    assert np.isin(np.arange(dataset.num_classes), arrays["node_label"]).all()
    for triplet, edge_index in miniature.edge_index.items():
        assert_same(dataset.edge_index(*triplet), edge_index)
    assert_same(dataset.get_idx_split(), miniature.split)


def test_wikikg90mv2(ogb: ModuleType, tmp_path: Path) -> None:
    miniature = write("wikikg90mv2", tmp_path)
    dataset = ogb.lsc.WikiKG90Mv2Dataset(str(tmp_path))
    assert dataset.num_entities == miniature.num_nodes[NODE]
    assert miniature.relation_feat is not None
    assert miniature.relation_feat.shape == (dataset.num_relations, dataset.num_feat_dims)
    assert_same(dataset.all_entity_feat, miniature.node["node_feat"][NODE])
    assert_same(dataset.all_relation_feat, miniature.relation_feat)
    parts = {
        "train": dataset.train_hrt,
        "valid": dataset.valid_dict,
        **{mode: dataset.test_dict(mode) for mode in ("test-dev", "test-challenge")},
    }
    assert_same(parts, miniature.split)
    assert_same(parts["train"][:, [0, 2]].T, miniature.edge_index[EDGE])
    assert_same(parts["train"][:, [1]], miniature.edge["edge_reltype"][EDGE])


@pytest.mark.parametrize("name", datasets(""))
def test_files(name: str, tmp_path: Path) -> None:
    """The seed alone decides the bytes, the folder is small, mappings read back."""
    first, again, other = (
        write(name, tmp_path / str(place), seed=seed) for place, seed in enumerate((0, 0, 1))
    )
    contents = bytes_of(first.folder)
    assert bytes_of(again.folder) == contents
    for triplet, edge_index in first.edge_index.items():
        assert not np.array_equal(edge_index, other.edge_index[triplet])
    assert sum(map(len, contents.values())) < 2_000_000
    assert sum(first.num_nodes.values()) <= 2000

    for table, columns in first.mapping.items():
        with gzip.open(first.folder / "mapping" / f"{table}.csv.gz", "rt") as text:
            header, *rows = csv.reader(text)
        assert header == list(columns)
        assert rows == [list(map(str, row)) for row in zip(*columns.values(), strict=True)]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
