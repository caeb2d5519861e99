"""Paths behind an answer: found where they are planted, and their weights what they say."""

from __future__ import annotations

import torch

from kgscale.inference.explain_paths import PathStep, best_paths
from kgscale.inference.paths import PathScorer
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
