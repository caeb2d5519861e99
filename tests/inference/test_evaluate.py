"""Evaluation against a ranker that knows no tricks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.graph.known import KnownFacts
from kgscale.inference import evaluate as module
from kgscale.inference import popularity
from kgscale.inference.embed import GraphVectors
from kgscale.inference.evaluate import RankReport, evaluate, model_ranker, relation_category
from kgscale.inference.popularity import popularity_ranker
from kgscale.models.decoders import ComplEx, Decoder, DistMult
from kgscale.types import Triples
from tests.graphs import adjacency, graphs, random_triples

Graph = tuple[Triples, int, int]


def split(graph: Graph) -> tuple[Triples, Triples]:
    """The last third of the triples are asked; the others are the graph."""
    triples = graph[0]
    cut = max(1, 2 * len(triples) // 3)
    return triples[:cut], triples[cut - 1 :]


def vectors(graph: Graph, seed: int) -> GraphVectors:
    """Whole numbers, so that ties are frequent and sums exact."""
    _, num_entities, num_relations = graph
    generator = torch.Generator().manual_seed(seed)
    entity = torch.randint(-1, 2, (num_entities, 4), generator=generator).float()
    relation = torch.randint(-1, 2, (2 * num_relations, 4), generator=generator).float()
    return GraphVectors(entity=entity, relation=relation)


def brute_force(
    graph: Graph, asked: Triples, score: dict[tuple[int, int, int], float]
) -> list[tuple[float, int]]:
    """(realistic rank, relation) of every query, from the definition."""
    triples, num_entities, num_relations = graph
    known = {tuple(row) for row in triples.tolist()}
    known |= {(t, r + num_relations, h) for h, r, t in known}
    ranks = []
    for h, r, t in asked.tolist():
        for head, relation, tail in ((h, r, t), (t, r + num_relations, h)):
            own = score[head, relation, tail]
            rivals = [
                score[head, relation, other]
                for other in range(num_entities)
                if other != tail and (head, relation, other) not in known
            ]
            better = sum(value > own for value in rivals)
            tied = sum(value == own for value in rivals)
            ranks.append((1 + better + tied / 2, relation))
    return ranks


def scores_of(graph: Graph, found: GraphVectors, decoder: Decoder) -> dict[tuple, float]:
    _, num_entities, num_relations = graph
    return {
        (h, r, t): float(decoder(found.entity[h], found.relation[r], found.entity[t]))
        for h in range(num_entities)
        for r in range(2 * num_relations)
        for t in range(num_entities)
    }


@given(graphs(), st.integers(0, 9), st.sampled_from([0, 1 << 12, 1 << 28]))
def test_evaluation_equals_brute_force(graph: Graph, seed: int, memory: int) -> None:
    triples, num_entities, num_relations = graph
    train, asked = split(graph)
    sizes = {"num_entities": num_entities, "num_relations": num_relations}
    known = KnownFacts(adjacency(triples, **sizes))
    for decoder in (DistMult(dim=4), ComplEx(dim=4)):
        found = vectors(graph, seed)
        ranker = model_ranker(found, decoder, known, memory=memory)
        report = evaluate(ranker, asked, adjacency(train, **sizes))
        expected = brute_force(graph, asked, scores_of(graph, found, decoder))
        check(report, expected)


@given(graphs())
def test_popularity_counts_train_triples(graph: Graph) -> None:
    triples, num_entities, num_relations = graph
    train, asked = split(graph)
    sizes = {"num_entities": num_entities, "num_relations": num_relations}
    count: dict[tuple[int, int], int] = {}
    for h, r, t in train.tolist():
        count[r, t] = count.get((r, t), 0) + 1
        count[r + num_relations, h] = count.get((r + num_relations, h), 0) + 1
    score = {
        (h, r, t): float(count.get((r, t), 0))
        for h in range(num_entities)
        for r in range(2 * num_relations)
        for t in range(num_entities)
    }
    known = KnownFacts(adjacency(triples, **sizes))
    ranker = popularity_ranker(adjacency(train, **sizes), known, memory=200)
    report = evaluate(ranker, asked, adjacency(train, **sizes))
    check(report, brute_force(graph, asked, score))


def check(report: RankReport, expected: list[tuple[float, int]]) -> None:
    overall = report.overall()
    count = len(expected)
    assert overall["queries"] == count
    assert abs(overall["mrr"] - sum(1 / rank for rank, _ in expected) / count) < 1e-12
    for k in (1, 3, 10):
        assert overall[f"hits@{k}"] == sum(rank <= k for rank, _ in expected) / count
    for relation, row in enumerate(report.relation):
        assert row[0] == sum(kind == relation for _, kind in expected)
    assert overall["mrr_pessimistic"] <= overall["mrr"] <= overall["mrr_optimistic"]


@given(graphs(), st.integers(1, 4))
def test_shards_add_up_exactly(graph: Graph, num_shards: int) -> None:
    triples, num_entities, num_relations = graph
    train, asked = split(graph)
    sizes = {"num_entities": num_entities, "num_relations": num_relations}
    known = KnownFacts(adjacency(triples, **sizes))
    graph_edges = adjacency(train, **sizes)
    ranker = model_ranker(vectors(graph, 0), DistMult(dim=4), known, memory=1 << 20)
    whole = evaluate(ranker, asked, graph_edges)
    parts = [
        evaluate(ranker, asked, graph_edges, shard=shard, num_shards=num_shards)
        for shard in range(num_shards)
    ]
    assert torch.equal(sum(part.relation[:, 0] for part in parts), whole.relation[:, 0])
    torch.testing.assert_close(sum(part.relation for part in parts), whole.relation)


def test_categories_by_hand() -> None:
    # Relation 0 sends two heads to one tail: many heads (N-1). Relation 1 is one to one.
    triples = torch.tensor([[0, 0, 2], [1, 0, 2], [0, 1, 1]])
    category = relation_category(adjacency(triples, num_entities=3, num_relations=2))
    assert category.tolist() == [2, 0]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_less_memory_than_asked_for(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer blocks at once from then on, and the same numbers."""
    triples = random_triples(900, num_entities=60, num_relations=5)
    sizes = {"num_entities": 60, "num_relations": 5}
    graph, known = adjacency(triples, **sizes), KnownFacts(adjacency(triples, **sizes))
    found = vectors((triples, 60, 5), 0)

    def report() -> RankReport:
        return evaluate(model_ranker(found, ComplEx(dim=4), known, memory=1 << 28), triples, graph)

    whole, original, tried = report(), module.rank_all, []

    def scarce(*given: Any, memory: int, **more: Any) -> Any:
        tried.append(memory)
        if memory > 1 << 25:
            raise error
        return original(*given, memory=memory, **more)

    monkeypatch.setattr(module, "rank_all", scarce)
    assert torch.equal(report().relation, whole.relation)
    assert tried[:4] == [1 << 28, 1 << 27, 1 << 26, 1 << 25]
    assert set(tried[4:]) <= {1 << 25}


def test_less_memory_for_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    triples = random_triples(900, num_entities=60, num_relations=5)
    graph = adjacency(triples, num_entities=60, num_relations=5)

    def report() -> RankReport:
        ranker = popularity_ranker(graph, KnownFacts(graph), memory=64 * 4 * 60)
        return evaluate(ranker, triples, graph)

    whole, original, tried = report(), popularity.count_better, list[int]()

    def scarce(scores: torch.Tensor, *given: Any) -> Any:
        tried.append(len(scores))
        if len(scores) > 8:
            raise MemoryError
        return original(scores, *given)

    monkeypatch.setattr(popularity, "count_better", scarce)
    assert torch.equal(report().relation, whole.relation)
    assert tried[:4] == [64, 32, 16, 8]
    assert set(tried[4:]) <= set(range(1, 9))


@pytest.mark.parametrize(
    ("error", "tries"), [(MemoryError(), 9), (RuntimeError("another"), 1), (ValueError(), 1)]
)
def test_no_memory_at_all_and_other_errors(error: Exception, tries: int) -> None:
    tried = []

    def work(memory: int) -> None:
        tried.append(memory)
        raise error

    with pytest.raises(type(error)):
        module.Thrift(1 << 28)(work)
    assert len(tried) == tries
