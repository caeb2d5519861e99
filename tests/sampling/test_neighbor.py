"""What only the neighbour strategy has; laws of all stand in ``test_strategies``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgscale.errors import ConfigError
from kgscale.sampling.base import share
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.types import Triples
from tests.graphs import adjacency, random_triples


def strategy(
    graph: tuple[Triples, int, int], fanout: list[int], **settings: object
) -> NeighborStrategy:
    triples, num_entities, num_relations = graph
    settings = {"batch_size": 3, "candidates": "all", **settings}
    return NeighborStrategy(
        graph=adjacency(triples, num_entities=num_entities, num_relations=num_relations),
        num_layers=len(fanout),
        fanout=fanout,
        **settings,  # type: ignore[arg-type]
    )


def test_sampled_candidates_stand_for_all_entities() -> None:
    graph = random_triples(300, num_entities=100, num_relations=2), 100, 2
    batch = strategy(graph, [], candidates=20).batch(0, 0, rank=0, world_size=1)
    weight = batch.query.candidate_weight
    assert weight is not None
    assert float(weight.sum()) == pytest.approx(100, rel=1e-5)


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_cover_everything_in_order(total: int, parts: int) -> None:
    bounds = [share(total, parts, index) for index in range(parts)]
    assert [stop for _, stop in bounds[:-1]] == [start for start, _ in bounds[1:]]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == total
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("fanout", [[0], [3, 3], [-2], []])
def test_a_fanout_that_does_not_fit_is_refused(fanout: list[int]) -> None:
    graph = random_triples(9, num_entities=5, num_relations=1)
    with pytest.raises(ConfigError, match=r"strategy\.fanout"):
        NeighborStrategy(
            graph=adjacency(graph, num_entities=5, num_relations=1),
            num_layers=1,
            fanout=fanout,
            batch_size=2,
        )


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"candidates": 0}, {"candidates": "x"}])
def test_senseless_settings_are_refused(settings: dict[str, object]) -> None:
    graph = random_triples(9, num_entities=5, num_relations=1), 5, 1
    with pytest.raises(ConfigError, match="strategy"):
        strategy(graph, [1], **settings)
