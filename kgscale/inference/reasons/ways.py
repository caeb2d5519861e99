"""What may have led a model to a prediction: facts about its entities, and short paths of facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.kernels.sample import expand_runs
from kgscale.types import Ids

LONGEST: Final = 3
"""Facts of a path."""
LOOKED_AT: Final = 1 << 21
"""Edges that a search for paths looks at, those of the rarest entities first."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """An edge on the way; ``relation`` may be reciprocal."""

    source: int
    relation: int
    target: int


@dataclass(frozen=True, slots=True)
class Way:
    """Facts one after the other, from an entity of the prediction."""

    steps: tuple[PathStep, ...]
    triples: tuple[int, ...]
    """The number of each in train."""

    def told(self, store: GraphStore) -> str:
        return told(self.steps, store)


def told(steps: Sequence[PathStep], store: GraphStore) -> str:
    """By name: ``a -[r]-> b <-[s]- c``."""
    if not steps:
        return ""
    names = store.entity_names(torch.tensor([steps[0].source, *(step.target for step in steps)]))
    text = names[0]
    for step, name in zip(steps, names[1:], strict=True):
        (called,) = store.relation_names(torch.tensor([step.relation % store.num_relations]))
        back = step.relation >= store.num_relations
        text += f" <-[{called}]- {name}" if back else f" -[{called}]-> {name}"
    return text


class Search:
    """Looks for ways in a graph that lacks some triples.

    Args:
        graph: train edges in both directions.
        hidden: triples that are no evidence, as the one that is explained.
    """

    def __init__(self, graph: Adjacency, hidden: Ids) -> None:
        self.graph, self.hidden = graph, hidden

    def facts(self, entity: int, most: int) -> list[Way]:
        """Facts about an entity; of more than ``most``, some with rare and some with frequent
        entities at their other ends, which is an even choice by degree."""
        edge, _ = self._edges(torch.tensor([entity]))
        edge = edge[self._rarest_first(edge)]
        if len(edge) > most:
            edge = edge[torch.linspace(0, len(edge) - 1, most).round().long()]
        return [self._way(entity, [one]) for one in edge.tolist()]

    def further(self, entity: int, most: int) -> list[Way]:
        """Two facts each, the second about a neighbour of the entity; the rarest neighbours."""
        first, _ = self._edges(torch.tensor([entity]))
        first = first[self._rarest_first(first)]
        near = self.graph.source[first].long()
        edge, row = self._edges(near)
        own = self.graph.source[edge].long() == entity
        ways = zip(first[row[~own]].tolist(), edge[~own].tolist(), strict=True)
        return [self._way(entity, pair) for pair, _ in zip(ways, range(most), strict=False)]

    def paths(self, head: int, tail: int, most: int, longest: int = LONGEST) -> list[Way]:
        """Paths from head to tail that come to no entity twice, the most telling first.

        A path tells the more, the fewer edges the entities on its way have; ``LOOKED_AT`` edges
        are followed at most, those of the rarest first.
        """
        if head == tail:
            return []
        found = self._direct(head, tail)
        near = self._reached(head, but=tail)
        last = self._reached(tail, but=head)
        if longest > 1:
            found += self._joined(near, last)
        if longest > 2:
            found += self._joined(self._longer(near, head, tail), last)
        found.sort(key=lambda path: (-path[0], path[1]))
        return [self._way(head, list(edges)) for _, edges in found[:most]]

    def _direct(self, head: int, tail: int) -> list[tuple[float, tuple[int, ...]]]:
        edge, _ = self._edges(torch.tensor([head]))
        return [(1.0, (one,)) for one in edge[self.graph.source[edge] == tail].tolist()]

    def _reached(self, entity: int, but: int) -> _Reached:
        edge, _ = self._edges(torch.tensor([entity]))
        edge = edge[self.graph.source[edge] != but]
        end = self.graph.source[edge].long()
        stays = end != entity
        return _Reached(edge[stays][:, None], end[stays], torch.ones(int(stays.sum())).double())

    def _longer(self, near: _Reached, head: int, tail: int) -> _Reached:
        """One edge more, never back to either end; of the rarest entities first."""
        degree = self.graph.degree(near.end).long()
        order = degree.argsort(stable=True)
        order = order[degree[order].cumsum(0) <= LOOKED_AT]
        edge, row = self._edges(near.end[order])
        end, row = self.graph.source[edge].long(), order[row]
        stays = (end != head) & (end != tail) & (end != near.end[row])
        edge, end, row = edge[stays], end[stays], row[stays]
        weight = near.weight[row] / degree[row]
        return _Reached(torch.cat([near.edges[row], edge[:, None]], dim=1), end, weight)

    def _joined(self, near: _Reached, last: _Reached) -> list[tuple[float, tuple[int, ...]]]:
        """Where both ends meet; the edges of the last step are those of the tail."""
        order = last.end.argsort(stable=True)
        ends = last.end[order]
        low = torch.searchsorted(ends, near.end)
        high = torch.searchsorted(ends, near.end, right=True)
        place, row = expand_runs(low, high)
        place = order[place]
        weight = near.weight[row] / self.graph.degree(near.end[row])
        edges = torch.cat([near.edges[row], last.edges[place]], dim=1)
        return list(zip(weight.tolist(), map(tuple, edges.tolist()), strict=True))

    def _edges(self, entity: Ids) -> tuple[Int64[Tensor, " edge"], Int64[Tensor, " edge"]]:
        """The edges of entities, and whose each is, without what is hidden."""
        bounds = self.graph.indptr.long()
        edge, row = expand_runs(bounds[entity], bounds[entity + 1])
        stays: Bool[Tensor, " edge"] = ~torch.isin(self.graph.triple[edge].long(), self.hidden)
        if self.graph.undirected:  # of each edge there is another
            stays &= self.graph.relation[edge] < self.graph.num_relations
        return edge[stays], row[stays]

    def _rarest_first(self, edge: Int64[Tensor, " edge"]) -> Int64[Tensor, " edge"]:
        return self.graph.degree(self.graph.source[edge].long()).argsort(stable=True)

    def _way(self, start: int, edges: Sequence[int]) -> Way:
        """By edges, each of which has one end on the way already."""
        graph, steps, at = self.graph, [], start
        for edge in edges:
            row = int(torch.searchsorted(graph.indptr, edge, right=True)) - 1
            source, relation = int(graph.source[edge]), int(graph.relation[edge])
            if row == at:
                # An in-edge is walked against its direction.
                step = PathStep(at, (relation + graph.num_relations) % self._size, source)
            else:
                step = PathStep(at, relation, row)
            steps.append(step)
            at = step.target
        return Way(tuple(steps), tuple(graph.triple[list(edges)].long().tolist()))

    @property
    def _size(self) -> int:
        return 2 * self.graph.num_relations


@dataclass(frozen=True, slots=True)
class _Reached:
    """Ways from an end: their edges, where they came to, and how telling they are so far."""

    edges: Int64[Tensor, "way step"]
    end: Int64[Tensor, " way"]
    weight: Float[Tensor, " way"]


def way_of(graph: Adjacency, steps: Sequence[PathStep]) -> Way | None:
    """With the triples of its steps; None where the graph lacks one."""
    facts, triples = KnownFacts(graph), []
    for step in steps:
        _, edges = facts.edges(torch.tensor([step.source]), torch.tensor([step.relation]))
        edges = edges[graph.source[edges] == step.target]
        if not len(edges):
            return None
        triples.append(int(graph.triple[edges[0]]))
    return Way(tuple(steps), tuple(triples))


def triples_of(graph: Adjacency, head: int, relation: int, tail: int) -> Ids:
    """The numbers of a triple in a graph: none, or one."""
    way = way_of(graph, [PathStep(head, relation, tail)])
    return torch.tensor([] if way is None else list(way.triples), dtype=torch.int64)
