"""Paths behind an answer: found where they are planted, and their weights what they say."""

from __future__ import annotations

import itertools

import pytest
import torch

from kgscale.inference.paths import PathScorer
from kgscale.inference.reasons import traced
from kgscale.inference.reasons.traced import best_paths
from kgscale.inference.reasons.ways import PathStep
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter
from tests.graphs import adjacency, random_triples

TRIPLES = random_triples(50, num_entities=12, num_relations=2)


def scorer(triples: torch.Tensor, layers: int = 2) -> PathScorer:
    generator = torch.Generator().manual_seed(1)
    model = PathReasoner(num_relations=2, dim=4, num_layers=layers, generator=generator).eval()
    return PathScorer(
        model,
        PathCutter(adjacency(triples, num_entities=12, num_relations=2), hops=layers, size=12),
    )


def test_the_only_way_is_the_path() -> None:
    """0 -r-> 3 <-s- 5 is all that joins 0 and 5."""
    triples = torch.tensor([[0, 0, 3], [5, 1, 3], [0, 1, 7], [7, 0, 8]])
    (path,) = best_paths(scorer(triples), head=0, relation=1, tail=5, count=1)
    # 3 -> 5 goes against 5 -s-> 3
    assert path.steps == (PathStep(0, 0, 3), PathStep(3, 3, 5))
    assert best_paths(scorer(triples), head=0, relation=1, tail=11, count=1) == []


def test_paths_are_ways_from_head_to_answer_and_ordered() -> None:
    edges = {(h, r, t) for h, r, t in TRIPLES.tolist()}
    edges |= {(t, r + 2, h) for h, r, t in TRIPLES.tolist()}
    found = best_paths(scorer(TRIPLES, 3), head=0, relation=1, tail=5, count=5)
    assert len(found) == 5
    assert [path.weight for path in found] == sorted((p.weight for p in found), reverse=True)
    assert len({path.steps for path in found}) == 5
    for path in found:
        assert 1 <= len(path.steps) <= 3
        assert path.steps[0].source == 0
        assert len({0, *(step.target for step in path.steps)}) == len(path.steps) + 1
        assert path.steps[-1].target == 5
        for step in path.steps:
            assert (step.source, step.relation, step.target) in edges
        for one, following in zip(path.steps, path.steps[1:], strict=False):
            assert one.target == following.source


def test_an_edge_weighs_what_the_score_would_lose_without_its_message() -> None:
    """To first order: the score's slope when the message grows by a share, for every edge."""
    made = scorer(TRIPLES)
    head, relation = torch.tensor([0]), torch.tensor([1])
    reached = made.cutter.sample(head, relation)
    answer = int((reached.sample.entity_id == 5).nonzero())
    batch = made.cutter.batch(reached, made.cutter.queries(reached, relation))
    score, layers = made.reasoner.trace(batch)
    slopes = torch.autograd.grad(score[answer], [layer.message for layer in layers])
    weights = traced._weights(made, reached, 1, answer)
    assert any(weight.abs().max() > 1e-3 for _, weight in weights)
    for (step, weight), layer, slope in zip(weights, layers, slopes, strict=True):
        bounds = step.indptr.tolist()
        for row, (first, last) in enumerate(itertools.pairwise(bounds)):
            for edge in range(first, last):
                source, kind = int(step.source[edge]), int(step.relation[edge])
                message = layer.x[source] * layer.vector[kind]
                assert float(weight[edge]) == pytest.approx(
                    float((slope[row] @ message).detach()), abs=1e-6
                )


def test_a_path_weighs_the_sum_of_its_edges() -> None:
    triples = torch.tensor([[0, 0, 3], [5, 1, 3], [0, 1, 7], [7, 0, 8]])
    made = scorer(triples)
    (path,) = best_paths(made, head=0, relation=1, tail=5, count=1)
    reached = made.cutter.sample(torch.tensor([0]), torch.tensor([1]))
    ids = reached.sample.entity_id.tolist()
    weights = traced._weights(made, reached, 1, ids.index(5))
    total = 0.0
    for (step, weight), way in zip(weights, path.steps, strict=True):
        rows = torch.arange(len(step.indptr) - 1).repeat_interleave(step.indptr.diff())
        found = zip(step.source.tolist(), step.relation.tolist(), rows.tolist(), strict=True)
        wanted = (ids.index(way.source), way.relation, ids.index(way.target))
        (edge,) = (at for at, one in enumerate(found) if one == wanted)
        total += float(weight[edge])
    assert path.weight == pytest.approx(total)
