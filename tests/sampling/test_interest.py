"""Questions of one relation: what is asked, hidden, and ranked against."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgscale.batch import LinkQueries, SubgraphBatch
from kgscale.graph.adjacency import Adjacency
from kgscale.sampling.base import Strategy
from kgscale.sampling.full_batch import FullBatchStrategy
from kgscale.sampling.interest import Interest, InterestQuestions
from kgscale.sampling.neighbor import NeighborStrategy
from tests.graphs import adjacency

USERS, ITEMS, OTHERS = 6, 9, 4
LIKES, KIND = 0, 1
INTEREST = Interest(relation=LIKES, users=range(USERS), items=range(USERS, USERS + ITEMS))
DRAW = torch.Generator().manual_seed(0)


def graph() -> Adjacency:
    """Users like items; items are of kinds, by another relation."""
    size = USERS + ITEMS + OTHERS
    likes = {
        (int(torch.randint(USERS, (), generator=DRAW)), LIKES, USERS + n % ITEMS) for n in range(40)
    }
    kinds = {(USERS + n, KIND, USERS + ITEMS + n % OTHERS) for n in range(ITEMS)}
    triples = torch.tensor(sorted(likes | kinds))
    return adjacency(triples, num_entities=size, num_relations=2)


GRAPH = graph()
QUESTIONS = InterestQuestions(GRAPH, INTEREST)


def liked(graph_: Adjacency) -> set[tuple[int, int]]:
    target = torch.arange(len(graph_.indptr) - 1).repeat_interleave(graph_.indptr.long().diff())
    mine = graph_.relation == LIKES
    return set(zip(graph_.source[mine].tolist(), target[mine].tolist(), strict=True))


def strategy(kind: str, **settings: Any) -> Strategy:
    if kind == "full":
        return FullBatchStrategy(
            graph=GRAPH, questions=QUESTIONS, num_layers=1, query_share=0.25, seed=3
        )
    return NeighborStrategy(
        graph=GRAPH,
        questions=settings.pop("questions", QUESTIONS),
        num_layers=1,
        fanout=[-1],
        batch_size=7,
        seed=3,
        **settings,
    )


def answers(batch: SubgraphBatch) -> list[tuple[int, int]]:
    query = batch.query
    assert isinstance(query, LinkQueries)
    assert (query.relation == LIKES).all()
    user = batch.entity_id[query.head[query.answer_query]].tolist()
    return list(zip(user, batch.entity_id[query.answer].tolist(), strict=True))


@pytest.mark.parametrize("kind", ["neighbor", "full"])
@pytest.mark.parametrize("world_size", [1, 2])
def test_every_link_is_asked_for_once_and_hidden(kind: str, world_size: int) -> None:
    made, every = strategy(kind), liked(GRAPH)
    asked: list[tuple[int, int]] = []
    for index in range(made.num_batches(world_size=world_size)):
        step: set[tuple[int, int]] = set()
        batches = [
            made.batch(0, index, rank=rank, world_size=world_size) for rank in range(world_size)
        ]
        for batch in batches:
            step |= set(answers(batch))
            asked += answers(batch)
        for batch in batches if kind == "neighbor" else []:
            target = torch.arange(batch.indptr.shape[0] - 1).repeat_interleave(
                batch.indptr.long().diff()
            )
            for way, relation in ((1, LIKES), (-1, LIKES + 2)):
                mine = batch.relation == relation
                ends = [
                    batch.entity_id[batch.source[mine].long()].tolist(),
                    batch.entity_id[target[mine]].tolist(),
                ][::way]
                assert not step & set(zip(*ends, strict=True))
    assert sorted(asked) == sorted(every)


@pytest.mark.parametrize("kind", ["neighbor", "full"])
def test_rivals_are_items_that_a_user_has_not(kind: str) -> None:
    batch = strategy(kind).batch(0, 0, rank=0, world_size=1)
    query = batch.query
    assert isinstance(query, LinkQueries)
    counts = torch.ones(len(query.head), query.num_candidates)
    if query.candidate_weight is not None:
        counts = counts * query.candidate_weight
    assert query.known is not None
    counts[query.known[:, 0], query.known[:, 1]] = 0
    counts[query.answer_query, query.answer] = 0
    every = liked(GRAPH)
    for row, head in enumerate(batch.entity_id[query.head].tolist()):
        rivals = batch.entity_id[: query.num_candidates][counts[row] > 0].tolist()
        expected = [i for i in INTEREST.items if (head, i) not in every]
        assert sorted(rivals) == expected


@pytest.mark.parametrize("popularity", [0.0, 0.5, 1.0])
def test_drawn_items_stand_for_all(popularity: float) -> None:
    """The sum over drawn items of what they stand for estimates the sum over all."""
    questions = InterestQuestions(GRAPH, INTEREST, popularity=popularity)
    value = torch.rand(len(GRAPH.indptr), generator=torch.Generator().manual_seed(1))
    none = torch.empty(0, dtype=torch.int64)
    found = []
    for seed in range(3000):
        drawn, weight = questions._draw(none, 4, seed=seed)
        assert weight is not None
        assert set(drawn.tolist()) <= set(INTEREST.items)
        found.append(float((value[drawn] * weight).sum()))
    expected = float(value[INTEREST.items.start : INTEREST.items.stop].sum())
    spread = torch.tensor(found).std() / len(found) ** 0.5
    assert abs(torch.tensor(found).mean() - expected) < 5 * spread


def test_popular_items_are_drawn_more_often() -> None:
    questions = InterestQuestions(GRAPH, INTEREST, popularity=1.0)
    count = torch.tensor([sum(i == item for _, item in liked(GRAPH)) for i in INTEREST.items])
    expected = (1.0 + count.double()) / (1.0 + count).sum()
    torch.testing.assert_close(questions._ends.diff(), expected[1:])


def test_folds_are_all_links_apart() -> None:
    folds = QUESTIONS.folds(3, seed=1)
    assert sum(map(len, folds)) == len(QUESTIONS)
    made = [strategy("neighbor", questions=fold) for fold in folds]
    asked = [
        pair
        for one in made
        for index in range(one.num_batches(world_size=1))
        for pair in answers(one.batch(0, index, rank=0, world_size=1))
    ]
    assert sorted(asked) == sorted(liked(GRAPH))


def test_what_it_says() -> None:
    assert "asks for the item of" in strategy("neighbor").describe()
    assert "all 9 items" in strategy("neighbor").describe()
    assert "5 random items" in strategy("neighbor", candidates=5).describe()
    assert "links hidden" in strategy("full").describe()
