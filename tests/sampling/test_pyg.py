"""PyG's own loaders, driven by our sampler, without a compiled extension."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.nn import SAGEConv

from kgscale.errors import ConfigError
from kgscale.sampling.pyg import PyGNeighborSampler

NODES = 40


def data() -> Data:
    generator = torch.Generator().manual_seed(0)
    return Data(
        x=torch.randn(NODES, 4, generator=generator),
        edge_index=torch.randint(NODES, (2, 300), generator=generator),
        edge_type=torch.randint(3, (300,), generator=generator),
        num_nodes=NODES,
    )


def check(graph: Data, batch: Data) -> None:
    """Every edge of the batch is the edge of the graph that ``e_id`` names."""
    assert torch.equal(batch.n_id[batch.edge_index], graph.edge_index[:, batch.e_id])
    assert torch.equal(batch.edge_type, graph.edge_type[batch.e_id])
    assert torch.equal(batch.x, graph.x[batch.n_id])


def test_no_compiled_extension_is_installed() -> None:
    assert importlib.util.find_spec("pyg_lib") is None
    assert importlib.util.find_spec("torch_sparse") is None


def test_node_loader() -> None:
    graph = data()
    loader = NodeLoader(
        graph, node_sampler=PyGNeighborSampler(graph, [3, 2]), input_nodes=None, batch_size=8
    )
    seen = []
    for batch in loader:
        check(graph, batch)
        seen += batch.n_id[: batch.batch_size].tolist()
        # Hops are told, so that PyG's own layers can trim: seeds first.
        assert sum(batch.num_sampled_nodes) == batch.num_nodes
        assert sum(batch.num_sampled_edges) == batch.num_edges
        degree = torch.bincount(batch.edge_index[1], minlength=8)
        full = torch.bincount(graph.edge_index[1], minlength=NODES)
        assert torch.equal(degree[:8], full[batch.n_id[:8]].clamp(max=3))
        assert SAGEConv(4, 2)(batch.x, batch.edge_index).shape == (batch.num_nodes, 2)
    assert sorted(seen) == list(range(NODES))


@pytest.mark.slow
def test_workers_draw_anew_each_epoch() -> None:
    graph = data()
    sampler = PyGNeighborSampler(graph, [2])
    loader = NodeLoader(
        graph,
        node_sampler=sampler,
        input_nodes=None,
        batch_size=NODES,
        num_workers=1,
        multiprocessing_context="forkserver",
    )
    one, two = (next(iter(loader)).e_id.tolist() for _ in range(2))
    assert one != two


@pytest.mark.parametrize("negatives", [None, "binary", "triplet"])
def test_link_loader(negatives: str | None) -> None:
    graph = data()
    loader = LinkLoader(
        graph,
        link_sampler=PyGNeighborSampler(graph, [-1]),
        edge_label_index=graph.edge_index[:, :20],
        neg_sampling=negatives,
        batch_size=5,
    )
    for number, batch in enumerate(loader):
        check(graph, batch)
        asked = graph.edge_index[:, 5 * number : 5 * number + 5]
        if negatives == "triplet":
            found = torch.stack([batch.n_id[batch.src_index], batch.n_id[batch.dst_pos_index]])
        else:
            found = batch.n_id[batch.edge_label_index][:, :5]
        assert torch.equal(found, asked)


def test_bad_input_is_named() -> None:
    graph = data()
    with pytest.raises(ConfigError, match="num_neighbors"):
        PyGNeighborSampler(graph, [3, 0])
    loader = NodeLoader(
        graph,
        node_sampler=PyGNeighborSampler(graph, [3]),
        input_nodes=torch.tensor([1, 1]),
        batch_size=2,
    )
    with pytest.raises(ConfigError, match="twice"):
        next(iter(loader))
