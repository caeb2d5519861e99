"""Laws of the neighbour strategy; the first is the one that everything rests on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.sampling.neighbor import NeighborStrategy, share
from kgscale.types import Triples
from tests.graphs import adjacency, graphs, random_triples

fanouts = st.lists(st.sampled_from([-1, 1, 2, 5]), min_size=0, max_size=3)
candidates = st.sampled_from(["all", 1, 3, 100])


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


def asked(batch: SubgraphBatch, num_relations: int) -> set[tuple[int, int, int]]:
    """The batch's questions with their answers, as triples of the data."""
    query = batch.query
    head = batch.entity_id[query.head][query.answer_query].tolist()
    relation = query.relation[query.answer_query].tolist()
    tail = batch.entity_id[query.answer].tolist()
    return {
        (h, r, t) if r < num_relations else (t, r - num_relations, h)
        for h, r, t in zip(head, relation, tail, strict=True)
    }


def messages(batch: SubgraphBatch) -> list[tuple[int, int, int]]:
    """All edges of the batch as (source, relation, target) with global entities."""
    row = torch.arange(len(batch.indptr) - 1).repeat_interleave(batch.indptr.diff())
    source, target = batch.entity_id[batch.source.long()], batch.entity_id[row]
    columns = (source.tolist(), batch.relation.tolist(), target.tolist())
    return list(zip(*columns, strict=True))


@given(graphs(), fanouts, candidates, st.booleans(), st.integers(0, 3))
def test_no_answer_reaches_message_passing(
    graph: tuple[Triples, int, int],
    fanout: list[int],
    candidate: object,
    per_relation: bool,
    epoch: int,
) -> None:
    _, _, num_relations = graph
    sampler = strategy(graph, fanout, candidates=candidate, per_relation=per_relation)
    for index in range(sampler.num_batches(world_size=1)):
        batch = sampler.batch(epoch, index, rank=0, world_size=1)
        hidden = asked(batch, num_relations)
        for source, relation, target in messages(batch):
            forward = (source, relation, target)
            backward = (target, relation - num_relations, source)
            assert forward not in hidden
            assert backward not in hidden


@given(graphs(), st.integers(1, 3), st.integers(0, 2), candidates)
def test_an_epoch_asks_every_train_triple_once_from_each_side(
    graph: tuple[Triples, int, int], world_size: int, epoch: int, candidate: object
) -> None:
    triples, _, num_relations = graph
    sampler = strategy(graph, [2], candidates=candidate)
    seen = []
    for index in range(sampler.num_batches(world_size=world_size)):
        for rank in range(world_size):
            batch = sampler.batch(epoch, index, rank=rank, world_size=world_size)
            query = batch.query
            head = batch.entity_id[query.head][query.answer_query].tolist()
            relation = query.relation[query.answer_query].tolist()
            tail = batch.entity_id[query.answer].tolist()
            seen += list(zip(head, relation, tail, strict=True))
    given_triples = [tuple(row) for row in triples.tolist()]
    reciprocal = [(t, r + num_relations, h) for h, r, t in given_triples]
    assert sorted(seen) == sorted(given_triples + reciprocal)


@given(graphs(), fanouts, candidates)
def test_edges_are_train_edges_and_answers_are_candidates(
    graph: tuple[Triples, int, int], fanout: list[int], candidate: object
) -> None:
    triples, _, num_relations = graph
    known = {tuple(row) for row in triples.tolist()}
    known |= {(t, r + num_relations, h) for h, r, t in known}
    batch = strategy(graph, fanout, candidates=candidate).batch(0, 0, rank=0, world_size=1)
    assert set(messages(batch)) <= known
    assert int(batch.query.answer.max()) < batch.query.num_candidates
    assert batch.hop_size[0] >= batch.query.num_candidates
    assert len(batch.entity_id.unique()) == batch.num_entities


def test_a_batch_is_a_pure_function_of_its_coordinates() -> None:
    graph = random_triples(200, num_entities=30, num_relations=3), 30, 3
    first, second = strategy(graph, [2, 2]), strategy(graph, [2, 2])
    second.batch(5, 2, rank=0, world_size=1)
    one = first.batch(1, 3, rank=0, world_size=1)
    other = second.batch(1, 3, rank=0, world_size=1)
    assert torch.equal(one.entity_id, other.entity_id)
    assert torch.equal(one.source, other.source)
    again = first.batch(2, 3, rank=0, world_size=1)
    assert again.query.head.tolist() != one.query.head.tolist()


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
