"""Answers of a path-based reasoner: question by question, each from a subgraph of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.evaluate import RankQueries
from kgscale.inference.predict import Predictor
from kgscale.kernels.ego import EgoSample, locate
from kgscale.metrics.ranking import RankCounts, empty_sums, rank_sums, summarize
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter, known_places
from kgscale.types import Ids

QUERIES: Final = 64
"""Questions whose subgraphs are looked at together."""


class Scored(NamedTuple):
    """The subgraphs of some questions and the scores of their entities."""

    sample: EgoSample
    score: Float[Tensor, " entity"]


class PathScorer:
    """Scores of the entities that lie near a question's head.

    Args:
        reasoner: the model.
        cutter: cuts the subgraphs from the edges that answers may use.
    """

    def __init__(self, reasoner: PathReasoner, cutter: PathCutter) -> None:
        self.reasoner, self.cutter = reasoner, cutter

    @torch.no_grad()
    def __call__(self, head: Ids, relation: Ids) -> Scored:
        reached, model = self.cutter.sample(head), self.reasoner
        batch = self.cutter.batch(reached, self.cutter.queries(reached, relation))
        training = model.training
        model.eval()
        score = model(batch.to(model.question.device)).cpu()
        model.train(training)
        return Scored(reached.sample, score)


Rest = Callable[[Ids, Ids], Float[Tensor, "query entity"]]
"""Scores of all entities by another model, from heads and relations."""


class PathRanker:
    """Ranks by a reasoner's scores; entities outside the subgraph come after all inside.

    Args:
        scorer: of the entities near a head.
        known: all facts, left out of the rivals of a true tail.
        num_entities: of the graph.
        rest: puts those outside in order, which are all tied without it.
    """

    def __init__(
        self,
        scorer: PathScorer,
        known: KnownFacts,
        *,
        num_entities: int,
        rest: Rest | None = None,
    ) -> None:
        self.scorer, self.known, self.num_entities = scorer, known, num_entities
        self.rest = rest
        self._asked = self._inside = 0
        self._alone = empty_sums(1)

    def rivals(self, queries: RankQueries) -> Int64[Tensor, " target"]:
        """How many entities are no known tails, for every true tail."""
        indptr, _ = self.known.tails(queries.head, queries.relation)
        return (self.num_entities - indptr.diff())[queries.row]

    @property
    def alone(self) -> dict[str, float]:
        """Metrics so far as they would be without ``rest``."""
        return summarize(self._alone[0])

    @property
    def coverage(self) -> float:
        """Share of the true tails so far that their subgraphs held."""
        return self._inside / max(1, self._asked)

    def __call__(self, queries: RankQueries) -> RankCounts:
        found = [self._ranked(part) for part in parts(queries)]
        return RankCounts(
            better=torch.cat([counts.better for counts in found]),
            tied=torch.cat([counts.tied for counts in found]),
        )

    def _ranked(self, queries: RankQueries) -> RankCounts:
        sample, score = self.scorer(queries.head, queries.relation)
        owner, number = sample.owner.long(), len(queries.head)
        place = locate(sample.owner, sample.entity_id, queries.row, queries.tail)
        rival = torch.ones_like(score, dtype=torch.bool)
        rival[known_places(sample, self.known, queries.head, queries.relation)] = False
        near = torch.bincount(owner[rival], minlength=number)[queries.row]
        # Beyond the subgraph all score the same.
        better, tied = near.clone(), self.rivals(queries) - near
        inside = place >= 0
        self._asked, self._inside = self._asked + len(place), self._inside + int(inside.sum())
        rows, own = _rows(owner, number), score[place[inside]]
        target, entity = _pairs(queries.row[inside], rows)
        entity_rival = rival[entity]
        above = (score[entity] > own[target]) & entity_rival
        same = (score[entity] == own[target]) & entity_rival
        better[inside] = torch.bincount(target[above], minlength=int(inside.sum()))
        tied[inside] = torch.bincount(target[same], minlength=int(inside.sum()))
        self._alone += rank_sums(
            RankCounts(better=better, tied=tied), torch.zeros_like(queries.row), 1
        )
        if self.rest is not None and not inside.all():
            seen = torch.zeros(number, self.num_entities, dtype=torch.bool)
            seen[owner, sample.entity_id] = True
            above, same = self._beyond(self.rest, queries, seen, ~inside)
            better[~inside], tied[~inside] = near[~inside] + above, same
        return RankCounts(better=better, tied=tied)

    def _beyond(
        self,
        rest: Rest,
        queries: RankQueries,
        seen: Bool[Tensor, "query entity"],
        which: Bool[Tensor, " target"],
    ) -> tuple[Int64[Tensor, " outside"], Int64[Tensor, " outside"]]:
        """How many entities beyond the subgraph the other model puts above a tail, or beside it."""
        indptr, tails = self.known.tails(queries.head, queries.relation)
        seen[torch.arange(len(queries.head)).repeat_interleave(indptr.diff()), tails] = True
        score = rest(queries.head, queries.relation)
        row, tail = queries.row[which], queries.tail[which]
        own = score[row, tail][:, None]
        rival = ~seen[row]
        above = (score[row] > own) & rival
        same = (score[row] == own) & rival
        return above.sum(dim=1), same.sum(dim=1)


def parts(queries: RankQueries) -> Iterator[RankQueries]:
    """``QUERIES`` questions at a time, with their targets."""
    for start in range(0, len(queries.head), QUERIES):
        stop = min(start + QUERIES, len(queries.head))
        low, high = torch.searchsorted(queries.row, torch.tensor([start, stop])).tolist()
        yield RankQueries(
            head=queries.head[start:stop],
            relation=queries.relation[start:stop],
            row=queries.row[low:high] - start,
            tail=queries.tail[low:high],
        )


class Rows(NamedTuple):
    """The entities of each query, as a run of an order."""

    order: Int64[Tensor, " entity"]
    start: Int64[Tensor, " query_plus_one"]


def _rows(owner: Int64[Tensor, " entity"], number: int) -> Rows:
    count = torch.bincount(owner, minlength=number)
    return Rows(owner.argsort(stable=True), torch.cat([count.new_zeros(1), count.cumsum(0)]))


def _pairs(
    row: Int64[Tensor, " target"], rows: Rows
) -> tuple[Int64[Tensor, " pair"], Int64[Tensor, " pair"]]:
    """Every target with every entity of its query."""
    first, count = rows.start[row], rows.start.diff()[row]
    target = torch.arange(len(row)).repeat_interleave(count)
    before = count.cumsum(0) - count
    at = torch.arange(len(target)) - before[target] + first[target]
    return target, rows.order[at]


class PathPredictor(Predictor):
    """Answers of a reasoner; what its subgraphs don't hold has no probability."""

    def __init__(self, scorer: PathScorer, store: GraphStore, *, memory: int = 1 << 28) -> None:
        super().__init__(store, memory=memory)
        self.scorer = scorer

    def probabilities(
        self, entity: Int64[Tensor, " query"], relation: Int64[Tensor, " query"]
    ) -> Float[Tensor, "query entity"]:
        """Softmax over the entities of the subgraph, zeros elsewhere."""
        found = torch.zeros(len(entity), self.store.num_entities)
        for part in torch.split(torch.arange(len(entity)), QUERIES):
            sample, score = self.scorer(entity[part], relation[part])
            row = part[sample.owner.long()]
            whole = torch.full_like(found[part], -torch.inf)
            whole[row - part[0], sample.entity_id] = score
            found[part] = whole.softmax(dim=1)
        return found
