"""Merging lists hop by hop finds what a search from every entity finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.anchors import frequent_relations, nearest_anchors, reference
from kgscale.kernels.threads import num_threads, set_threads
from kgscale.types import Triples
from tests.graphs import adjacency, graphs, random_triples

Graph = tuple[Triples, int, int]


def chain() -> Adjacency:
    """0 - 1 - 2 - 3, and 4 alone."""
    triples = torch.tensor([[0, 0, 1], [2, 1, 1], [2, 0, 3]])
    return adjacency(triples, num_entities=5, num_relations=2)


def test_by_hand() -> None:
    graph = chain()
    anchor, hop = nearest_anchors(
        graph.indptr, graph.source, torch.tensor([3, 0]), nearest=2, hops=2
    )
    assert anchor.tolist() == [[1, 2], [1, 0], [0, 1], [0, 2], [2, 2]]
    assert hop.tolist() == [[0, 3], [1, 2], [1, 2], [0, 3], [3, 3]]
    kinds = frequent_relations(graph.indptr, graph.relation, count=2, num_relations=4)
    assert kinds.tolist() == [[2, 4], [0, 1], [2, 3], [0, 4], [4, 4]]


@given(graphs(), st.data())
def test_equal_to_a_search(graph: Graph, data: st.DataObject) -> None:
    triples, num_entities, num_relations = graph
    found = adjacency(triples, num_entities=num_entities, num_relations=num_relations)
    some = st.lists(st.integers(0, num_entities - 1), min_size=1, unique=True)
    anchors = torch.tensor(data.draw(some))
    nearest, hops = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    ours = nearest_anchors(found.indptr, found.source, anchors, nearest=nearest, hops=hops)
    slow = reference.nearest_anchors(
        found.indptr, found.source, anchors, nearest=nearest, hops=hops
    )
    for one, other in zip(ours, slow, strict=True):
        assert torch.equal(one, other)
    sizes = {"count": data.draw(st.integers(1, 4)), "num_relations": 2 * num_relations}
    assert torch.equal(
        frequent_relations(found.indptr, found.relation, **sizes),
        reference.frequent_relations(found.indptr, found.relation, **sizes),
    )


def test_threads_change_nothing() -> None:
    triples = random_triples(20_000, num_entities=6_000, num_relations=9)
    graph = adjacency(triples, num_entities=6_000, num_relations=9)
    anchors = torch.arange(0, 6_000, 60)
    before, found = num_threads(), []
    try:
        for threads in (1, 2):
            set_threads(threads)
            near = nearest_anchors(graph.indptr, graph.source, anchors, nearest=5, hops=4)
            kinds = frequent_relations(graph.indptr, graph.relation, count=3, num_relations=18)
            found.append((*near, kinds))
    finally:
        set_threads(before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("nearest", "hops"), [(0, 1), (1, 0), (1, 255)])
def test_sizes_that_make_no_sense(nearest: int, hops: int) -> None:
    graph = chain()
    with pytest.raises(ValueError, match="must be positive"):
        nearest_anchors(graph.indptr, graph.source, torch.tensor([0]), nearest=nearest, hops=hops)
