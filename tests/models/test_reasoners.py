"""A path-based reasoner against the sum over paths that it stands for, one query at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.inference.paths import PathScorer
from kgscale.kernels.ego import HEAVIEST
from kgscale.losses import path_softmax_loss
from kgscale.models.reasoners import PathReasoner
from kgscale.sampling.paths import PathCutter, PathStrategy
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
    """Each query by itself, its subgraph as lists of edges; what is not reached sends nothing."""
    model, given = reasoner(aggregate=aggregate), batch()
    query, scores = given.query, model(given)
    row = torch.arange(given.num_entities).repeat_interleave(given.indptr.diff()).tolist()
    edges = list(zip(given.source.tolist(), given.relation.tolist(), row, strict=True))
    for number, asked in enumerate(query.relation.tolist()):
        q = model.question[asked]
        x = {number: q}
        for layer in range(3):
            weights = model.relation[layer](q).view(2 * RELATIONS, DIM)
            total, count = {number: q}, {number: 1}
            for source, relation, target in edges:
                if source in x:
                    assert query.owner[target] == number, "an edge joins two subgraphs"
                    total[target] = total.get(target, 0) + x[source] * weights[relation]
                    count[target] = count.get(target, 1) + 1
            mean = {v: total[v] / count[v] for v in total}
            parts = {"sum": [total], "mean": [mean], "both": [total, mean]}[aggregate]
            # A head without edges stays alone.
            old = {v: x.get(v, torch.zeros(DIM)) for v in total}
            x = {
                v: old[v]
                + model.norm[layer](
                    model.mix[layer](torch.cat([old[v], *(part[v] for part in parts)]))
                ).relu()
                for v in total
            }
        assert len(x) == int((query.owner == number).sum())
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


@pytest.mark.parametrize("aware", [False, True])
def test_a_graph_with_some_of_the_relations_has_the_same_scores(aware: bool) -> None:
    """Relations 2 and 0 of ours are the first and the second there."""
    model, here = reasoner(), torch.tensor([2, 0])
    if aware:
        generator, size = torch.Generator().manual_seed(0), 2 * RELATIONS
        weights = torch.randint(1, HEAVIEST + 1, (size, size), generator=generator)
        model.ways = weights.int()
    triples = random_triples(40, num_entities=ENTITIES, num_relations=RELATIONS)
    triples = triples[triples[:, 1] != 1]
    renamed = triples.clone()
    renamed[:, 1] = torch.tensor([1, -1, 0])[triples[:, 1]]
    head = torch.tensor([0, 3, 5, 5])
    ours, theirs = torch.tensor([2, 0, 5, 3]), torch.tensor([0, 1, 2, 3])
    found = [
        scores(some, rows, relations, head, asked)
        for some, rows, relations, asked in (
            (model, triples, RELATIONS, ours),
            (model.on(here), renamed, 2, theirs),
        )
    ]
    assert found[0].keys() == found[1].keys()
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-4)


def scores(
    model: PathReasoner,
    triples: torch.Tensor,
    relations: int,
    head: torch.Tensor,
    asked: torch.Tensor,
) -> dict[tuple[int, int], float]:
    """Of each entity for each question."""
    graph = adjacency(triples, num_entities=ENTITIES, num_relations=relations)
    cutter = PathCutter(graph, hops=3, size=5, reserved=0.4, ways=model.ways)
    sample, score = PathScorer(model, cutter)(head, asked)
    keys = zip(sample.owner.tolist(), sample.entity_id.tolist(), strict=True)
    return dict(zip(keys, score.tolist(), strict=True))


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
