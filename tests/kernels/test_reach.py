"""Laws of the order by hops, against a plain breadth-first search."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.kernels.ego import EgoSample, ego_subgraphs
from kgscale.kernels.reach import reach, reference
from tests.graphs import adjacency, random_triples
from tests.kernels.strategies import SEEDS

RELATIONS = 3


def sample(seed: int, entities: int, triples: int, size: int) -> EgoSample:
    """Subgraphs of four seeds, one of which comes twice."""
    torch.manual_seed(seed)
    rows = random_triples(triples, num_entities=entities, num_relations=RELATIONS, seed=seed)
    graph = adjacency(rows, num_entities=entities, num_relations=RELATIONS)
    seeds = torch.randint(entities, (4,))
    seeds[-1] = seeds[0]
    arrays = (graph.indptr, graph.source, graph.relation)
    return ego_subgraphs(*arrays, seeds, size=size, method="ppr")


@given(SEEDS, st.integers(1, 20), st.integers(0, 40), st.integers(1, 12), st.integers(1, 4))
def test_equals_the_reference(
    seed: int, entities: int, triples: int, size: int, steps: int
) -> None:
    given = sample(seed, entities, triples, size)
    found = reach(given, seeds=4, steps=steps, relations=2 * RELATIONS)
    hop, edges = reference.reach(given, seeds=4, steps=steps, relations=2 * RELATIONS)
    kept = found.sample
    # An entity is known by its seed and its id.
    key = list(zip(given.owner.tolist(), given.entity_id.tolist(), strict=True))
    ours = list(zip(kept.owner.tolist(), kept.entity_id.tolist(), strict=True))
    assert len(set(ours)) == len(ours)
    assert ours[:4] == key[:4]
    assert found.size == tuple(sum(h <= k for h in hop.values()) for k in range(steps + 1))
    for entity, hops in hop.items():
        place = ours.index(key[entity])
        assert (found.size[hops - 1] if hops else 0) <= place < found.size[hops]
    for number, (step, expected) in enumerate(zip(found.steps, edges, strict=True)):
        bounds = step.indptr.tolist()
        assert len(bounds) == found.size[number + 1] + 1
        assert bounds[-1] == len(step.source) == sum(map(len, expected.values()))
        for row, entity in enumerate(ours[: len(bounds) - 1]):
            part = slice(bounds[row], bounds[row + 1])
            names = [ours[source] for source in step.source[part].tolist()]
            mine = list(zip(names, step.relation[part].tolist(), strict=True))
            theirs = expected.get(key.index(entity), [])
            assert mine == [(key[source], kind) for source, kind, _ in theirs]


@given(SEEDS, st.integers(2, 20), st.integers(1, 40), st.integers(1, 4))
def test_all_that_joins_what_is_kept_is_kept(
    seed: int, entities: int, triples: int, steps: int
) -> None:
    given = sample(seed, entities, triples, 10)
    kept = reach(given, seeds=4, steps=steps, relations=2 * RELATIONS).sample

    def rows(some: EgoSample) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
        bounds = some.indptr.tolist()
        return {
            (int(some.owner[i]), int(some.entity_id[i])): [
                (int(some.entity_id[some.source[e]]), int(some.relation[e]), int(some.edge[e]))
                for e in range(bounds[i], bounds[i + 1])
            ]
            for i in range(len(bounds) - 1)
        }

    before, after = rows(given), rows(kept)
    assert after == {
        key: [edge for edge in before[key] if (key[0], edge[0]) in after] for key in after
    }


def test_far_entities_are_left_out() -> None:
    """0 - 1 - 2 - 3 in a row, from 0 and from 3."""
    rows = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3]])
    graph = adjacency(rows, num_entities=4, num_relations=1)
    given = ego_subgraphs(
        graph.indptr, graph.source, graph.relation, torch.tensor([0, 3]), size=4, method="ppr"
    )
    found = reach(given, seeds=2, steps=2, relations=2)
    assert found.size == (2, 4, 6)
    assert found.sample.entity_id.tolist() == [0, 3, 1, 2, 2, 1]
    assert [len(step.source) for step in found.steps] == [2, 6]
    with pytest.raises(ValueError, match="steps must be at least 1"):
        reach(given, seeds=2, steps=0, relations=2)
