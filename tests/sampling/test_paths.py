"""Subgraphs of questions: what is asked, what is hidden, and that every triple has its turn."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.kernels.ego import HiddenRows, coverage
from kgscale.sampling.leakage import asked_edges
from kgscale.sampling.paths import PathStrategy
from tests.graphs import graphs, random_triples
from tests.sampling.test_strategies import Graph, batches, both_ways, messages, store

FEW = settings(max_examples=25)
SEED = st.integers(0, 20)


def strategy(graph: Graph, seed: int, **more: object) -> PathStrategy:
    given = {"size": 100, "num_layers": 2, "batch_size": 3, "seed": seed, **more}
    return PathStrategy(graph=store(graph), **given)  # type: ignore[arg-type]


def asked(batch: SubgraphBatch) -> list[tuple[int, int, int]]:
    query = batch.query
    row, tail = query.owner[query.answer], batch.entity_id[query.answer]
    columns = (batch.entity_id[row].tolist(), query.relation[row].tolist(), tail.tolist())
    return list(zip(*columns, strict=True))


@FEW
@given(graphs(), SEED, st.integers(1, 3), st.integers(1, 3))
def test_every_triple_is_asked_once_from_each_side(
    graph: Graph, seed: int, world_size: int, visits: int
) -> None:
    """With subgraphs that hold the whole component, unless hiding cuts an answer off."""
    paths = strategy(graph, seed, visits=visits)
    steps = [
        batch
        for epoch in range(visits)
        for batch in batches(paths, world_size=world_size, epoch=epoch)
    ]
    found = Counter(triple for batch in steps for triple in asked(batch))
    every = both_ways([tuple(row) for row in graph[0].tolist()], graph[2])
    assert found.keys() <= set(every)
    assert max(found.values(), default=1) == 1
    assert sum(len(batch.query.relation) for batch in steps) == len(store(graph).source)


@pytest.mark.parametrize("hide", ["edge", "pair"])
@FEW
@given(graphs(), SEED)
def test_no_answer_reaches_message_passing(hide: str, graph: Graph, seed: int) -> None:
    """In a question's subgraph, neither direction of its triple, or nothing between the two."""
    for batch in batches(strategy(graph, seed, hide=hide)):
        row = torch.arange(batch.num_entities).repeat_interleave(batch.indptr.diff())
        owner = batch.query.owner[row].tolist()
        seen = list(zip(owner, messages(batch), strict=True))
        for answer, triple in zip(batch.query.answer.tolist(), asked(batch), strict=True):
            query = int(batch.query.owner[answer])
            if hide == "edge":
                assert not {(query, edge) for edge in both_ways([triple], graph[2])} & set(seen)
            else:
                ends = {triple[0], triple[2]}
                assert not [e for q, e in seen if q == query and {e[0], e[2]} == ends]


@FEW
@given(graphs(), SEED)
def test_all_else_is_there(graph: Graph, seed: int) -> None:
    """Edges of a question's subgraph are all that the graph has between its entities."""
    known = both_ways([tuple(row) for row in graph[0].tolist()], graph[2])
    for batch in batches(strategy(graph, seed)):
        row = torch.arange(batch.num_entities).repeat_interleave(batch.indptr.diff())
        owner = batch.query.owner
        for query, relation in enumerate(batch.query.relation.tolist()):
            members = set(batch.entity_id[owner == query].tolist())
            edges = {
                e for o, e in zip(owner[row].tolist(), messages(batch), strict=True) if o == query
            }
            missing = {e for e in known if e[0] in members and e[2] in members} - edges
            head = int(batch.entity_id[query])
            back = relation + graph[2] if relation < graph[2] else relation - graph[2]
            assert all(
                (e[0] == head and e[1] == relation) or (e[2] == head and e[1] == back)
                for e in missing
            )
            assert len(missing) <= 2


@FEW
@given(graphs(), SEED)
def test_known_are_the_other_tails(graph: Graph, seed: int) -> None:
    known = set(both_ways([tuple(row) for row in graph[0].tolist()], graph[2]))
    for batch in batches(strategy(graph, seed)):
        query = batch.query
        answers = set(query.answer.tolist())
        for place, entity in enumerate(batch.entity_id.tolist()):
            row = int(query.owner[place])
            true = (int(batch.entity_id[row]), int(query.relation[row]), entity) in known
            assert (place in set(query.known.tolist())) == (true and place not in answers)


@pytest.mark.parametrize("choice", [{"reserved": 0.5}, {"aware": True}])
def test_a_choice_by_the_relation_finds_more(choice: dict[str, object]) -> None:
    """Relations 1 and 2 lead to the answer of 0, and 3 to ten neighbours that are none."""
    triples = []
    for i in range(20):
        head, middle, tail = i, 20 + i, 40 + i
        triples += [[head, 0, tail], [head, 1, middle], [middle, 2, tail]]
        triples += [[head, 3, 80 + 10 * i + j] for j in range(10)]
        # Another head has the same answer.
        triples += [[60 + i, 0, tail]]
    graph = (torch.tensor(triples), 280, 4)

    def covered(**more: object) -> float:
        paths = strategy(graph, 0, size=6, num_layers=3, **more)
        paths.prepare()
        head = torch.arange(20)
        asked = torch.stack([head, torch.zeros_like(head), head + 40], dim=1)
        edge = asked_edges(paths.graph, asked)
        hidden = HiddenRows(torch.arange(0, 2 * len(edge) + 1, 2), edge.flatten())
        sample = paths.cutter.sample(asked[:, 0], asked[:, 1], hidden).sample
        return float(
            coverage(sample.owner, sample.entity_id, torch.arange(len(asked)), asked[:, 2])
            .double()
            .mean()
        )

    assert covered() < 0.5
    assert covered(**choice) == 1


def test_coverage_is_reported() -> None:
    graph = (random_triples(60, num_entities=12, num_relations=3), 12, 3)
    all_of_it = strategy(graph, 0).report()["answers_covered"]
    assert 0 < strategy(graph, 0, size=3).report()["answers_covered"] < all_of_it <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 1}, r"strategy\.size needs an int of at least 2"),
        ({"visits": 0}, r"strategy\.visits needs a positive int"),
        ({"lost": 1.0}, r"strategy\.lost needs a chance in \[0, 1\)"),
        ({"reserved": 1.1}, r"strategy\.reserved needs a share"),
        ({"restart": 1.0}, r"strategy\.restart needs a chance"),
        ({"tolerance": 0.0}, r"strategy\.tolerance needs a number in \(0, 1\)"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, object], message: str) -> None:
    graph = (random_triples(10, num_entities=5, num_relations=1), 5, 1)
    with pytest.raises(ConfigError, match=message):
        strategy(graph, 0, **wrong)
