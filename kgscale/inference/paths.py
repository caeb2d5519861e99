"""Answers of a path-based reasoner: question by question, each from a subgraph of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.graph.known import KnownFacts
from kgscale.graph.store import GraphStore
from kgscale.inference.evaluate import RankQueries, Thrift
from kgscale.inference.predict import Predictor
from kgscale.kernels.ego import EgoSample, locate
from kgscale.metrics.ranking import RankCounts, empty_sums, rank_sums, summarize
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter, known_places
from kgscale.types import Ids

QUERIES: Final = 64
"""Questions whose subgraphs are looked at together."""
TAILS: Final = 1 << 16
"""Entities whose profiles are looked at together."""
TARGETS: Final = 256
"""Answers that are compared with all entities together."""


class Scored(NamedTuple):
    """The subgraphs of some questions and the scores of their entities."""

    sample: EgoSample
    score: Float[Tensor, " entity"]
    far: Float[Tensor, "query all"] | None
    """What all entities would score if no path reached them, of a model that can tell."""

    @property
    def place(self) -> tuple[Int64[Tensor, " entity"], Int64[Tensor, " entity"]]:
        """Query and entity of each score."""
        return self.sample.owner.long(), self.sample.entity_id

    def everywhere(self) -> Float[Tensor, "query all"]:
        """The scores of all entities, if the model can tell."""
        assert self.far is not None
        return self.far.index_put(self.place, self.score)


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
        reached, model = self.cutter.sample(head, relation), self.reasoner
        batch = self.cutter.batch(reached, self.cutter.queries(reached, relation))
        training = model.training
        model.eval()
        score = model(batch.to(model.question.device)).cpu()
        far = self._far(head, relation)
        model.train(training)
        check_numbers(score)
        if far is not None:
            check_numbers(far)
        return Scored(reached.sample, score, far)

    def _far(self, head: Ids, relation: Ids) -> Float[Tensor, "query entity"] | None:
        model, profiles = self.reasoner, self.cutter.profiles
        if model.profile is None or profiles is None:
            return None
        device = model.question.device
        asked = model.profile.ask(relation.to(device), profiles.of(head).to(device))
        unreached = model.unreached(relation.to(device))
        return (asked @ self._tails.T + unreached[:, None]).cpu()

    @cached_property
    def _tails(self) -> Float[Tensor, "entity dim"]:
        """Of all entities, by weights that stay as they are."""
        profiles, profile = self.cutter.profiles, self.reasoner.profile
        assert profile is not None
        assert profiles is not None
        everyone = torch.arange(len(profiles.indptr) - 1)
        device = self.reasoner.question.device
        return torch.cat(
            [profile.tails(profiles.of(part).to(device)) for part in torch.split(everyone, TAILS)]
        )


def check_numbers(score: Tensor) -> None:
    """Refuse what compares with nothing, and would so come first.

    Raises:
        ScoreError: one is no number.
    """
    if score.isnan().any():
        raise ScoreError("NaN among the scores: the model has diverged; lower optimizer.lr")


Rest = Callable[[Ids, Ids], Float[Tensor, "query entity"]]
"""Scores of all entities by another model, from heads and relations."""


class _Ranked(NamedTuple):
    """Of the true tails of some questions."""

    counts: RankCounts
    inside: Bool[Tensor, " target"]
    """Whether the subgraph held it."""
    alone: Float[Tensor, "group column"]
    """Sums of the metrics without another model's scores."""


