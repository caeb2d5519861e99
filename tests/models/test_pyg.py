"""Convolutions of PyG, in blocks as on the whole graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch_geometric.nn import GCNConv, conv

from kgscale.batch import Block
from kgscale.errors import ConfigError
from kgscale.models.encoders import PyGConvolution

DIM, NODES, RELATIONS = 6, 7, 2
TRIPLES = torch.tensor([[0, 0, 1], [1, 1, 2], [0, 1, 1], [3, 0, 1], [4, 0, 0], [5, 1, 4]])
X = torch.randn(NODES, DIM, generator=torch.Generator().manual_seed(0))


def encoder(name: str, **settings: Any) -> PyGConvolution:
    generator = torch.Generator().manual_seed(3)
    return PyGConvolution(
        num_relations=RELATIONS, dim=DIM, conv=name, generator=generator, **settings
    ).eval()


def whole() -> tuple[Block, torch.Tensor]:
    """All rows, and the same edges as PyG has them; the last node has none."""
    head, relation, tail = TRIPLES.unbind(dim=1)
    source, target = torch.cat([head, tail]), torch.cat([tail, head])
    kind = torch.cat([relation, relation + RELATIONS])
    order = target.argsort(stable=True)
    indptr = torch.searchsorted(target[order], torch.arange(NODES + 1))
    block = Block(indptr=indptr, source=source[order], relation=kind[order])
    return block, torch.stack([source, target])[:, order]


def mixed(layer: PyGConvolution, block: Block) -> torch.Tensor:
    """What the update gets."""
    seen: list[torch.Tensor] = []
    hook = layer.update[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    layer.layer(0, X, layer.relation, block)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SAGEConv", {"aggr": "max"}),
        ("GraphConv", {}),
        ("GATConv", {"heads": 2, "concat": False}),
        ("GATv2Conv", {"heads": 2, "out_channels": DIM // 2}),
        ("TransformerConv", {"edge_dim": DIM}),
        ("RGCNConv", {}),
        ("AGNNConv", {}),
    ],
)
def test_the_layer_is_pygs_on_the_full_graph(name: str, arguments: dict[str, Any]) -> None:
    layer, (block, ends) = encoder(name, arguments=arguments), whole()
    told: dict[str, torch.Tensor] = {}
    if name == "RGCNConv":
        told["edge_type"] = block.relation
    if "edge_dim" in arguments:
        told["edge_attr"] = layer.relation[block.relation]
    torch.testing.assert_close(mixed(layer, block), layer.conv[0](X, ends, **told))


def test_gcn_is_pygs_and_the_dense_formula() -> None:
    layer, (block, ends) = encoder("GCNConv"), whole()
    pyg = GCNConv(DIM, DIM)
    pyg.load_state_dict(layer.conv[0].state_dict())
    found = mixed(layer, block)
    torch.testing.assert_close(found, pyg(X, ends))
    a = torch.eye(NODES).index_put((ends[1], ends[0]), torch.ones(ends.shape[1]), accumulate=True)
    assert torch.equal(a, a.T)  # both directions of every triple, and two triples join 0 and 1
    root = a.sum(dim=1).rsqrt()
    dense = root[:, None] * a * root @ X @ pyg.lin.weight.T + pyg.bias
    torch.testing.assert_close(found, dense)


def test_gcn_in_a_block_needs_and_uses_the_degrees_of_the_whole_graph() -> None:
    layer, (block, _) = encoder("GCNConv"), whole()
    expected, degree = mixed(layer, block), block.indptr.diff()
    edges = slice(0, int(block.indptr[2]))
    part = replace(
        block,
        indptr=block.indptr[:3],
        source=block.source[edges],
        relation=block.relation[edges],
    )
    with pytest.raises(ConfigError, match="strategy=full_batch"):
        mixed(layer, part)
    torch.testing.assert_close(mixed(layer, replace(part, degree=degree)), expected[:2])


def test_gcn_of_sampled_edges_is_unbiased() -> None:
    layer, (block, _) = encoder("GCNConv"), whole()
    expected, held = mixed(layer, block)[1], block.indptr[1:3]
    block = replace(block, degree=block.indptr.diff())
    samples = []
    for e in range(int(held[0]), int(held[1])):
        one = Block(
            indptr=torch.tensor([0, 1]),
            source=block.source[e : e + 1],
            relation=block.relation[e : e + 1],
            start=1,
            degree=block.degree,
        )
        samples.append(mixed(layer, one)[0])
    torch.testing.assert_close(torch.stack(samples).mean(dim=0), expected)


def test_initial_values_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    first, drawn = encoder("GATConv"), torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(()))
    for name, value in encoder("GATConv").state_dict().items():
        assert torch.equal(first.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("GCNCov", {}, "got 'GCNCov'; did you mean GCNConv"),
        ("__loader__", {}, "did you mean GCNConv"),
        ("HGTConv", {}, "needs x_dict, edge_index_dict"),
        ("GINConv", {}, "can't be built .*'nn'"),
        ("SAGEConv", {"heads": 3}, "can't be built"),
        ("WLConv", {}, r"can't be run .*\(AssertionError\)"),
        ("GATConv", {"heads": 2}, r"gives \(4, 12\) for rows of 6 .*concat: false"),
        ("TAGConv", {}, "looks beyond the in-edges .*num_layers"),
        ("LGConv", {}, "looks beyond"),
        ("GCNConv", {"cached": True}, "has bias alone"),
    ],
)
def test_what_cannot_work_is_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        encoder(name, arguments=arguments)


def test_whatever_pyg_has_is_taken_or_refused_with_a_reason() -> None:
    taken = []
    for name in conv.__all__:
        try:
            taken.append(encoder(name).name)
        except ConfigError as error:
            assert name in str(error)  # noqa: PT017
    assert {"GCNConv", "SAGEConv", "GATConv", "GATv2Conv", "RGATConv"} <= set(taken)
