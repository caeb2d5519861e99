"""Facts and short paths against looking at every one."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.graph.adjacency import both_ways
from kgscale.inference.reasons import ways as module
from kgscale.inference.reasons.ways import PathStep, Search, triples_of, way_of
from kgscale.types import Triples
from tests.graphs import adjacency, graphs

NONE = torch.empty(0, dtype=torch.int64)
Graph = tuple[Triples, int, int]


def every_path(graph: Graph, head: int, tail: int, hidden: set[int]) -> set[tuple[int, ...]]:
    """The triples of all paths of up to three edges that come to no entity twice."""
    triples, found = graph[0].tolist(), set()
    open_ = [([], [head])]
    while open_:
        used, seen = open_.pop()
        for number, (h, _, t) in enumerate(triples):
            for at, to in {(h, t), (t, h)}:
                if at != seen[-1] or to in seen or number in hidden:
                    continue
                if to == tail:
                    found.add((*used, number))
                elif len(used) < module.LONGEST - 1:
                    open_.append(([*used, number], [*seen, to]))
    return found


@given(graph=graphs(), data=st.data())
def test_paths_are_all_that_there_are(graph: Graph, data: st.DataObject) -> None:
    triples, entities, relations = graph
    head, tail = (data.draw(st.integers(0, entities - 1)) for _ in range(2))
    hidden = data.draw(st.sets(st.integers(0, len(triples) - 1), max_size=2))
    made = adjacency(triples, num_entities=entities, num_relations=relations)
    search = Search(made, torch.tensor(sorted(hidden), dtype=torch.int64))
    found = search.paths(head, tail, 10_000)
    expected = every_path(graph, head, tail, hidden) if head != tail else set()
    assert {way.triples for way in found} == expected
    assert len(found) == len(expected)
    for way in found:
        steps = way.steps
        assert (steps[0].source, steps[-1].target) == (head, tail)
        assert all(a.target == b.source for a, b in itertools.pairwise(steps))
        for step, number in zip(steps, way.triples, strict=True):
            h, r, t = triples[number].tolist()
            assert (step.source, step.relation, step.target) in {(h, r, t), (t, r + relations, h)}
    assert search.paths(head, tail, 2) == found[:2]


@given(graph=graphs(), entity=st.integers(0, 11), most=st.integers(1, 40))
def test_facts_are_those_about_the_entity(graph: Graph, entity: int, most: int) -> None:
    triples, entities, relations = graph
    entity %= entities
    made = adjacency(triples, num_entities=entities, num_relations=relations)
    about = {n for n, (h, _, t) in enumerate(triples.tolist()) if entity in (h, t)}
    found = Search(made, NONE).facts(entity, most)
    assert {way.triples[0] for way in found} <= about
    assert all(way.steps[0].source == entity for way in found)
    loops = sum(h == t for h, _, t in triples.tolist() if h == entity)
    if most >= len(about) + loops:
        assert {way.triples[0] for way in found} == about
    else:
        assert len(found) == most
    for way in Search(made, NONE).further(entity, 1000):
        assert way.steps[0].source == entity
        assert way.steps[1].target != entity
        assert way.triples[0] in about


def test_paths_of_rare_entities_come_first() -> None:
    """0 and 1 share 2, that has no other edge, and 3, that has many."""
    many = [[3, 0, other] for other in range(4, 10)]
    triples = torch.tensor([[0, 0, 2], [2, 0, 1], [0, 0, 3], [3, 0, 1], *many])
    search = Search(adjacency(triples, num_entities=10, num_relations=1), NONE)
    assert [way.triples for way in search.paths(0, 1, 9)] == [(0, 1), (2, 3)]
    assert [way.triples[0] for way in search.facts(0, 9)] == [0, 2]


def test_what_holds_both_ways_is_told_once() -> None:
    triples = torch.tensor([[0, 0, 1], [1, 0, 2]])
    graph = both_ways(adjacency(triples, num_entities=3, num_relations=1))
    assert [way.triples for way in Search(graph, NONE).facts(1, 9)] == [(0,), (1,)]
    assert [way.triples for way in Search(graph, NONE).paths(2, 0, 9)] == [(1, 0)]


def test_the_triple_of_a_step() -> None:
    graph = adjacency(torch.tensor([[0, 0, 1], [1, 1, 2]]), num_entities=3, num_relations=2)
    assert triples_of(graph, 1, 1, 2).tolist() == [1]
    assert triples_of(graph, 2, 3, 1).tolist() == [1]
    assert triples_of(graph, 1, 0, 0).tolist() == []
    assert way_of(graph, [PathStep(0, 0, 1), PathStep(1, 0, 2)]) is None


def test_a_search_looks_at_so_many_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that, the rarest entities alone are gone through."""
    many = [[3, 0, other] for other in range(4, 10)]
    triples = torch.tensor([[0, 0, 2], [2, 0, 4], [4, 0, 1], [0, 0, 3], [4, 1, 3], *many])
    search = Search(adjacency(triples, num_entities=10, num_relations=2), NONE)
    everything = {way.triples for way in search.paths(0, 1, 99)}
    monkeypatch.setattr(module, "LOOKED_AT", 3)
    assert {way.triples for way in search.paths(0, 1, 99)} == {(0, 1, 2)} < everything
