"""Laws of the weights by which walks go to answers."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.errors import ConfigError
from kgscale.kernels.ego import HEAVIEST, HiddenRows, ego_subgraphs, locate
from kgscale.sampling.ways import even_ways, flows, learn_ways
from kgscale.types import Triples
from tests.graphs import adjacency, graphs


@given(graphs(), st.integers(1, 3), st.sampled_from([0.85, 0.5]), st.data())
def test_flows_count_walks(
    graph: tuple[Triples, int, int], steps: int, go: float, data: st.DataObject
) -> None:
    """Against all walks, one by one."""
    triples, entities, relations = graph
    arrays = adjacency(triples, num_entities=entities, num_relations=relations)
    seeds = torch.arange(min(2, entities))
    goals = [data.draw(st.integers(0, entities - 1)) for _ in seeds]
    sample = ego_subgraphs(
        arrays.indptr, arrays.source, arrays.relation, seeds, size=5, method="ppr"
    )
    answer = locate(sample.owner, sample.entity_id, seeds, torch.tensor(goals))
    crossed, arrived = flows(sample, answer, steps=steps, go=go)
    bounds, source = sample.indptr.tolist(), sample.source.tolist()
    rows = [range(*ends) for ends in itertools.pairwise(bounds)]

    def walks(start: int, length: int) -> list[tuple[list[int], float]]:
        """The edges of all walks of at most so many, each with the chance that it goes so far."""
        found, last = [([], 1.0)], [([], 1.0)]
        for _ in range(length):
            last = [
                ([*path, edge], chance * go / len(row))
                for path, chance in last
                for row in [rows[source[path[-1]] if path else start]]
                for edge in row
            ]
            found += last
        return found

    expected_crossed, expected_arrived = [0.0] * len(source), [0.0] * len(source)
    for seed in seeds.tolist():
        for path, chance in walks(seed, steps):
            if path:
                end = source[path[-1]]
                expected_crossed[path[-1]] += chance
                for more, further in walks(end, steps - 1):
                    met = (source[more[-1]] if more else end) == answer[seed].item()
                    expected_arrived[path[-1]] += chance * further * met
    assert crossed.tolist() == pytest.approx(expected_crossed)
    assert arrived.tolist() == pytest.approx(expected_arrived)


def test_the_way_to_answers_weighs_most() -> None:
    """Relation 0 leads where 1 leads, and 2 elsewhere."""
    triples = torch.tensor(
        [[i, kind, i + 20 * (1 + kind // 2)] for i in range(20) for kind in range(3)]
    )
    graph = adjacency(triples, num_entities=60, num_relations=3)

    def ask(edge: torch.Tensor) -> tuple[Triples, HiddenRows]:
        row = torch.searchsorted(graph.indptr.long(), edge, right=True) - 1
        relation = (graph.relation[edge].long() + 3) % 6
        asked = torch.stack([row, relation, graph.source[edge].long()], dim=1)
        return asked, HiddenRows(torch.arange(len(edge) + 1), edge)

    ways = learn_ways(graph, ask, restart=0.15, tolerance=1e-6)
    # A walk from the head goes along in-edges, which are of the inverse relations there.
    assert ways[0, 4] == HEAVIEST
    assert ways[0, 5] < HEAVIEST / 2, "there and back"
    assert ways.shape == (6, 6)
    assert int(ways.min()) >= 1


def test_too_many_relations_are_refused() -> None:
    graph = adjacency(torch.tensor([[0, 2999, 1]]), num_entities=2, num_relations=3000)
    with pytest.raises(ConfigError, match=r"strategy\.aware=true.*6,000 in both directions"):
        even_ways(graph)
