"""A path-based reasoner against the sum over paths that it stands for, one query at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.losses import path_softmax_loss
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathStrategy
from tests.graphs import adjacency, random_triples

ENTITIES, RELATIONS, DIM = 14, 3, 4
GRAPH = adjacency(
    random_triples(40, num_entities=ENTITIES, num_relations=RELATIONS),
    num_entities=ENTITIES,
    num_relations=RELATIONS,
)


def reasoner(**settings: object) -> PathReasoner:
    generator = torch.Generator().manual_seed(0)
    given = {"dim": DIM, "num_layers": 3, **settings}
    return PathReasoner(num_relations=RELATIONS, generator=generator, **given).eval()  # type: ignore[arg-type]


def batch(size: int = 8) -> SubgraphBatch:
    strategy = PathStrategy(graph=GRAPH, num_layers=3, size=size, batch_size=5)
    return strategy.batch(0, 0, rank=0, world_size=1)


@pytest.mark.parametrize("aggregate", ["sum", "mean", "both"])
def test_states_equal_a_loop_over_edges(aggregate: str) -> None:
    """Each query by itself, its subgraph as lists of edges."""
    model, given = reasoner(aggregate=aggregate), batch()
    query, scores = given.query, model(given)
    row = torch.arange(given.num_entities).repeat_interleave(given.indptr.diff()).tolist()
    edges = list(zip(given.source.tolist(), given.relation.tolist(), row, strict=True))
    for number, asked in enumerate(query.relation.tolist()):
        q = model.question[asked]
        x = {v: torch.zeros(DIM) for v in range(given.num_entities) if query.owner[v] == number}
        x[number] = q
        begin = dict(x)
        for layer in range(3):
            weights = model.relation[layer](q).view(2 * RELATIONS, DIM)
            total, count = dict(begin), dict.fromkeys(x, 1)
            for source, relation, target in edges:
                if target in x:
                    assert source in x, "an edge joins two subgraphs"
                    total[target] = total[target] + x[source] * weights[relation]
                    count[target] += 1
            mean = {v: total[v] / count[v] for v in x}
            parts = {"sum": [total], "mean": [mean], "both": [total, mean]}[aggregate]
            x = {
                v: x[v]
                + model.norm[layer](
                    model.mix[layer](torch.cat([x[v], *(part[v] for part in parts)]))
                ).relu()
                for v in x
            }
        for v, state in x.items():
            expected = model.last(model.hidden(torch.cat([state, q])).relu())[0]
            torch.testing.assert_close(scores[v], expected, atol=1e-4, rtol=1e-4)


def test_loss_by_hand() -> None:
    """Of each answer, the cross entropy among the entities of its query that are no other tails."""
    given = batch()
    query, scores = given.query, torch.randn(given.num_entities, requires_grad=True)
    assert len(query.known)
    expected = torch.zeros(())
    for answer in query.answer.tolist():
        rivals = [
            v
            for v in range(given.num_entities)
            if query.owner[v] == query.owner[answer] and v not in query.known.tolist()
        ]
        place = torch.tensor([rivals.index(answer)])
        expected = expected + functional.cross_entropy(scores[rivals][None], place)
    found = path_softmax_loss(scores, query)
    torch.testing.assert_close(found, expected / len(query.answer))
    (gradient,) = torch.autograd.grad(found, scores)
    assert gradient.isfinite().all()


def test_a_renamed_graph_has_the_same_scores() -> None:
    """Entities are known by their place in the graph alone."""
    model, given = reasoner(), batch()
    shuffled = torch.randperm(ENTITIES)[given.entity_id]
    assert torch.equal(model(replace(given, entity_id=shuffled)), model(given))


def test_a_graph_with_some_of_the_relations_has_the_same_scores() -> None:
    """Relations 2 and 0 of ours are the first and the second there."""
    model, given = reasoner(), batch()
    number = torch.tensor([1, -1, 0])
    here = torch.tensor([2, 0])

    def renamed(relation: torch.Tensor) -> torch.Tensor:
        return number[relation % RELATIONS] + 2 * (relation >= RELATIONS)

    query = given.query
    # Only questions and edges of these two.
    kept = (given.relation % RELATIONS) != 1
    before = torch.cat([torch.zeros(1, dtype=torch.int64), kept.long().cumsum(0)])
    part = replace(
        given,
        indptr=before[given.indptr],
        source=given.source[kept],
        relation=given.relation[kept],
        triple=given.triple[kept],
        hop_edges=(int(kept.sum()),) * 3,
        query=replace(query, relation=torch.tensor([0, 2, 3, 5, 2])),
    )
    there = replace(
        part,
        relation=renamed(part.relation.long()),
        query=replace(part.query, relation=renamed(part.query.relation)),
    )
    torch.testing.assert_close(model.on(here)(there), model(part))


def test_every_parameter_learns_on_meta_too() -> None:
    for device in ("cpu", "meta"):
        model, given = reasoner(aggregate="both").to(device), batch().to(device)
        path_softmax_loss(model(given), given.query).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.device.type == device


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, r"reasoner\.dim needs a positive int"),
        ({"dropout": 1.0}, r"reasoner\.dropout needs a share"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reasoner(**settings)
