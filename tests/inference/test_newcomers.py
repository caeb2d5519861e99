"""Newcomers' vectors follow from their facts, each alone, and leave all others as they are."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from kgscale.inference import newcomers
from kgscale.inference.embed import GraphVectors
from kgscale.inference.newcomers import PRIOR, Alike, alike, fitted, means
from kgscale.models.decoders import ComplEx, Decoder, DistMult, TransE
from kgscale.types import Triples
from tests.graphs import adjacency, graphs, random_triples


def facts_of(triples: Triples, entity: int, num_relations: int) -> set[tuple[int, int]]:
    """Relation (or reciprocal one) and the other end of all that is said of an entity."""
    rows = triples.tolist()
    return {(r, t) for h, r, t in rows if h == entity} | {
        (r + num_relations, h) for h, r, t in rows if t == entity
    }


@given(graphs())
def test_who_is_alike(drawn: tuple[Triples, int, int]) -> None:
    triples, entities, relations = drawn
    graph = adjacency(triples, num_entities=entities, num_relations=relations)
    new = torch.arange(0, entities, 3)
    told = {one: facts_of(triples, one, relations) for one in range(entities)}
    old = [one for one in range(entities) if one not in new.tolist()]
    wanted = {}
    for place, newcomer in enumerate(new.tolist()):
        for other in old:
            shares = [
                1 / math.log(2 + sum(fact in told[one] for one in old))
                for fact in told[newcomer] & told[other]
            ]
            if shares:
                wanted[place, other] = sum(shares) ** 2
    found = alike(graph, new)
    pairs = zip(found.newcomer.tolist(), found.other.tolist(), strict=True)
    assert dict(zip(pairs, found.weight.tolist(), strict=True)) == pytest.approx(wanted)


def test_a_fact_of_everybody_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "COMMON", 3)
    triples = torch.tensor([[one, 0, 9] for one in range(5)] + [[one, 0, 8] for one in (3, 4)])
    graph = adjacency(triples, num_entities=10, num_relations=1)
    assert alike(graph, torch.tensor([4])).other.tolist() == [3]


@given(graphs(), st.integers(1, 9))
def test_hubs_are_looked_at_in_pieces(drawn: tuple[Triples, int, int], edges: int) -> None:
    """Which change nothing, however small they are."""
    triples, entities, relations = drawn
    graph = adjacency(triples, num_entities=entities, num_relations=relations)
    new = torch.arange(0, entities, 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(newcomers, "EDGES", edges)
        found = alike(graph, new)
        size = graph.indptr.long().diff()
        pieces = list(newcomers._pieces(size))
    assert torch.cat(pieces).tolist() == list(range(entities))
    assert all(size[piece].sum() < edges + size[piece].max() for piece in pieces if size.any())
    for one, other in zip(found, alike(graph, new), strict=True):
        assert torch.equal(one, other)


def test_means_of_those_alike() -> None:
    rows = torch.arange(8.0).view(4, 2)
    found = Alike(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]), torch.tensor([1.0, 3.0, 2.0]))
    usual = torch.full((3, 2), 7.0)
    wanted = torch.tensor([[5.0, 6.0], [7.0, 7.0], [0.0, 1.0]])
    torch.testing.assert_close(means(rows, found, 3, otherwise=usual), wanted)


def loss(
    z: torch.Tensor, start: torch.Tensor, asked: Counter[tuple[int, int]], vectors: GraphVectors,
    decoder: Decoder, variance: float,
) -> torch.Tensor:  # fmt: skip
    """What the fit minimises, fact by fact."""
    total = PRIOR / variance * (z - start).square().sum()
    for relation, answer in asked:
        query = decoder.query(z[None], vectors.relation[relation][None])
        scores = decoder.compare(query, vectors.entity)
        total = total + functional.cross_entropy(scores, torch.tensor([answer]))
    return total


@pytest.mark.parametrize("kind", [ComplEx, TransE])
def test_vectors_fit_their_facts(kind: type[Decoder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "STEPS", 400)
    monkeypatch.setattr(newcomers, "RATE", 0.02)
    entities, relations, dim = 12, 2, 4
    triples = random_triples(40, num_entities=entities, num_relations=relations, seed=3)
    graph = adjacency(triples, num_entities=entities, num_relations=relations)
    generator = torch.Generator().manual_seed(1)
    decoder = kind(dim=dim, num_relations=relations, generator=generator)
    vectors = GraphVectors(
        entity=torch.randn(entities, dim, generator=generator),
        relation=decoder.relations(torch.randn(2 * relations, dim, generator=generator)),
    )
    new, start = torch.tensor([2, 5, 7]), torch.zeros(3, dim)
    before = vectors.entity.clone()
    found = fitted(start, new, graph, vectors, decoder, variance=torch.tensor([0.5, 1.0, 2.0]))
    assert torch.equal(vectors.entity, before)
    for place, (entity, variance) in enumerate(zip((2, 5, 7), (0.5, 1.0, 2.0), strict=True)):
        asked = Counter(facts_of(triples, entity, relations))
        z = found[place].clone().requires_grad_(True)
        end = loss(z, start[place], asked, vectors, decoder, variance)
        assert end < loss(start[place], start[place], asked, vectors, decoder, variance)
        (slope,) = torch.autograd.grad(end, z)
        if kind is not TransE:  # whose norm has corners
            assert slope.norm() < 0.05 * len(asked)


def test_each_is_fitted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    entities, relations, dim = 20, 2, 6
    triples = random_triples(80, num_entities=entities, num_relations=relations)
    graph = adjacency(triples, num_entities=entities, num_relations=relations)
    generator = torch.Generator().manual_seed(1)
    decoder = ComplEx(dim=dim, num_relations=relations, generator=generator)
    vectors = GraphVectors(
        entity=torch.randn(entities, dim, generator=generator),
        relation=decoder.relations(torch.randn(2 * relations, dim, generator=generator)),
    )
    new, start, ones = torch.arange(5), torch.randn(5, dim, generator=generator), torch.ones(5)
    together = fitted(start, new, graph, vectors, decoder, variance=ones)
    monkeypatch.setattr(newcomers, "AT_ONCE", 2)
    torch.testing.assert_close(
        fitted(start, new, graph, vectors, decoder, variance=ones), together, atol=1e-4, rtol=1e-4
    )


def test_without_facts_it_stays() -> None:
    graph = adjacency(torch.tensor([[0, 0, 1]]), num_entities=3, num_relations=1)
    decoder = DistMult(dim=2, num_relations=1, generator=torch.Generator().manual_seed(0))
    vectors = GraphVectors(entity=torch.ones(3, 2), relation=torch.ones(2, 2))
    start = torch.tensor([[0.5, -0.25]])
    found = fitted(start, torch.tensor([2]), graph, vectors, decoder, variance=torch.zeros(1))
    torch.testing.assert_close(found, start)