class PathRanker:
    """Ranks by a reasoner's scores. If it doesn't know those outside the subgraph, these come after
    all inside, unless another model's scores are blended in. If memory runs out, fewer questions
    are looked at together from then on.

    Args:
        scorer: of the entities near a head.
        known: all facts, left out of the rivals of a true tail.
        num_entities: of the graph.
        rest: puts those outside in order, after all inside.
        blend: weight of the scores of ``rest`` that is added to the reasoner's instead; what it
            doesn't know is to the reasoner as good as the mean of what it sees.
    """

    def __init__(
        self,
        scorer: PathScorer,
        known: KnownFacts,
        *,
        num_entities: int,
        rest: Rest | None = None,
        blend: float = 0.0,
    ) -> None:
        self.scorer, self.known, self.num_entities = scorer, known, num_entities
        self.rest, self.blend = rest, blend
        self._thrift = Thrift(QUERIES, least=1)
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

    def report(self) -> dict[str, Any]:
        """The coverage so far, and what would be without ``rest`` if there is one."""
        told: dict[str, Any] = {"coverage": self.coverage}
        return told if self.rest is None else {**told, "without_rest": self.alone}

    @property
    def coverage(self) -> float:
        """Share of the true tails so far that their subgraphs held."""
        return self._inside / max(1, self._asked)

    def __call__(self, queries: RankQueries) -> RankCounts:
        found = self._thrift(lambda count: [self._ranked(part) for part in parts(queries, count)])
        for part in found:
            self._asked += len(part.inside)
            self._inside += int(part.inside.sum())
            self._alone += part.alone
        return RankCounts(
            better=torch.cat([part.counts.better for part in found]),
            tied=torch.cat([part.counts.tied for part in found]),
        )

    def _ranked(self, queries: RankQueries) -> _Ranked:
        found = self.scorer(queries.head, queries.relation)
        near = _Near(found.sample, queries, self.known)
        inside = near.place >= 0
        # Beyond the subgraph all score the same, for a model that doesn't know them.
        near_first = near.counts(found.score, self.rivals(queries) - near.rivals)
        counts = near_first if found.far is None else self._counts(found.everywhere(), queries)
        alone = rank_sums(counts, torch.zeros_like(queries.row), 1)
        if self.rest is None:
            return _Ranked(counts, inside, alone)
        other = self.rest(queries.head, queries.relation)
        check_numbers(other)
        if self.blend:
            counts = self._counts(_blended(found, self.blend * other), queries)
            return _Ranked(counts, inside, alone)
        above, same = self._beyond(other, queries, near, ~inside)
        near_first.better[~inside] += above
        near_first.tied[~inside] = same
        return _Ranked(near_first, inside, alone)

    def _counts(self, score: Float[Tensor, "query entity"], queries: RankQueries) -> RankCounts:
        """By scores of all entities, which are changed."""
        true = score[queries.row, queries.tail][:, None]
        indptr, tails = self.known.tails(queries.head, queries.relation)
        score[torch.arange(len(score)).repeat_interleave(indptr.diff()), tails] = -torch.inf
        rows, trues = torch.split(queries.row, TARGETS), torch.split(true, TARGETS)
        parts = list(zip(rows, trues, strict=True))
        return RankCounts(
            better=torch.cat([(score[row] > one).sum(dim=1) for row, one in parts]),
            tied=torch.cat([(score[row] == one).sum(dim=1) for row, one in parts]),
        )

    def _beyond(
        self,
        score: Float[Tensor, "query entity"],
        queries: RankQueries,
        near: _Near,
        which: Bool[Tensor, " target"],
    ) -> tuple[Int64[Tensor, " outside"], Int64[Tensor, " outside"]]:
        """How many entities beyond the subgraph the other model puts above a tail, or beside it."""
        seen = torch.zeros_like(score, dtype=torch.bool)
        seen[near.owner, near.sample.entity_id] = True
        indptr, tails = self.known.tails(queries.head, queries.relation)
        seen[torch.arange(len(queries.head)).repeat_interleave(indptr.diff()), tails] = True
        row, tail = queries.row[which], queries.tail[which]
        own = score[row, tail][:, None]
        rival = ~seen[row]
        above = (score[row] > own) & rival
        same = (score[row] == own) & rival
        return above.sum(dim=1), same.sum(dim=1)


def _blended(found: Scored, other: Float[Tensor, "query all"]) -> Float[Tensor, "query all"]:
    """The sum of both, where what the reasoner doesn't know counts as the mean of what it does."""
    far = found.far
    if far is None:
        owner = found.place[0]
        mean = torch.zeros(len(other)).index_add_(0, owner, found.score) / torch.bincount(owner)
        far = mean[:, None].expand_as(other)
    return found._replace(far=far).everywhere() + other


class _Near:
    """What the subgraphs of some questions hold of their true tails and the rivals of these."""

    def __init__(self, sample: EgoSample, queries: RankQueries, known: KnownFacts) -> None:
        self.sample, self.queries = sample, queries
        self.owner = sample.owner.long()
        self.place = locate(sample.owner, sample.entity_id, queries.row, queries.tail)
        self.rival = torch.ones(len(self.owner), dtype=torch.bool)
        self.rival[
            known_places(sample.owner, sample.entity_id, known, queries.head, queries.relation)
        ] = False
        number = len(queries.head)
        self.rivals = torch.bincount(self.owner[self.rival], minlength=number)[queries.row]
        self.inside = self.place >= 0
        self.target, self.entity = _pairs(queries.row[self.inside], _rows(self.owner, number))

    def counts(
        self, score: Float[Tensor, " entity"], beyond: Int64[Tensor, " target"]
    ) -> RankCounts:
        """By these scores; ``beyond`` rivals outside tie with each tail outside."""
        better, tied = self.rivals.clone(), beyond.clone()
        own, rival = score[self.place[self.inside]], self.rival[self.entity]
        number = len(own)
        for counts, compare in ((better, torch.gt), (tied, torch.eq)):
            met = compare(score[self.entity], own[self.target]) & rival
            counts[self.inside] = torch.bincount(self.target[met], minlength=number)
        return RankCounts(better=better, tied=tied)


def parts(queries: RankQueries, count: int = QUERIES) -> Iterator[RankQueries]:
    """``count`` questions at a time, with their targets."""
    for start in range(0, len(queries.head), count):
        stop = min(start + count, len(queries.head))
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
    """Answers of a reasoner; what it doesn't know, outside its subgraphs, has no probability."""

    def __init__(self, scorer: PathScorer, store: GraphStore, *, memory: int = 1 << 28) -> None:
        super().__init__(store, memory=memory)
        self.scorer = scorer

    def probabilities(
        self, entity: Int64[Tensor, " query"], relation: Int64[Tensor, " query"]
    ) -> Float[Tensor, "query entity"]:
        """Softmax over the entities of the subgraph or, if the model knows them, all."""
        found = torch.zeros(len(entity), self.store.num_entities)
        for part in torch.split(torch.arange(len(entity)), QUERIES):
            scored = self.scorer(entity[part], relation[part])
            if scored.far is None:
                nothing = torch.full_like(found[part], -torch.inf)
                scored = scored._replace(far=nothing)
            found[part] = scored.everywhere().softmax(dim=1)
        return found
