"""Full batch: the whole graph in every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.induce import Induced
from kgscale.sampling.induced import Cut, InducedStrategy, Turn
from kgscale.sampling.questions import Questions, Share


class FullBatchStrategy(InducedStrategy):
    """Every step sends messages along all train edges but the asked ones (Schlichtkrull 2018).

    Costs the whole graph in memory and time, every step, so an epoch has few steps; choose it for
    small graphs, and as the measure of what sampling loses. An epoch asks about every train
    triple once: its steps split them.

    Args:
        graph: train edges in both directions.
        questions: what is asked; the train triples if nothing else is given.
        num_layers: layers of the encoder.
        query_share: share of the triples that a step asks about and hides; its inverse is the
            number of steps (over all ranks) of an epoch.
        seed: of everything drawn here.
    """

    def __init__(
        self,
        *,
        graph: Adjacency,
        questions: Questions | None = None,
        num_layers: int,
        query_share: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            graph=graph,
            questions=questions,
            num_layers=num_layers,
            query_share=query_share,
            seed=seed,
        )

    def describe(self) -> str:
        return (
            f"Full batch: every step holds all {self.num_entities:,} entities and"
            f" {self.graph.source.shape[0]:,} edges, and"
            f" {self.questions.describe_inside(self.visits, 'all entities')}."
        )

    def report(self) -> dict[str, float]:
        return {}

    def relations_kept(self) -> Sequence[float]:
        return ()

    @property
    def groups(self) -> int:
        return 1

    @property
    def per_batch(self) -> int:
        return 1

    def num_batches(self, *, world_size: int) -> int:
        return max(1, -(-self.visits // world_size))

    def turn(self, index: int, rank: int, world_size: int) -> Turn:
        """Ranks hold the same graph and share the visits."""
        turns = self.num_batches(world_size=world_size) * world_size
        turn = index * world_size + rank
        return Turn(0, 1, Share(turn, turn + 1, turns))

    def cut(self, epoch: int, first: int, last: int) -> Cut:
        return Cut(self._whole, self.num_entities)

    @cached_property
    def _whole(self) -> Induced:
        graph = self.graph
        return Induced(
            entity_id=torch.arange(self.num_entities),
            indptr=graph.indptr.long(),
            source=graph.source.int(),
            relation=graph.relation.int(),
            edge=torch.arange(graph.source.shape[0], dtype=graph.indptr.dtype),
        )
