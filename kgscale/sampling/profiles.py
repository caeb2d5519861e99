"""Profiles: how many edges of every relation an entity has, wherever it lies."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from kgscale.batch import Profile
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.ego import HiddenRows, locate
from kgscale.kernels.sample import expand_runs
from kgscale.types import Ids

GOLDEN: Final = 0.6180339887
"""Multiples of it are spread evenly over the circle."""


class Profiles:
    """Counts of the in-edges of every entity by relation, both directions of a triple apart.

    Args:
        graph: train edges in both directions.
    """

    def __init__(self, graph: Adjacency) -> None:
        self.graph, self.relations = graph, 2 * graph.num_relations
        target = torch.arange(len(graph.indptr) - 1).repeat_interleave(graph.indptr.long().diff())
        # Edges are sorted by target and relation.
        key, self.count = torch.unique_consecutive(
            target * self.relations + graph.relation.long(), return_counts=True
        )
        self.relation = key % self.relations
        number = torch.bincount(key // self.relations, minlength=len(graph.indptr) - 1)
        self.indptr = torch.cat([number.new_zeros(1), number.cumsum(0)])

    def of(
        self,
        entity: Ids,
        owner: Int64[Tensor, " candidate"] | None = None,
        hidden: HiddenRows | None = None,
        *,
        lost: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Profile:
        """Of some entities; with ``hidden``, each as the question ``owner`` may see it.

        ``lost`` is the chance of each edge to be left out beside the hidden ones; of those of an
        entity and a relation at most one is.
        """
        entry, row = expand_runs(self.indptr[entity], self.indptr[entity + 1])
        relation, count = self.relation[entry], self.count[entry]
        if hidden is not None:
            assert owner is not None
            count = count.index_add(0, *self._hidden(entity, owner, hidden, row, relation))
        if lost:
            # By the entity and the relation alone: what is hidden must not move anything else.
            luck = torch.rand(len(entity), generator=generator)[row] + relation * GOLDEN
            count = count - (luck % 1 < 1 - (1 - lost) ** count.clamp(min=0)).long()
        number = torch.bincount(row, minlength=len(entity))
        return Profile(
            indptr=torch.cat([number.new_zeros(1), number.cumsum(0)]),
            relation=relation,
            value=torch.where(count > 0, 1 + count.clamp(min=1).float().log(), 0),
        )

    def _hidden(
        self,
        entity: Ids,
        owner: Int64[Tensor, " candidate"],
        hidden: HiddenRows,
        row: Int64[Tensor, " entry"],
        relation: Int64[Tensor, " entry"],
    ) -> tuple[Int64[Tensor, " gone"], Int64[Tensor, " gone"]]:
        """The entries that hidden edges are counted in, and what they change by."""
        graph, indptr = self.graph, hidden.indptr.long()
        edge = hidden.edge.long()
        question = torch.arange(len(indptr) - 1).repeat_interleave(indptr.diff())
        # An edge may be named twice.
        named = torch.stack([question, edge], dim=1)[edge >= 0]
        question, edge = torch.unique(named, dim=0).unbind(dim=1)
        target = torch.searchsorted(graph.indptr, edge.to(graph.indptr.dtype), right=True) - 1
        place = locate(owner.int(), entity, question, target)
        asked = (place * self.relations + graph.relation[edge].long())[place >= 0]
        entry = torch.searchsorted(row * self.relations + relation, asked)
        return entry, torch.full_like(entry, -1)


def draw_far(
    entities: int,
    owner: Int32[Tensor, " entity"],
    entity_id: Int64[Tensor, " entity"],
    *,
    questions: int,
    number: int,
    generator: torch.Generator,
) -> tuple[Int64[Tensor, " far"], Int64[Tensor, " far"], Float[Tensor, " far"]]:
    """For each question some entities from outside its subgraph: owners, ids, and the logarithm of
    how many entities each of them stands for."""
    number = min(number, entities)
    row = torch.arange(questions).repeat_interleave(number)
    drawn = torch.randint(entities, (questions * number,), generator=generator)
    key = torch.unique(row * entities + drawn)
    row, drawn = key // entities, key % entities
    outside = locate(owner, entity_id, row, drawn) < 0
    weight = torch.full((int(outside.sum()),), entities / number).log()
    return row[outside], drawn[outside], weight
