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


def batch(size: int = 8, *, profiled: bool = False) -> SubgraphBatch:
    strategy = PathStrategy(
        graph=GRAPH, num_layers=3, size=size, batch_size=5, profiled=profiled, far=4
    )
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


@pytest.mark.parametrize("profiled", [False, True])
def test_loss_by_hand(profiled: bool) -> None:
    """Of each answer, the cross entropy among the candidates of its query that are no other tails;
    each from outside the subgraph counts for as many as it stands for."""
    given = batch(size=4, profiled=profiled)
    query = given.query
    owner, inside = query.candidate_owner, given.num_entities
    scores = torch.randn(len(owner), requires_grad=True)
    assert len(query.known)
    weight = torch.zeros(len(owner))
    if profiled:
        assert int(query.answer.max()) >= inside
        weight[inside:] = query.far.weight
    expected = torch.zeros(())
    for answer in query.answer.tolist():
        rivals = [
            v
            for v in range(len(owner))
            if owner[v] == owner[answer] and v not in query.known.tolist()
        ]
        place = torch.tensor([rivals.index(answer)])
        rival = (scores + weight)[rivals]
        expected = expected + functional.cross_entropy(rival[None], place)
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
@pytest.mark.parametrize("profile", [False, True])
def test_a_graph_with_some_of_the_relations_has_the_same_scores(aware: bool, profile: bool) -> None:
    """Relations 2 and 0 of ours are the first and the second there."""
    model, here = reasoner(profile=profile), torch.tensor([2, 0])
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
    cutter = PathCutter(
        graph,
        hops=3,
        size=5,
        reserved=0.4,
        profile=model.profile is not None,
        ways=model.ways,
    )
    found = PathScorer(model, cutter)(head, asked)
    if found.far is not None:
        everywhere = found.everywhere()
        return {
            (query, entity): float(everywhere[query, entity])
            for query in range(len(head))
            for entity in range(ENTITIES)
        }
    keys = zip(found.sample.owner.tolist(), found.sample.entity_id.tolist(), strict=True)
    return dict(zip(keys, found.score.tolist(), strict=True))


def test_a_profile_adds_its_formula_to_every_candidate() -> None:
    """One candidate at a time; what is outside the subgraphs has a state of zeros."""
    model, given = reasoner(profile=True), batch(size=3, profiled=True)
    query, profile = given.query, model.profile
    far = query.far
    assert len(far.owner)
    rows = []
    for low, high in zip(
        far.profile.indptr.tolist(), far.profile.indptr.tolist()[1:], strict=False
    ):
        counts = torch.zeros(2 * RELATIONS)
        counts[far.profile.relation[low:high]] = far.profile.value[low:high]
        rows.append((counts @ profile.table + profile.bias).relu())
    paths, scores = model.parts(given)[0], model(given)
    for place, row in enumerate(query.candidate_owner.tolist()):
        asked = query.relation[row]
        turned = profile.question[asked] * (1 + profile.of_head(rows[row][:DIM]))
        expected = turned @ profile.of_tail(rows[place][DIM:])
        if place >= given.num_entities:
            state = torch.cat([torch.zeros(DIM), model.question[asked]])
            reached = model.last(model.hidden(state).relu())[0]
            torch.testing.assert_close(paths[place], reached)
        torch.testing.assert_close(scores[place] - paths[place], expected, atol=1e-5, rtol=1e-4)


def test_every_parameter_learns_on_meta_too() -> None:
    for device in ("cpu", "meta"):
        model = reasoner(aggregate="both", profile=True).to(device)
        given = batch(profiled=True).to(device)
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
