"""The questions of an epoch: every distinct (head, relation) of the train graph, once."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.reciprocal import inverse
from kgscale.kernels.sample import expand_runs


class TrainQueries:
    """Distinct queries with all their tails, read off the adjacency without a copy of it.

    Rows are sorted by relation, so the in-edges of ``h`` by the inverse of ``r`` are one run,
    and their sources are the tails known for ``(h, r, ?)``.
    """

    def __init__(self, graph: Adjacency) -> None:
        self.graph = graph
        self.start = _run_starts(graph)
        """First edge of each run, then the number of edges."""

    def __len__(self) -> int:
        return self.start.shape[0] - 1

    def order(self, *, seed: int, epoch: int) -> Int64[Tensor, " query"]:
        """The epoch's shuffle."""
        generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
        return torch.randperm(len(self), generator=generator)

    def count_answers(self, query: Int64[Tensor, " query"]) -> int:
        return int((self.start[query + 1] - self.start[query]).sum())

    def head(self, query: Int64[Tensor, " query"]) -> Int64[Tensor, " query"]:
        indptr = self.graph.indptr
        edge = self.start[query].to(indptr.dtype)
        return torch.searchsorted(indptr, edge, right=True) - 1

    def relation(self, query: Int64[Tensor, " query"]) -> Int64[Tensor, " query"]:
        edge_type = self.graph.relation[self.start[query]].long()
        return inverse(edge_type, num_relations=self.graph.num_relations)

    def answers(
        self, query: Int64[Tensor, " query"]
    ) -> tuple[Int64[Tensor, " answer"], Int64[Tensor, " answer"], Int64[Tensor, " answer"]]:
        """For each known tail: row of the query, tail, and the triple that says so."""
        edge, row = expand_runs(self.start[query], self.start[query + 1])
        return row, self.graph.source[edge].long(), self.graph.triple[edge].long()


def _run_starts(graph: Adjacency) -> Int64[Tensor, " run"]:
    num_edges = graph.relation.shape[0]
    new_run = torch.ones(num_edges + 1, dtype=torch.bool)
    new_run[1:num_edges] = graph.relation[1:] != graph.relation[:-1]
    new_run[graph.indptr.long()] = True
    new_run[num_edges] = True
    return new_run.nonzero().squeeze(1)


def mix_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers; nearby inputs give unrelated seeds (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
