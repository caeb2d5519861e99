"""Features of a few entities."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.graph.catalog import EntityType
from kgscale.graph.gather import StoredFeatures

TYPES = [
    EntityType(name=name, start=start, stop=stop)
    for name, start, stop in (("a", 0, 4), ("b", 4, 6), ("c", 6, 9))
]
MATRICES = {2: torch.randn(3, 2).half(), 0: torch.randn(4, 5)}


@given(ids=st.lists(st.integers(0, 8), max_size=9))
def test_rows_are_those_of_the_entities(ids: list[int]) -> None:
    entity_id = torch.tensor(ids, dtype=torch.int64)
    first, last = StoredFeatures(TYPES, MATRICES).gather(entity_id)
    assert [ids[at] for at in first.entity.tolist()] == [one for one in ids if one < 4]
    assert [ids[at] for at in last.entity.tolist()] == [one for one in ids if one >= 6]
    assert first.value.dtype == last.value.dtype == torch.float32
    assert torch.equal(first.value, MATRICES[0][entity_id[first.entity]])
    assert torch.equal(last.value, MATRICES[2][entity_id[last.entity] - 6].float())
