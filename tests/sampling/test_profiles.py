"""Relations of an entity's edges, counted one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.batch import Profile, SubgraphBatch
from kgscale.sampling.paths import PathStrategy
from kgscale.sampling.profiles import Profiles, draw_far
from tests.graphs import graphs
from tests.sampling.test_paths import strategy
from tests.sampling.test_strategies import Graph, batches, both_ways, store

FEW = settings(max_examples=25)
SEED = st.integers(0, 20)


def told(profile: Profile) -> list[dict[int, float]]:
    """Of each entity, the relations that it has."""
    entries = list(zip(profile.relation.tolist(), profile.value.tolist(), strict=True))
    return [
        {relation: value for relation, value in entries[low:high] if value}
        for low, high in itertools.pairwise(profile.indptr.tolist())
    ]


def counted(edges: list[tuple[int, int, int]], entity: int) -> dict[int, float]:
    number = Counter(relation for _, relation, tail in edges if tail == entity)
    return {relation: pytest.approx(1 + math.log(n)) for relation, n in number.items()}


@FEW
@given(graphs(), SEED)
def test_counts_are_those_of_the_edges(graph: Graph, seed: int) -> None:
    triples, entities, relations = graph
    edges = both_ways([tuple(row) for row in triples.tolist()], relations)
    chosen = torch.randint(entities, (5,), generator=torch.Generator().manual_seed(seed))
    expected = [counted(edges, entity) for entity in chosen.tolist()]
    assert told(Profiles(store(graph)).of(chosen)) == expected


@pytest.mark.parametrize("hide", ["edge", "pair"])
@FEW
@given(graphs(), SEED)
def test_a_profile_knows_nothing_of_the_answer(hide: str, graph: Graph, seed: int) -> None:
    """Of each question, those of a graph without its triple, or without all that joins the two."""
    edges = both_ways([tuple(row) for row in graph[0].tolist()], graph[2])
    for batch in batches(profiled(graph, seed, hide=hide)):
        questions = asked_anywhere(batch)
        assert len(questions) == len(batch.query.relation), "no answer is out of reach"
        profiles = told(batch.query.far.profile)
        for (query, entity), profile in zip(candidates(batch), profiles, strict=True):
            head, relation, tail = questions[query]
            gone = both_ways([(head, relation, tail)], graph[2])
            if hide == "pair":
                gone = [e for e in edges if {e[0], e[2]} == {head, tail}]
            assert profile == counted([e for e in edges if e not in gone], entity)


@FEW
@given(graphs(), SEED)
def test_edges_are_lost_one_by_one(graph: Graph, seed: int) -> None:
    """Of a relation one edge or none; what is hidden moves nothing else."""
    exact, lost = (batches(profiled(graph, seed, lost=chance)) for chance in (0.0, 0.3))
    for one, other in zip(exact, lost, strict=True):
        before, after = one.query.far.profile, other.query.far.profile
        for number, left in zip(before.value.tolist(), after.value.tolist(), strict=True):
            fewer = round(math.exp(number - 1)) - 1 if number else 0
            assert left in (number, pytest.approx(1 + math.log(fewer) if fewer else 0))


def test_as_many_edges_are_lost_as_should_be() -> None:
    count = torch.arange(1, 5).repeat(2000)
    entity = torch.arange(len(count)).repeat_interleave(count)
    triples = torch.stack([entity, torch.zeros_like(entity), entity], dim=1)
    profiles = Profiles(store((triples, len(count), 1)))
    everyone, generator = torch.arange(len(count)), torch.Generator().manual_seed(0)
    exact = profiles.of(everyone)
    found = profiles.of(everyone, lost=0.2, generator=generator)
    for number in range(1, 5):
        which = exact.value == 1 + math.log(number)
        share = float((found.value[which] < exact.value[which]).float().mean())
        assert share == pytest.approx(1 - 0.8**number, abs=0.03)


@FEW
@given(graphs(), SEED)
def test_rivals_from_afar_are_no_tails_and_come_once(graph: Graph, seed: int) -> None:
    known = set(both_ways([tuple(row) for row in graph[0].tolist()], graph[2]))
    for batch in batches(profiled(graph, seed)):
        questions, answers = asked_anywhere(batch), set(batch.query.answer.tolist())
        found = candidates(batch)
        assert len(set(found)) == len(found)
        weights = batch.query.far.weight.tolist()
        for place, (query, entity) in enumerate(found):
            head, relation, _ = questions[query]
            if place >= batch.num_entities:
                assert ((head, relation, entity) in known) == (place in answers)
                expected = 0.0 if place in answers else math.log(graph[1] / min(4, graph[1]))
                assert weights[place - batch.num_entities] == pytest.approx(expected)


def test_those_afar_stand_for_all() -> None:
    """Over many draws, a sum over them is a sum over all entities outside."""
    owner, inside = torch.tensor([0, 0, 1]), torch.tensor([4, 7, 4])
    value = torch.arange(200.0)
    value[4] = value[7] = 0
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(2)
    for _ in range(300):
        row, drawn, weight = draw_far(
            200, owner.int(), inside, questions=2, number=10, generator=generator
        )
        total.index_add_(0, row, value[drawn] * weight.exp() / 300)
    assert total.tolist() == pytest.approx([float(value.sum())] * 2, rel=0.05)


def profiled(graph: Graph, seed: int, **more: object) -> PathStrategy:
    return strategy(graph, seed, size=3, profiled=True, far=4, **{"lost": 0.0, **more})


def candidates(batch: SubgraphBatch) -> list[tuple[int, int]]:
    """Query and entity of each."""
    everyone = torch.cat([batch.entity_id, batch.query.far.entity_id])
    return list(zip(batch.query.candidate_owner.tolist(), everyone.tolist(), strict=True))


def asked_anywhere(batch: SubgraphBatch) -> dict[int, tuple[int, int, int]]:
    """The triple of each query."""
    found = candidates(batch)
    relation = batch.query.relation.tolist()
    heads = batch.entity_id.tolist()
    return {
        query: (heads[query], relation[query], tail)
        for query, tail in (found[answer] for answer in batch.query.answer.tolist())
    }
