"""Laws of induced subgraphs; all tiers find the same edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.kernels.induce import induce, reference, torch_tier
from tests.kernels.strategies import SEEDS, adjacency


@given(SEEDS, st.integers(1, 30), st.integers(0, 400), st.integers(0, 30), st.integers(0, 30))
def test_tiers_find_the_same(seed: int, entities: int, edges: int, chosen: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    arrays = adjacency(entities, edges, 4, generator)
    entity = torch.randperm(entities, generator=generator)[:chosen]
    rows = min(rows, len(entity))
    found = induce(*arrays, entity, rows=rows)
    ours = [part.tolist() for part in found[1:]]
    vectorised = torch_tier.induce(*arrays, entity, rows)
    slow = reference.induce(*(part.tolist() for part in (*arrays, entity)), rows)
    assert ours == [part.tolist() for part in vectorised] == list(slow)


def test_the_whole_graph_is_induced_by_all() -> None:
    arrays = adjacency(20, 100, 3, torch.Generator().manual_seed(1))
    found = induce(*arrays, torch.arange(20))
    for part, whole in zip(found[1:4], arrays, strict=True):
        assert part.tolist() == whole.tolist()
    assert found.edge.tolist() == list(range(100))


def test_an_entity_that_comes_twice_is_refused_and_leaves_no_trace() -> None:
    arrays = adjacency(5, 20, 2, torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="3 comes again"):
        induce(*arrays, torch.tensor([3, 1, 3]))
    assert induce(*arrays, torch.tensor([], dtype=torch.int64)).source.tolist() == []
    assert induce(*arrays, torch.tensor([4])).entity_id.tolist() == [4]
