"""Which tails are known facts: what a filtered rank leaves out."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.reciprocal import inverse
from kgscale.types import Ids


class KnownFacts:
    """Looks up runs of equal relation within the sorted in-edges of a head."""

    def __init__(self, adjacency: Adjacency) -> None:
        self.adjacency = adjacency

    def tails(
        self, head: Ids, relation: Ids
    ) -> tuple[Int64[Tensor, " query_plus_one"], Int64[Tensor, " tail"]]:
        """Known tails of each (head, relation, ?), ascending, as ``indptr`` and ids.

        A reciprocal relation asks for the heads of its relation.
        """
        indptr, edge = self.edges(head, relation)
        return indptr, self.adjacency.source[edge].long()

    def edges(
        self, head: Ids, relation: Ids
    ) -> tuple[Int64[Tensor, " query_plus_one"], Int64[Tensor, " edge"]]:
        """The edges of the same, by their places in the adjacency."""
        wanted = inverse(relation, num_relations=self.adjacency.num_relations)
        first, last = self._run(head, wanted), self._run(head, wanted + 1)
        count = last - first
        indptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        edge = torch.arange(int(indptr[-1])) + (first - indptr[:-1]).repeat_interleave(count)
        return indptr, edge

    def _run(self, head: Ids, relation: Ids) -> Int64[Tensor, " query"]:
        """First in-edge of each head whose relation is not smaller: all bisected in step."""
        low = self.adjacency.indptr[head].long()
        high = self.adjacency.indptr[head + 1].long()
        steps = int((high - low).max()).bit_length() if len(head) else 0
        for _ in range(steps):
            middle = (low + high) // 2
            smaller = self.adjacency.relation[middle.clamp(max=self._last)].long() < relation
            smaller &= low < high
            low, high = torch.where(smaller, middle + 1, low), torch.where(smaller, high, middle)
        return low

    @property
    def _last(self) -> int:
        return max(len(self.adjacency.relation) - 1, 0)
