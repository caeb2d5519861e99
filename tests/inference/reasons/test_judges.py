"""What a score loses without a fact: what it does lose in a graph that lacks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from kgscale.batch import FeatureRows
from kgscale.graph.adjacency import Adjacency, only
from kgscale.graph.propagate import Ingredients, Propagation
from kgscale.inference.embed import Embedder, GraphVectors, Hidden
from kgscale.inference.paths import PathScorer
from kgscale.inference.reasons import (
    Fact,
    Judge,
    MapJudge,
    PathJudge,
    Reason,
    Search,
    TableJudge,
    VectorJudge,
    Way,
    triples_of,
    weigh,
)
from kgscale.inference.reasons.ways import PathStep
from kgscale.models.decoders import DistMult
from kgscale.models.reasoners import PathReasoner
from kgscale.models.registry import build_model
from kgscale.sampling.paths import PathCutter
from kgscale.types import Triples
from tests.graph.test_propagate import typed
from tests.graphs import adjacency, graphs, propagated, random_triples

NONE = torch.empty(0, dtype=torch.int64)
Graph = tuple[Triples, int, int]
FEW = settings(max_examples=5)
LAYERED: dict[str, dict[str, Any]] = {
    "CompGCN": {"num_layers": 2},
    "RGCN": {"num_layers": 3},
    "RelationalSAGE": {"num_layers": 1},
    "RGAT": {"num_layers": 2},
    "HGT": {"num_layers": 2, "heads": 2},
    "LightGCN": {"num_layers": 2},
    "PyGConvolution": {"num_layers": 2, "conv": "GCNConv"},
}


def all_facts(triples: Triples) -> list[Fact]:
    return [Fact(PathStep(h, r, t), at) for at, (h, r, t) in enumerate(triples.tolist())]


def without(graph: Adjacency, gone: Sequence[int]) -> Adjacency:
    return only(graph, ~torch.isin(graph.triple.long(), torch.tensor(list(gone))))


@pytest.mark.parametrize("name", LAYERED)
@given(
    seed=st.integers(0, 99),
    asked=st.lists(st.integers(0, 19), min_size=1, max_size=3),
    one_way=st.booleans(),
)
@FEW
def test_vectors_are_those_of_a_graph_without_the_fact(
    name: str, seed: int, asked: list[int], one_way: bool
) -> None:
    """Also where some triples are an edge to one end alone."""
    if name == "PyGConvolution":
        pytest.importorskip("torch_geometric")
    triples = random_triples(45, num_entities=20, num_relations=2, seed=seed)
    graph = adjacency(triples, num_entities=20, num_relations=2)
    if one_way:
        generator = torch.Generator().manual_seed(seed)
        stays = torch.rand(len(graph.source), generator=generator) < 0.7
        graph = replace(only(graph, stays), one_way=True)
    spec = {
        "num_entities": 20,
        "num_relations": 2,
        "encoder": {"name": name, "dim": 4, **LAYERED[name]},
        "head": {"num_classes": 2},
    }
    model = build_model(spec, seed=seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)

    def read(vectors: Tensor) -> float:
        return float((vectors * torch.arange(1, 1 + vectors.numel()).view_as(vectors)).sum())

    def score(gone: Sequence[int]) -> float:
        made = Embedder(model=model, graph=without(graph, gone), memory=1 << 20)  # type: ignore[arg-type]
        return read(made.every.entity[torch.tensor(asked)])

    for hidden in ([], [0]):
        ends = triples[hidden][:, [0, 2]].flatten()
        embedder = Embedder(model=model, graph=graph, memory=0)  # type: ignore[arg-type]
        judge = VectorJudge(
            embedder, torch.tensor(asked), read, Hidden(torch.tensor(hidden).long(), ends)
        )
        assert judge.score == pytest.approx(score(hidden), abs=2e-3)
        facts = all_facts(triples)[1::8]
        for fact, loss in zip(facts, judge.losses(facts), strict=True):
            expected = score(hidden) - score([*hidden, fact.triple])
            assert loss == pytest.approx(expected, abs=4e-3), fact


@pytest.mark.parametrize(
    "how",
    [
        {"hops": 2},
        {"hops": 3, "label_hops": 2},
        {"hops": 1, "label_hops": 2},
        {"paths": "metapaths", "hops": 2, "label_hops": 1, "max_paths": 1000},
        {"paths": "subsets", "hops": 2, "subsets": 3},
    ],
)
@pytest.mark.parametrize("featured", [0, 1])
@given(graph=graphs(), seed=st.integers(0, 99), data=st.data())
@FEW
def test_maps_are_those_of_a_graph_without_the_fact(
    how: dict[str, Any], featured: int, graph: Graph, seed: int, data: st.DataObject
) -> None:
    given_ = typed(graph, seed, featured=featured)
    asked = data.draw(st.integers(given_.types[-1].start, given_.types[-1].stop - 1))
    _check_maps(given_, Propagation(**how), graph, asked)


@given(graph=graphs(), seed=st.integers(0, 99), data=st.data())
@FEW
def test_maps_with_symmetric_weights_too(graph: Graph, seed: int, data: st.DataObject) -> None:
    given_ = typed(graph, seed, types=1)
    asked = data.draw(st.integers(0, graph[1] - 1))
    _check_maps(given_, Propagation(hops=2, normalize="symmetric"), graph, asked)


def _check_maps(given_: Ingredients, how: Propagation, graph: Graph, asked: int) -> None:
    """Of an encoder that reads every number of every map."""
    whole = propagated(given_)(how)
    assume(whole.maps)
    spec = {
        "num_relations": graph[2],
        "num_entities": graph[1],
        "inputs": {},
        "encoder": {"name": "SIGN", "dim": 4, "maps": whole.specs(), "residual": False},
        "head": {"num_classes": 2},
    }
    model = build_model(spec, seed=0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)

    def read(vectors: Tensor) -> float:
        return float(vectors.sum())

    def score(gone: Sequence[int]) -> float:
        maps = propagated(replace(given_, graph=without(given_.graph, gone)))(how)
        # A sequence of relations that is gone altogether has no map: its rows are no more.
        found = zip(maps.maps, maps.gather(torch.tensor([asked])), strict=True)
        rows = {(m.name, m.kind, m.start): row for m, row in found}
        features = [
            rows.get(
                (m.name, m.kind, m.start),
                FeatureRows(entity=torch.tensor([0]), value=torch.zeros(1, m.dim)),
            )
            for m in whole.maps
        ]
        made = Embedder(
            model=model,  # type: ignore[arg-type]
            graph=given_.graph,
            memory=0,
            features=lambda _: tuple(features),
        )
        with made.inference():
            return read(made.rows_of(torch.tensor([asked])))

    embedder = Embedder(
        model=model,  # type: ignore[arg-type]
        graph=given_.graph,
        memory=0,
        features=whole.gather,
    )
    judge = MapJudge(
        embedder,
        torch.tensor([asked]),
        read,
        given=given_,
        settings=how,
        specs=whole.maps,
        hidden=NONE,
    )
    assert judge.score == pytest.approx(score([]), abs=5e-3)
    facts = all_facts(graph[0])[:6]
    for fact, loss in zip(facts, judge.losses(facts), strict=True):
        assert loss == pytest.approx(score([]) - score([fact.triple]), abs=1e-2), fact


@pytest.mark.parametrize("profile", [False, True])
@given(seed=st.integers(0, 99), head=st.integers(0, 11), tail=st.integers(0, 11))
@FEW
def test_a_question_is_asked_without_the_fact(
    profile: bool, seed: int, head: int, tail: int
) -> None:
    triples = random_triples(30, num_entities=12, num_relations=2, seed=seed)
    graph = adjacency(triples, num_entities=12, num_relations=2)
    generator = torch.Generator().manual_seed(seed)
    model = PathReasoner(
        num_relations=2, dim=4, num_layers=3, profile=profile, generator=generator
    ).eval()
    own = triples_of(graph, head, 1, tail).tolist()

    def score(gone: Sequence[int]) -> float:
        cutter = PathCutter(without(graph, gone), hops=3, size=12, profile=profile)
        found = PathScorer(model, cutter)(torch.tensor([head]), torch.tensor([1]))
        at = (found.sample.entity_id == tail).nonzero()[:, 0]
        if len(at):
            return float(found.score[at[0]])
        far = model.unreached(torch.tensor([1])) if found.far is None else found.far[0, tail]
        return float(far.detach())

    scorer = PathScorer(model, PathCutter(graph, hops=3, size=12, profile=profile))
    judge = PathJudge(scorer, head=head, relation=1, tail=tail)
    assert judge.score == pytest.approx(score(own), abs=1e-4)
    facts = all_facts(triples)
    for fact, loss in zip(facts, judge.losses(facts), strict=True):
        assert loss == pytest.approx(score(own) - score([*own, fact.triple]), abs=1e-4)


def test_influence_is_what_fitting_again_without_the_fact_changes() -> None:
    """The head's vector fitted to its facts, and fitted anew without each of them, by Newton's
    method; all other vectors stay."""
    torch.manual_seed(0)
    entities, relations, dim, ridge = 30, 3, 4, 0.3
    others = [
        t for t in random_triples(40, num_entities=30, num_relations=3).tolist() if 0 not in t
    ]
    facts = [[0, r, t] for r in range(3) for t in (3 + r, 9 + r, 17 + r, 25 + r)]
    triples = torch.tensor(sorted(facts + others))
    graph = adjacency(triples, num_entities=entities, num_relations=relations)
    entity, relation = torch.randn(entities, dim), torch.randn(2 * relations, dim)
    decoder = DistMult(dim=dim, num_relations=relations)

    def fitted(mine: list[list[int]]) -> Tensor:
        vector = torch.zeros(dim, dtype=torch.float64)
        answer = torch.tensor([t for _, _, t in mine])
        question = relation[[r for _, r, _ in mine]].double()

        def loss(v: Tensor) -> Tensor:
            score = (v * question) @ entity.double().T
            return functional.cross_entropy(score, answer, reduction="sum") + ridge / 2 * v @ v

        for _ in range(12):
            gradient = torch.func.grad(loss)(vector)
            vector = vector - torch.linalg.solve(torch.func.hessian(loss)(vector), gradient)
        return vector.float()

    entity[0] = fitted(facts)
    asked = (0, 1, 7)
    whole = float(decoder(entity[0], relation[1], entity[7]))
    judge = TableJudge(
        GraphVectors(entity=entity, relation=relation),
        decoder,
        graph,
        head=asked[0],
        relation=asked[1],
        tail=asked[2],
        hidden=NONE,
    )
    assert judge.score == pytest.approx(whole, abs=1e-5)
    numbers = [triples.tolist().index(fact) for fact in facts]
    told = torch.tensor(
        list(
            judge.losses([Fact(PathStep(*fact), n) for fact, n in zip(facts, numbers, strict=True)])
        )
    )
    without_one = [fitted([other for other in facts if other != fact]) for fact in facts]
    true = torch.tensor([whole - float(decoder(v, relation[1], entity[7])) for v in without_one])
    assert torch.corrcoef(torch.stack([told, true]))[0, 1] > 0.9
    assert int(told.argmax()) == int(true.argmax())


class Fixed(Judge):
    """Losses that are given."""

    score = 1.0

    def __init__(self, losses: dict[int, float]) -> None:
        self._losses = losses

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        yield from (self._losses[fact.triple] for fact in facts)


def way(*triples: int) -> Way:
    return Way(tuple(PathStep(at, 0, at + 1) for at in range(len(triples))), triples)


def shown(reasons: list[Reason]) -> list[tuple[tuple[int, ...], float]]:
    return [(reason.way.triples, reason.loss) for reason in reasons]


def test_a_path_is_as_strong_as_its_weakest_fact_and_tells_its_facts() -> None:
    """Worked by hand: (1, 2) needs both of its facts, and (1, 3) has 1 by chance."""
    judge = Fixed({1: 5.0, 2: 4.0, 3: 0.1, 4: 2.0, 5: -1.0})
    found = weigh(judge, [way(1, 3), way(1, 2), way(1), way(4), way(3), way(5), way(1)])
    # Of the facts, 1 is told by (1, 2), and 3 by (1, 3); 4 and 5 are on no path.
    assert shown(found) == [((1, 2), 4.0), ((4,), 2.0), ((1, 3), 0.1), ((5,), -1.0)]
    # Where every change counts, the largest is first, up or down.
    changes = weigh(Fixed({4: 2.0, 5: -3.0}), [way(4), way(5)], signed=False)
    assert shown(changes) == [((5,), -3.0), ((4,), 2.0)]


def test_a_fact_that_no_path_needs_stands_by_itself() -> None:
    found = weigh(Fixed({1: 5.0, 2: 1.0}), [way(1, 2), way(1), way(2)])
    assert shown(found) == [((1,), 5.0), ((1, 2), 1.0)]


def test_the_facts_of_a_search_are_weighed() -> None:
    triples = torch.tensor([[0, 0, 2], [2, 1, 1], [0, 1, 3]])
    graph = adjacency(triples, num_entities=4, num_relations=2)
    search = Search(graph, NONE)
    ways = search.paths(0, 1, 9) + search.facts(0, 9) + search.facts(1, 9)
    assert shown(weigh(Fixed({0: 1.0, 1: 2.0, 2: 3.0}), ways)) == [((2,), 3.0), ((0, 1), 1.0)]
