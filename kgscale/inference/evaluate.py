"""Full filtered evaluation: both sides of every triple against all entities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.errors import out_of_memory
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import add_reciprocal
from kgscale.inference.embed import GraphVectors
from kgscale.kernels.rank import rank_all
from kgscale.metrics.ranking import RankCounts, empty_sums, rank_sums, summarize
from kgscale.models.decoders import Decoder
from kgscale.sampling.queries import TrainQueries
from kgscale.types import Triples

ROWS_PER_BLOCK: Final = 256
BLOCKS_PER_PART: Final = 8
"""Blocks ranked in one call: enough for all cores, few enough to share among ranks."""
CATEGORIES: Final = ("1-1", "1-N", "N-1", "N-N")
DEGREES: Final = (1, 3, 10, 30, 100, 300)
"""Upper bounds of the buckets of a true tail's number of train triples; the last is open."""


@dataclass(frozen=True, slots=True)
class RankQueries:
    """Distinct questions, each with one or more true tails; relations may be reciprocal."""

    head: Int64[Tensor, " query"]
    relation: Int64[Tensor, " query"]
    row: Int64[Tensor, " target"]
    """The question that a true tail answers, ascending."""
    tail: Int64[Tensor, " target"]


Done = TypeVar("Done")
Ranker = Callable[[RankQueries], RankCounts]
"""Counts for every true tail."""


@dataclass(frozen=True, slots=True)
class RankReport:
    """Sums that add up over ranks: one row per group.

    ``relation`` and ``category`` have the rows of tail queries, then those of head queries.
    """

    relation: Float[Tensor, "relation column"]
    category: Float[Tensor, "category column"]
    degree: Float[Tensor, "bucket column"]

    def overall(self) -> dict[str, float]:
        return summarize(self.relation.sum(dim=0))

    def breakdown(self, relation_keys: list[str]) -> dict[str, Any]:
        """Metrics by side, relation, category and degree of the true tail."""
        tails, heads = self.relation.chunk(2)
        bounds = [f"<={bound}" for bound in DEGREES] + [f">{DEGREES[-1]}"]
        named = {
            "side": {"tail": tails.sum(dim=0), "head": heads.sum(dim=0)},
            "relation": dict(zip(relation_keys, tails + heads, strict=True)),
            "category": dict(zip(_sided(CATEGORIES), self.category, strict=True)),
            "degree": dict(zip(bounds, self.degree, strict=True)),
        }
        return {
            kind: {name: summarize(row) for name, row in rows.items() if row[0] > 0}
            for kind, rows in named.items()
        }


def evaluate(
    rank: Ranker,
    triples: Triples,
    graph: Adjacency,
    *,
    shard: int = 0,
    num_shards: int = 1,
) -> RankReport:
    """Rank both sides of ``triples``.

    Queries are dealt to shards by whole blocks, and a block's scores don't depend on who
    computes them, so the sum of the shards' reports is the report of one shard.
    """
    category = relation_category(graph)
    category = torch.cat([category, category + len(CATEGORIES)])
    degree = graph.indptr.long().diff()
    bounds = torch.tensor(DEGREES)
    num_relations = 2 * graph.num_relations
    report = RankReport(
        empty_sums(num_relations), empty_sums(2 * len(CATEGORIES)), empty_sums(len(DEGREES) + 1)
    )
    for part in _shard(triples, num_relations // 2, shard, num_shards):
        counts = rank(part)
        relation = part.relation[part.row]
        report = RankReport(
            report.relation + rank_sums(counts, relation, num_relations),
            report.category + rank_sums(counts, category[relation], 2 * len(CATEGORIES)),
            report.degree
            + rank_sums(counts, torch.bucketize(degree[part.tail], bounds), len(DEGREES) + 1),
        )
    return report


def rank_queries(triples: Triples, num_relations: int) -> Iterator[RankQueries]:
    """Both sides' distinct queries, some blocks at a time."""
    return _shard(triples, num_relations, 0, 1)


def _shard(
    triples: Triples, num_relations: int, shard: int, num_shards: int
) -> Iterator[RankQueries]:
    """Both sides' distinct queries in blocks, of which this shard gets every so-many-th."""
    head, relation, tail = add_reciprocal(triples, num_relations=num_relations).unbind(dim=1)
    question, row = torch.unique(torch.stack([head, relation], 1), dim=0, return_inverse=True)
    row, order = row.sort(stable=True)
    tail = tail[order]
    for start in range(0, len(question), BLOCKS_PER_PART * ROWS_PER_BLOCK * num_shards):
        first = start + shard * BLOCKS_PER_PART * ROWS_PER_BLOCK
        last = min(first + BLOCKS_PER_PART * ROWS_PER_BLOCK, len(question))
        if first >= last:
            continue
        low, high = torch.searchsorted(row, torch.tensor([first, last])).tolist()
        yield RankQueries(
            head=question[first:last, 0],
            relation=question[first:last, 1],
            row=row[low:high] - first,
            tail=tail[low:high],
        )


def model_ranker(
    vectors: GraphVectors, decoder: Decoder, known: KnownFacts, *, memory: int
) -> Ranker:
    """Ranks by a decoder's scores; ``memory`` (bytes) bounds the scores kept at a time.

    If there is less, fewer blocks are scored at once from then on: the numbers are the same.
    """
    thrift = Thrift(memory)

    @torch.no_grad()
    def rank(queries: RankQueries) -> RankCounts:
        return thrift(lambda memory: within(queries, memory))

    def within(queries: RankQueries, memory: int) -> RankCounts:
        device = vectors.device
        question = decoder.query(vectors.rows(queries.head), vectors.of(queries.relation))
        indptr, tails = known.tails(queries.head, queries.relation)
        better, tied = rank_all(
            question,
            vectors.entity,
            queries.tail.to(device),
            indptr.to(device),
            tails.to(device),
            query_row=queries.row.to(device),
            score_block=decoder.compare,
            rows_per_block=ROWS_PER_BLOCK,
            memory=memory,
        )
        return RankCounts(better=better.cpu(), tied=tied.cpu())

    return rank


class Thrift:
    """Does work in portions, and from then on in half as large ones if memory runs out.

    Args:
        most: the size of a portion, in bytes or in questions.
        least: where it is no longer tried.
    """

    def __init__(self, most: int, *, least: int = 1 << 20) -> None:
        self.most, self.least = most, least

    def __call__(self, work: Callable[[int], Done]) -> Done:
        while True:
            try:
                return work(self.most)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or self.most <= self.least:
                    raise
            self.most = max(self.least, self.most // 2)


def relation_category(graph: Adjacency) -> Int64[Tensor, " relation"]:
    """Position in ``CATEGORIES`` of each relation, from the train triples.

    A side is N where one partner has more than 1.5 on average (Bordes et al. 2013).
    """
    num_relations = graph.num_relations
    edges = torch.bincount(graph.relation.long(), minlength=2 * num_relations)
    first = TrainQueries(graph).start[:-1]
    targets = torch.bincount(graph.relation[first].long(), minlength=2 * num_relations)
    # Edges of relation r per distinct tail: how many heads a tail has.
    heads_per_tail = edges / targets.clamp(min=1)
    many_heads = heads_per_tail > 1.5
    many_heads, many_tails = torch.split(many_heads, num_relations)
    category: Tensor = 2 * many_heads.long() + many_tails.long()
    return category


def _sided(names: Sequence[str]) -> list[str]:
    return [f"{name} {side}" for side in ("tail", "head") for name in names]
