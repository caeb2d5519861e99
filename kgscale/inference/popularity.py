"""The baseline that stands next to every model: a relation's most frequent tails."""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.inference.evaluate import Ranker, RankQueries, Thrift
from kgscale.kernels.rank import count_better
from kgscale.kernels.sample import expand_runs
from kgscale.metrics.ranking import RankCounts
from kgscale.sampling.queries import TrainQueries


def popularity_ranker(graph: Adjacency, known: KnownFacts, *, memory: int) -> Ranker:
    """Scores ``(h, r, t)`` by the number of train triples with relation r and tail t.

    ``memory`` (bytes) bounds the scores kept at a time, as in :func:`model_ranker`.
    """
    num_entities = graph.indptr.shape[0] - 1
    runs = TrainQueries(graph)
    run = torch.arange(len(runs))
    tail, count = runs.head(run), runs.start.diff()
    # A run of edges into t by relation r is exactly the triples counted.
    order = torch.argsort(graph.relation[runs.start[:-1]].long(), stable=True)
    tail, count = tail[order], count[order].float()
    edge_type = graph.relation[runs.start[:-1]].long()[order]
    bounds = torch.searchsorted(edge_type, torch.arange(2 * graph.num_relations + 1))
    thrift = Thrift(max(1, memory // (4 * num_entities)), least=1)

    def scores(relation: int) -> Tensor:
        row = torch.zeros(num_entities)
        part = slice(int(bounds[relation]), int(bounds[relation + 1]))
        row[tail[part]] = count[part]
        return row

    def rank(queries: RankQueries) -> RankCounts:
        return thrift(lambda rows: by_rows(queries, rows))

    def by_rows(queries: RankQueries, rows: int) -> RankCounts:
        indptr, tails = known.tails(queries.head, queries.relation)
        indptr = indptr.long()
        better, tied = torch.zeros(2, len(queries.tail), dtype=torch.int64).unbind()
        for relation in set(queries.relation.tolist()):
            row = scores(relation)
            which = (queries.relation[queries.row] == relation).nonzero().squeeze(1)
            for part in which.split(rows):
                asked = queries.row[part]
                edge, _ = expand_runs(indptr[asked], indptr[asked + 1])
                ends = torch.cat([torch.zeros(1, dtype=torch.int64), _lengths(indptr, asked)])
                better[part], tied[part] = count_better(
                    row.expand(len(part), -1), queries.tail[part], ends.cumsum(0), tails[edge]
                )
        return RankCounts(better=better, tied=tied)

    return rank


def _lengths(indptr: Tensor, row: Tensor) -> Tensor:
    return indptr[row + 1] - indptr[row]
