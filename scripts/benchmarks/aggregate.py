"""Relational layers, forward and backward, against PyTorch Geometric and plain torch.

Graph: 20k entities, 150k edges, 474 relations, 128 features; the R-GCN layer has 8 bases. Weights
are the mean over the edges of a relation, as in the R-GCN paper and in PyG. Both cores.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from kgscale.kernels.aggregate import aggregate_compose, basis_linear, relation_mean_weight

NUM_ENTITIES, NUM_EDGES, NUM_RELATIONS, DIM, BASES = 20_000, 150_000, 474, 128, 8


def run(*, quick: bool = False) -> list[dict[str, object]]:
    warnings.filterwarnings("ignore", "Sparse ")  # torch calls its CSR support beta
    graph = Graph(NUM_EDGES // 10 if quick else NUM_EDGES)
    repeats = 5 if quick else 15
    rgcn = [graph.rgcn, graph.rgcn_torch, graph.rgcn_products]
    ours, torch_layer, products = medians(rgcn, repeats)
    compose, torch_compose = medians([graph.compgcn, graph.compgcn_torch], repeats)
    start = time.perf_counter()
    theirs = graph.rgcn_pyg()
    pyg = time.perf_counter() - start
    for found, expected in zip(graph.rgcn(), theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    peers = (
        ("aggregate_rgcn", ours, "PyG RGCNConv(num_bases=8)", pyg),
        ("aggregate_rgcn_torch", ours, "a CSR product per basis", torch_layer),
        ("aggregate_rgcn_limit", ours, "its three dense products alone", products),
        ("aggregate_compgcn", compose, "index_select · index_add_", torch_compose),
    )
    return [
        {
            "work": work,
            "ours": seconds,
            "peer": peer,
            "theirs": theirs,
            "ratio": theirs / seconds,
            "unit": "s",
        }
        for work, seconds, peer, theirs in peers
    ]


class Graph:
    """One random graph, its parameters, and a layer in several forms; each returns gradients."""

    def __init__(self, edges: int) -> None:
        generator = torch.Generator().manual_seed(0)

        def parameter(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).div_(10).requires_grad_()

        # Distinct pairs, because torch's CSR gradient is wrong where two edges share a place.
        pairs = torch.randint(NUM_ENTITIES**2, (2 * edges,), generator=generator).unique()
        pairs = pairs[torch.randperm(len(pairs), generator=generator)[:edges]].sort().values
        self.target, self.source = pairs // NUM_ENTITIES, pairs % NUM_ENTITIES
        self.relation = torch.randint(NUM_RELATIONS, (edges,), generator=generator)
        self.indptr = torch.searchsorted(self.target, torch.arange(NUM_ENTITIES + 1))
        self.layout = self.indptr, self.source
        self.order = self.source.argsort(stable=True)
        starts = torch.searchsorted(self.source[self.order], torch.arange(NUM_ENTITIES + 1))
        self.layout_t = starts, self.target[self.order]
        self.weight = relation_mean_weight(self.indptr, self.relation, NUM_RELATIONS)
        self.edges = (self.weight, self.indptr, self.source.int(), self.relation.int())
        self.x = parameter(NUM_ENTITIES, DIM)
        self.coefficient = parameter(NUM_RELATIONS, BASES)
        self.basis = parameter(BASES, DIM, DIM)
        self.vector = parameter(NUM_RELATIONS, DIM)
        self.sums = torch.randn(NUM_ENTITIES, BASES * DIM, generator=generator)
        self.arriving = torch.randn(NUM_ENTITIES, DIM, generator=generator)

    def gradients(self, out: Tensor, *parameters: Tensor) -> list[Tensor]:
        return [out, *torch.autograd.grad(out, parameters, self.arriving)]

    def rgcn(self) -> list[Tensor]:
        out = basis_linear(self.x, self.coefficient, self.basis, *self.edges)
        return self.gradients(out, self.x, self.coefficient, self.basis)

    def rgcn_torch(self) -> list[Tensor]:
        out = torch.zeros_like(self.arriving)
        scale = self.coefficient[self.relation] * self.weight[:, None]
        for values, basis in zip(scale.unbind(1), self.basis, strict=True):
            z = CsrProduct.apply(values, self.x, self.layout, self.layout_t, self.order)
            out = out + z @ basis
        return self.gradients(out, self.x, self.coefficient, self.basis)

    def rgcn_products(self) -> list[Tensor]:
        """What no form of the layer avoids: ``z @ basis`` and its two gradients."""
        matrix = self.basis.detach().flatten(0, 1)
        return [self.sums @ matrix, self.arriving @ matrix.T, self.sums.T @ self.arriving]

    def rgcn_pyg(self) -> list[Tensor]:
        from torch_geometric.nn import RGCNConv

        layer = RGCNConv(DIM, DIM, NUM_RELATIONS, num_bases=BASES, root_weight=False, bias=False)
        edge_index = torch.stack([self.source, self.target])
        with torch.no_grad():
            layer.weight.copy_(self.basis)
            layer.comp.copy_(self.coefficient)
        out = layer(self.x, edge_index, self.relation)
        return self.gradients(out, self.x, layer.comp, layer.weight)

    def compgcn(self) -> list[Tensor]:
        settings = {"compose": "multiply", "relations_per_slot": NUM_RELATIONS}
        z = aggregate_compose(self.x, self.vector, *self.edges, **settings)
        return self.gradients(z[:, 0], self.x, self.vector)

    def compgcn_torch(self) -> list[Tensor]:
        sent = self.x.index_select(0, self.source) * self.weight[:, None]
        message = sent * self.vector.index_select(0, self.relation)
        out = torch.zeros_like(self.arriving).index_add_(0, self.target, message)
        return self.gradients(out, self.x, self.vector)


class CsrProduct(torch.autograd.Function):
    """A CSR product by hand: the transposed layout is known, and only the edges get gradients."""

    @staticmethod
    def forward(ctx, values, x, layout, layout_t, order):
        ctx.save_for_backward(values, x)
        ctx.rest = layout, layout_t, order
        return csr(layout, values) @ x

    @staticmethod
    def backward(ctx, grad):
        (values, x), (layout, layout_t, order) = ctx.saved_tensors, ctx.rest
        zero = csr(layout, torch.zeros_like(values))
        to_values = torch.sparse.sampled_addmm(zero, grad, x.T).values()
        return to_values, csr(layout_t, values[order]) @ grad, None, None, None


def csr(layout: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(*layout, values, (NUM_ENTITIES, NUM_ENTITIES))


def medians(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each, taken in turn after a round to warm up."""
    seconds: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, measured in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            if repeat:
                measured.append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in seconds]
