"""Clusters: unions of graph parts with the edges between them put back (Cluster-GCN)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.partition import Method, Partition
from kgscale.kernels.sample import sample_neighbors
from kgscale.sampling.induced import Cut, InducedStrategy
from kgscale.sampling.queries import mix_seed
from kgscale.sampling.questions import Questions

Partitioner = Callable[..., Partition]


class ClusterStrategy(InducedStrategy):
    """The subgraph induced by a random union of ``per_batch`` of ``parts`` graph parts.

    Chiang et al. 2019, section 3.2. Costs the union's entities and edges whatever the number of
    layers, and a partition once, which is stored; choose it for deep encoders and for graphs
    that fall into parts. Edges between parts that are not together in a batch are missing there,
    those of hubs and rare types most. The cures: a large union, which every epoch draws anew;
    hubs that are in every batch; and a halo of neighbours from outside the union.

    Args:
        graph: train edges in both directions.
        partition: makes or finds the parts, from ``parts``, ``method`` and ``seed``.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder.
        parts: how many parts the graph is cut into.
        per_batch: parts of a step and rank.
        method: metis, ldg or fennel (streaming), random (the control), or auto: metis where it
            fits into memory, else ldg.
        hubs: entities of highest degree that are in every batch.
        halo: in-edges from outside the union sampled for each of its entities; 0 for none.
        query_share: share of a batch's triples that are asked about and hidden.
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        partition: Partitioner,
        questions: Questions | None = None,
        num_layers: int,
        parts: int,
        per_batch: int,
        method: Method = "auto",
        hubs: int = 0,
        halo: int = 0,
        query_share: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__(
            graph=graph,
            questions=questions,
            num_layers=num_layers,
            query_share=query_share,
            seed=seed,
        )
        for name, value, least in (
            ("parts", parts, 1),
            ("per_batch", per_batch, 1),
            ("hubs", hubs, 0),
            ("halo", halo, 0),
        ):
            if value < least:
                raise ConfigError(f"strategy.{name} needs an int of at least {least}, got {value}")
        if per_batch > parts:
            raise ConfigError(
                f"strategy.per_batch is {per_batch} and strategy.parts only {parts}: a batch can't"
                " hold more parts than there are"
            )
        self.parts, self._per_batch, self.method = parts, per_batch, method
        self.hubs, self.halo = hubs, halo
        self._partition = partition

    def describe(self) -> str:
        cures = f", {self.hubs:,} hubs in every step" if self.hubs else ""
        cures += f", {self.halo} in-edges an entity from outside" if self.halo else ""
        return (
            f"Clusters: every step holds a union of {self.per_batch} of {self.parts} parts"
            f" ({self.method}){cures}, and"
            f" {self.questions.describe_inside(self.visits, 'its entities')}."
        )

    @property
    def groups(self) -> int:
        return self.parts

    @property
    def per_batch(self) -> int:
        return self._per_batch

    def prepare(self) -> None:
        """Cut the graph."""
        _ = self.partition

    @cached_property
    def partition(self) -> Partition:
        return self._partition(parts=self.parts, method=self.method, seed=self.seed)

    @cached_property
    def _hubs(self) -> Int64[Tensor, " hub"]:
        degree = self.graph.indptr.diff()
        return degree.topk(min(self.hubs, self.num_entities)).indices

    def cut(self, epoch: int, first: int, last: int) -> Cut:
        indptr, member = self.partition.indptr, self.partition.member
        union = [member[indptr[p] : indptr[p + 1]] for p in self.shuffled(epoch)[first:last]]
        entity = torch.cat([*union, self._hubs]).long()
        entity = torch.unique(entity)
        if not self.halo:
            return self.between(entity)
        graph = self.graph
        near = sample_neighbors(
            graph.indptr,
            graph.source,
            graph.relation,
            entity,
            [self.halo],
            seed=mix_seed(self.seed, epoch),
            with_edge=False,
        )
        return self.between(near.entity_id, rows=len(entity))
