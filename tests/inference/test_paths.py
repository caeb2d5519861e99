"""Ranks of a reasoner's answers against counting them one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.graph.known import KnownFacts
from kgscale.inference.evaluate import RankQueries
from kgscale.inference.paths import PathRanker, PathScorer, Scored
from kgscale.metrics.ranking import rank_sums, summarize
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter
from tests.graphs import adjacency, random_triples

ENTITIES, RELATIONS = 30, 3
TRIPLES = random_triples(80, num_entities=ENTITIES, num_relations=RELATIONS)
GRAPH = adjacency(TRIPLES, num_entities=ENTITIES, num_relations=RELATIONS)


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize(("with_rest", "blend"), [(False, 0.0), (True, 0.0), (True, 0.5)])
def test_ranks_equal_counting(with_rest: bool, blend: float, profile: bool) -> None:
    """What another model orders comes after what the subgraph holds, or is added to what the model
    knows of it, which is its mean if it knows nothing."""
    generator = torch.Generator().manual_seed(0)
    model = PathReasoner(
        num_relations=RELATIONS, dim=4, num_layers=2, profile=profile, generator=generator
    )
    scorer = PathScorer(model, PathCutter(GRAPH, hops=2, size=8, profile=profile))
    known = KnownFacts(GRAPH)
    head, row = torch.unique(TRIPLES[:, :2], dim=0, return_inverse=True)
    row, order = row.sort(stable=True)
    queries = RankQueries(head=head[:, 0], relation=head[:, 1], row=row, tail=TRIPLES[order, 2])
    rest = torch.randn(ENTITIES, 2 * RELATIONS, ENTITIES, generator=generator)
    ranker = PathRanker(
        scorer,
        known,
        num_entities=ENTITIES,
        rest=(lambda head, relation: rest[head, relation]) if with_rest else None,
        blend=blend,
    )
    counts = ranker(queries)
    outside = 0
    for at, (query, tail) in enumerate(zip(row.tolist(), queries.tail.tolist(), strict=True)):
        sample, score, far = scorer(
            queries.head[query : query + 1], queries.relation[query : query + 1]
        )
        other = rest[int(queries.head[query]), int(queries.relation[query])]
        mean = score.mean() if far is None else far[0]
        score = score + blend * other[sample.entity_id]
        scores = dict(zip(sample.entity_id.tolist(), score.tolist(), strict=True))
        _, facts = known.tails(queries.head[query : query + 1], queries.relation[query : query + 1])
        rivals = [e for e in range(ENTITIES) if e not in facts.tolist()]
        beyond = mean + blend * other if blend else other * 1e-3 - 1e3
        if not with_rest:
            beyond = torch.full_like(beyond, -1e3) if far is None else far[0]
        mine = scores.get(tail, float(beyond[tail]))
        theirs = [scores.get(e, float(beyond[e])) for e in rivals]
        assert counts.better[at] == sum(value > mine + 1e-6 for value in theirs)
        assert counts.tied[at] == sum(abs(value - mine) <= 1e-6 for value in theirs)
        outside += tail not in scores
    assert 0 < outside < len(row)
    assert ranker.coverage == pytest.approx(1 - outside / len(row))
    if with_rest:
        plain = PathRanker(scorer, known, num_entities=ENTITIES)
        expected = summarize(rank_sums(plain(queries), torch.zeros_like(row), 1)[0])
        assert ranker.alone == pytest.approx(expected)


@pytest.mark.parametrize("profile", [False, True])
def test_less_memory_than_asked_for(profile: bool) -> None:
    """Fewer questions together from then on, and the same numbers: none is counted twice."""
    generator = torch.Generator().manual_seed(0)
    model = PathReasoner(
        num_relations=RELATIONS, dim=4, num_layers=2, profile=profile, generator=generator
    )
    cutter = PathCutter(GRAPH, hops=2, size=8, profile=profile)
    head, row = torch.unique(TRIPLES[:, :2], dim=0, return_inverse=True)
    row, order = row.sort(stable=True)
    queries = RankQueries(head=head[:, 0], relation=head[:, 1], row=row, tail=TRIPLES[order, 2])
    tried: list[int] = []

    class Scarce(PathScorer):
        def __call__(self, head: Tensor, relation: Tensor) -> Scored:
            tried.append(len(head))
            if len(tried) > 1 and len(head) > 8:
                raise MemoryError
            return super().__call__(head, relation)

    plenty, little = (
        PathRanker(kind(model, cutter), KnownFacts(GRAPH), num_entities=ENTITIES)
        for kind in (PathScorer, Scarce)
    )
    little._thrift.most = 32
    expected, found = plenty(queries), little(queries)
    assert tried[:5] == [32, len(head) - 32, 16, 8, 8]
    assert found.better.equal(expected.better)
    assert found.tied.equal(expected.tied)
    assert little.coverage == plenty.coverage
    assert little.alone == pytest.approx(plenty.alone)


@pytest.mark.parametrize("profile", [False, True])
def test_a_model_that_has_diverged_has_no_rank(profile: bool) -> None:
    """NaN is above nothing and equal to nothing: counted, it would come first."""
    model = PathReasoner(num_relations=RELATIONS, dim=4, num_layers=2, profile=profile)
    ranker = PathRanker(
        PathScorer(model, PathCutter(GRAPH, hops=2, size=8, profile=profile)),
        KnownFacts(GRAPH),
        num_entities=ENTITIES,
    )
    head, relation, tail = TRIPLES[:1].T
    queries = RankQueries(head=head, relation=relation, row=torch.zeros(1).long(), tail=tail)
    ranker(queries)
    with torch.no_grad():
        model.last.bias.fill_(torch.nan)
    with pytest.raises(ScoreError, match=r"lower optimizer\.lr"):
        ranker(queries)


def test_another_model_that_has_diverged_orders_nothing() -> None:
    model = PathReasoner(num_relations=RELATIONS, dim=4, num_layers=2)
    ranker = PathRanker(
        PathScorer(model, PathCutter(GRAPH, hops=2, size=8)),
        KnownFacts(GRAPH),
        num_entities=ENTITIES,
        rest=lambda head, relation: torch.full((len(head), ENTITIES), torch.nan),
    )
    head, relation, tail = TRIPLES[:1].T
    queries = RankQueries(head=head, relation=relation, row=torch.zeros(1).long(), tail=tail)
    with pytest.raises(ScoreError):
        ranker(queries)
