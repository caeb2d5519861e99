"""Strategies whose batch is a set of entities with all edges between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.induce import Induced, induce
from kgscale.sampling.base import share
from kgscale.sampling.leakage import hide_within
from kgscale.sampling.queries import mix_seed
from kgscale.sampling.questions import Inside, LinkQuestions, Questions, Share


class Cut(NamedTuple):
    """The entities that one rank holds in one step, and the edges between them."""

    edges: Induced
    rows: int
    """The first so many entities are asked about, and are the candidates."""

    @property
    def entities(self) -> int:
        return self.edges.entity_id.shape[0]


class Turn(NamedTuple):
    """What one rank does in one step: a share of the questions about groups ``first .. last``."""

    first: int
    last: int
    share: Share


class InducedStrategy(ABC):
    """An epoch deals all groups of entities to unions, and visits each union several times.

    A visit asks about a share of the union's questions and hides their triples; which ones is drawn
    anew each epoch, and the visits of an epoch split them. So every edge that a union holds is
    asked about once from each side; what several unions hold (edges between hubs), in each.

    Args:
        graph: train edges in both directions.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder; each sees all edges of the batch.
        query_share: share of a union's triples that a step asks about.
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        questions: Questions | None,
        num_layers: int,
        query_share: float,
        seed: int,
    ) -> None:
        if not 0 < query_share <= 1:
            raise ConfigError(f"strategy.query_share needs a share in (0, 1], got {query_share}")
        self.graph, self.num_layers, self.seed = graph, num_layers, seed
        self.num_entities = graph.indptr.shape[0] - 1
        self.questions = LinkQuestions(graph) if questions is None else questions
        self.visits = self.questions.visits(query_share)

    @property
    @abstractmethod
    def groups(self) -> int:
        """How many groups of entities there are."""

    @property
    @abstractmethod
    def per_batch(self) -> int:
        """Groups of a union."""

    @abstractmethod
    def cut(self, epoch: int, first: int, last: int) -> Cut:
        """The union of groups ``first .. last`` of an epoch."""

    @cached_property
    def _held(self) -> tuple[Int64[Tensor, " relation"], Int64[Tensor, " relation"]]:
        """Edges of each relation that the first epoch's unions hold, and all; both directions."""
        unions, size = self._unions(1), self.graph.num_relations
        seen = torch.zeros(self.graph.source.shape[0], dtype=torch.bool)
        for index in range(unions):
            seen[self.cut(0, *share(self.groups, unions, index)).edges.edge.long()] = True
        relation = self.graph.relation.long() % size
        return torch.bincount(relation[seen], minlength=size), torch.bincount(
            relation, minlength=size
        )

    def prepare(self) -> None:  # noqa: B027  (most need nothing)
        """Nothing, unless the groups have to be made."""

    def report(self) -> dict[str, float]:
        """Share of the train edges that an epoch's unions hold, and of the relation worst off.

        Costs the cutting of an epoch's unions.
        """
        held, every = self._held
        return {
            "edges_kept": float(held.sum() / every.sum()),
            "edges_kept_worst_relation": min(self.relations_kept()),
        }

    def relations_kept(self) -> Sequence[float]:
        held, every = self._held
        # Of a relation without train edges, nothing is lost.
        shares: list[float] = torch.where(every > 0, held / every.clamp(min=1), 1.0).tolist()
        return shares

    def _unions(self, world_size: int) -> int:
        """Unions that a rank sees in an epoch."""
        return max(1, -(-self.groups // (self.per_batch * world_size)))

    def num_batches(self, *, world_size: int) -> int:
        return self._unions(world_size) * self.visits

    def turn(self, index: int, rank: int, world_size: int) -> Turn:
        """Unions take turns, so that neighbouring steps see different parts of the graph."""
        unions = self._unions(world_size)
        visit, union = divmod(index, unions)
        first, last = share(self.groups, unions * world_size, union * world_size + rank)
        return Turn(first, last, Share(visit, visit + 1, self.visits))

    def batch(self, epoch: int, index: int, *, rank: int, world_size: int) -> SubgraphBatch:
        # A mean over the step needs the other ranks' numbers of questions: theirs are cut too.
        held = [
            self._hold(epoch, self.turn(index, other, world_size)) for other in range(world_size)
        ]
        cut, inside = held[rank]
        ranks: list[Any] = [inside.query for _, inside in held]
        return hide_within(
            cut.edges,
            self.graph.triple,
            inside.hidden,
            inside.query.of_step(ranks),
            num_layers=self.num_layers,
            degree=self.graph.degree(cut.edges.entity_id) if cut.rows < cut.entities else None,
        )

    def _hold(self, epoch: int, turn: Turn) -> tuple[Cut, Inside]:
        cut = self.cut(epoch, turn.first, turn.last)
        seed = mix_seed(self.seed, epoch)
        return cut, self.questions.inside(cut.edges, cut.rows, turn.share, seed=seed)

    def between(self, entity: Int64[Tensor, " entity"], *, rows: int | None = None) -> Cut:
        """Some entities, and the edges from any of them to the first ``rows``."""
        graph, rows = self.graph, len(entity) if rows is None else rows
        return Cut(induce(graph.indptr, graph.source, graph.relation, entity, rows=rows), rows)

    def shuffled(self, epoch: int) -> Int64[Tensor, " group"]:
        """The groups in the epoch's order."""
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        return torch.randperm(self.groups, generator=generator)
