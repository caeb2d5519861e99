"""What friends in common add to a pair's score, and what is left of that without a fact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from kgscale.graph.adjacency import Adjacency
from kgscale.inference.reasons.judge import Fact, Judge


class SharedJudge(Judge):
    """Another judge's, and ``weight`` times the logarithm of one plus Adamic and Adar's measure of
    a pair, as :func:`kgscale.inference.friends.with_shared` has it.

    Args:
        graph: whose friends are known, each pair both ways.
        relation: that of friends.
    """

    def __init__(
        self,
        judge: Judge,
        graph: Adjacency,
        relation: int,
        pair: tuple[int, int],
        weight: float,
    ) -> None:
        self._judge, self._graph, self._relation = judge, graph, relation
        self._weight, self._pair = weight, pair
        self._friends = [self._of(entity) for entity in pair]
        self._number = {one: len(self._of(one)) for one in self._friends[0] & self._friends[1]}
        self._whole = self._without()
        self.score = judge.score + self._whole

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        for fact, loss in zip(facts, self._judge.losses(facts), strict=True):
            step = fact.step
            befriends = step.relation % self._graph.num_relations == self._relation
            gone = (step.source, step.target) if befriends else ()
            yield loss + self._whole - self._without(*gone)

    def _of(self, entity: int) -> set[int]:
        edges = slice(*self._graph.indptr[entity : entity + 2].tolist())
        kept = self._graph.relation[edges] == self._relation
        return set(self._graph.source[edges][kept].tolist())

    def _without(self, *ends: int) -> float:
        """What the friends in common add, less a pair of friends."""
        total = 0.0
        for one, number in self._number.items():
            if one in ends:
                if ends[0] in self._pair or ends[1] in self._pair:
                    continue
                number -= 1
            total += 1 / math.log(number) if number > 1 else 0.0
        return self._weight * float(torch.tensor(total).log1p())
