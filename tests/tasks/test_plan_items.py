"""What a plan expects of recommendation, against batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kgscale.batch import LinkQueries
from kgscale.sampling.full_batch import FullBatchStrategy
from kgscale.sampling.interest import Interest, InterestQuestions
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.sampling.questions import Candidates
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan.asked import AsksInterest, asks_of
from kgscale.tasks.plan.statistics import graph_statistics
from kgscale.tasks.settings import TaskSettings
from tests.graphs import adjacency

USERS, ITEMS = 200, 300


def parts() -> GraphParts:
    draw = torch.Generator().manual_seed(0)
    user = torch.randint(USERS, (4000,), generator=draw)
    # Some items have many users.
    item = (torch.rand(4000, generator=draw) ** 3 * ITEMS).long() + USERS
    triples = torch.unique(torch.stack([user, torch.zeros_like(user), item], dim=1), dim=0)
    graph = adjacency(triples, num_entities=USERS + ITEMS, num_relations=1)
    types = [
        {"name": "user", "start": 0, "stop": USERS, "features": 0},
        {"name": "item", "start": USERS, "stop": USERS + ITEMS, "features": 0},
    ]
    return replace(GraphParts.toy(), graph=graph, types=types, relations=("interacts",))


PARTS = parts()
INTEREST = Interest(relation=0, users=range(USERS), items=range(USERS, USERS + ITEMS))
QUESTIONS = InterestQuestions(PARTS.graph, INTEREST)


def asks() -> AsksInterest:
    statistics = graph_statistics(PARTS.graph, PARTS.types)
    found = asks_of(TaskSettings(name="recommendation"), statistics, PARTS)
    assert isinstance(found, AsksInterest)
    return found


def test_all_links_are_asked_for() -> None:
    assert asks().total == pytest.approx(len(QUESTIONS))
    assert sum(map(len, QUESTIONS.folds(4, seed=0))) == len(QUESTIONS)


@pytest.mark.parametrize("candidates", ["all", 50])
def test_seeds_of_a_step(candidates: int | str) -> None:
    strategy = NeighborStrategy(
        graph=PARTS.graph,
        questions=QUESTIONS,
        num_layers=0,
        fanout=[],
        batch_size=100,
        candidates=candidates,
    )
    number = strategy.num_batches(world_size=1)
    batches = [strategy.batch(0, index, rank=0, world_size=1) for index in range(number)]
    size = len(QUESTIONS) / number
    seeds, asked = asks().seeds(size, Candidates.of(candidates, USERS + ITEMS))
    queries = [batch.query for batch in batches if isinstance(batch.query, LinkQueries)]
    for expected, found in (
        (float(seeds.sum()), [batch.num_entities for batch in batches]),
        (asked.queries, [len(query.head) for query in queries]),
        (asked.answers, [len(query.answer) for query in queries]),
        (asked.candidates, [query.num_candidates for query in queries]),
    ):
        assert expected == pytest.approx(sum(found) / number, rel=0.1)


def test_a_share_of_the_whole_graph() -> None:
    strategy = FullBatchStrategy(
        graph=PARTS.graph, questions=QUESTIONS, num_layers=1, query_share=0.2
    )
    number = strategy.num_batches(world_size=1)
    queries = [strategy.batch(0, index, rank=0, world_size=1).query for index in range(number)]
    asked = asks().inside(asks().graph.count, 1.0, 0.2)
    answers = [len(query.answer) for query in queries if isinstance(query, LinkQueries)]
    assert asked.answers == pytest.approx(sum(answers) / number, rel=0.05)
    assert asked.candidates == USERS + ITEMS
