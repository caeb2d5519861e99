"""Our sampler in PyG's own loaders, which otherwise need a compiled extension."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import get_worker_info
from torch_geometric.data import Data
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)
from torch_geometric.sampler.neighbor_sampler import edge_sample

from kgscale.errors import ConfigError
from kgscale.kernels.sample import sample_neighbors
from kgscale.sampling.queries import mix_seed


class PyGNeighborSampler(BaseSampler):  # type: ignore[misc]
    """Uniform neighbour sampling of a homogeneous ``Data``, with or without ``edge_type``.

    For ``NodeLoader(data, node_sampler=…, input_nodes=…)`` and ``LinkLoader(data,
    link_sampler=…, edge_label_index=…)``. The edges of a batch point from neighbours to the
    nodes that asked for them; ``e_id`` names their columns in ``data.edge_index``.

    Args:
        data: with ``edge_index`` and ``num_nodes``.
        num_neighbors: in-edges kept per node, a number per hop; -1 keeps all.
        per_relation: keep that many of each ``edge_type``.
        seed: of the draws; every call draws anew.
    """

    def __init__(
        self,
        data: Data,
        num_neighbors: Sequence[int],
        *,
        per_relation: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not num_neighbors or any(k == 0 or k < -1 for k in num_neighbors):
            raise ConfigError(
                "num_neighbors needs a positive int (or -1 for all) per hop,"
                f" got {list(num_neighbors)}"
            )
        source, target = data.edge_index
        edge_type = data.get("edge_type")
        if edge_type is None:
            edge_type = torch.zeros_like(source)
        order = torch.argsort(edge_type, stable=True)
        self._order = order[torch.argsort(target[order], stable=True)]
        self._source = source[self._order].int()
        self._relation = edge_type[self._order].int()
        self._num_nodes = int(data.num_nodes)
        degree = torch.bincount(target, minlength=self._num_nodes)
        self._indptr = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        self._fanout, self._per_relation = tuple(num_neighbors), per_relation
        self._seed, self._calls = seed, 0

    @property
    def edge_permutation(self) -> Int64[Tensor, " edge"]:
        """Column of ``data.edge_index`` of each edge as sorted here."""
        return self._order

    def sample_from_nodes(self, index: NodeSamplerInput, **_: Any) -> SamplerOutput:
        if len(torch.unique(index.node)) < len(index.node):
            raise ConfigError("input_nodes holds a node twice; a batch asks for each node once")
        out = self._sample(index.node)
        out.metadata = (index.input_id, index.time)
        return out

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput:
        return edge_sample(
            index,
            lambda seeds, _: self._sample(seeds),
            self._num_nodes,
            disjoint=False,
            neg_sampling=neg_sampling,
        )

    def _sample(self, seeds: Int64[Tensor, " seed"]) -> SamplerOutput:
        self._calls += 1
        # A worker starts anew each epoch with a copy of this object; its seed tells them apart.
        worker = get_worker_info()
        sample = sample_neighbors(
            self._indptr,
            self._source,
            self._relation,
            seeds,
            self._fanout,
            seed=mix_seed(self._seed, self._calls, worker.seed if worker else 0),
            per_relation=self._per_relation,
        )
        assert sample.edge is not None
        row = torch.arange(len(sample.indptr) - 1).repeat_interleave(sample.indptr.long().diff())
        sizes, edges = sample.hop_size, sample.hop_edges
        return SamplerOutput(
            node=sample.entity_id.long(),
            row=sample.source.long(),
            col=row,
            edge=sample.edge.long(),
            num_sampled_nodes=[sizes[0], *(b - a for a, b in pairwise(sizes))],
            num_sampled_edges=[edges[0], *(b - a for a, b in pairwise(edges))],
        )
