"""Laws of the subgraphs of single seeds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels.ego import (
    HEAVIEST,
    Asked,
    EgoSample,
    HiddenRows,
    coverage,
    ego_subgraphs,
    find_edges,
    locate,
    reference,
)
from kgscale.kernels.sample import sample_neighbors
from kgscale.kernels.threads import num_threads, set_threads
from kgscale.types import Triples
from tests import graphs
from tests.kernels.strategies import SEEDS, adjacency

Graph = tuple[Tensor, Tensor, Tensor]

PPR: dict[str, Any] = {"method": "ppr", "tolerance": 1e-4}
KHOP: dict[str, Any] = {"method": "khop", "hops": 3, "fanout": 4}
BOTH = pytest.mark.parametrize("settings", [PPR, KHOP], ids=["ppr", "khop"])


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "size": draw(st.integers(1, 35)),
        "method": draw(st.sampled_from(["ppr", "khop"])),
        "restart": draw(st.sampled_from([0.15, 0.5, 1.0])),
        "tolerance": draw(st.sampled_from([1e-6, 1e-3, 0.02, 0.3])),
        "hops": draw(st.integers(0, 3)),
        "fanout": draw(st.sampled_from([-1, 0, 1, 2, 5, 70])),
        "seed": draw(SEEDS),
    }


def small_graph(seed: int, entities: int, edges: int) -> tuple[Graph, Tensor]:
    """Some seeds come twice."""
    generator = torch.Generator().manual_seed(seed)
    arrays = adjacency(entities, edges, 4, generator)
    return arrays, torch.randint(entities, (5,), generator=generator)


def symmetric(triples: Triples, entities: int, relations: int) -> Graph:
    graph = graphs.adjacency(triples, num_entities=entities, num_relations=relations)
    return graph.indptr, graph.source, graph.relation


def lists(sample: EgoSample) -> list[list[float]]:
    return [part.tolist() for part in sample]


def apart(sample: EgoSample, seeds: int) -> list[tuple[list[Any], ...]]:
    """Each seed's entities, scores and edges, as positions and ids."""
    target = torch.arange(len(sample.entity_id)).repeat_interleave(sample.indptr.diff())
    assert torch.equal(sample.owner[target], sample.owner[sample.source.long()])
    source = sample.entity_id[sample.source.long()]
    found = []
    for i in range(seeds):
        mine, edges = sample.owner == i, sample.owner[target] == i
        parts = sample.entity_id[mine], sample.score[mine], sample.edge[edges]
        parts += source[edges], sample.entity_id[target[edges]], sample.relation[edges]
        found.append(tuple(part.tolist() for part in parts))
    return found


def hide(seed: int, rows: int, edges: int) -> tuple[HiddenRows, list[set[int]]]:
    """Some edges for each row, in any order and some twice."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(8, (rows,), generator=generator)
    edge = torch.randint(max(1, edges), (int(count.sum()),), generator=generator)
    indptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    return HiddenRows(indptr, edge), [set(part.tolist()) for part in edge.split(count.tolist())]


def ask(seed: int, seeds: int, *, relations: int = 4, reserved: int = 0) -> Asked:
    """A relation of every seed, and for every such relation the weights of all."""
    generator = torch.Generator().manual_seed(seed)
    size = (relations, relations)
    weights = torch.randint(1, HEAVIEST + 1, size, generator=generator, dtype=torch.int32)
    return Asked(torch.randint(relations, (seeds,), generator=generator), weights, reserved)


@given(
    SEEDS,
    st.integers(1, 30),
    st.integers(0, 900),
    settings(),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([0, 1, 5, 50]),
    st.booleans(),
)
def test_tiers_agree(
    seed: int,
    entities: int,
    edges: int,
    settings: dict[str, Any],
    hidden_rows: int,
    reserved: int,
    weighted: bool,
) -> None:
    arrays, seeds = small_graph(seed, entities, edges)
    asked = ask(seed, len(seeds), reserved=reserved)
    weights = asked.weights if weighted else None
    asked = asked._replace(weights=weights)
    hidden, taken = hide(seed, hidden_rows, edges) if hidden_rows else (None, [set[int]()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgscale.kernels.ego.LONGEST", 8)
        ours = ego_subgraphs(*arrays, seeds, asked=asked, hidden=hidden, **settings)
    plain = [part.tolist() for part in (*arrays, seeds)]
    taken = taken * (len(seeds) // len(taken))
    slow = reference.ego_subgraphs(
        *plain,
        asked=asked.relation.tolist(),
        weights=None if weights is None else weights[asked.relation].tolist(),
        reserved=reserved,
        hidden=taken,
        longest=8,
        **settings,
    )
    assert lists(ours)[:-1] == [*slow[:-1]]
    assert torch.equal(ours.score, torch.tensor(slow[-1]))


@given(SEEDS, st.integers(1, 30), st.integers(0, 900), settings())
def test_edges_are_all_those_among_the_entities(
    seed: int, entities: int, edges: int, settings: dict[str, Any]
) -> None:
    (indptr, source, relation), seeds = small_graph(seed, entities, edges)
    hidden, taken = hide(seed, len(seeds), edges)
    found = ego_subgraphs(indptr, source, relation, seeds, hidden=hidden, **settings)
    assert torch.equal(found.entity_id[: len(seeds)], seeds)
    assert found.owner[: len(seeds)].tolist() == list(range(len(seeds)))
    assert (found.owner[len(seeds) :].diff() >= 0).all(), "the others seed by seed"
    target = torch.arange(entities).repeat_interleave(indptr.diff())
    for i, (entity, score, edge, *ends) in enumerate(apart(found, len(seeds))):
        assert len(set(entity)) == len(entity) <= settings["size"]
        assert score[1:] == sorted(score[1:], reverse=True)
        chosen = torch.zeros(entities, dtype=torch.bool)
        chosen[entity] = True
        inside = (chosen[target] & chosen[source.long()]).nonzero()[:, 0].tolist()
        assert sorted(edge) == sorted(set(inside) - taken[i])
        assert ends == [part[edge].tolist() for part in (source, target, relation)]
    row = torch.arange(len(found.entity_id)).repeat_interleave(found.indptr.diff())
    assert (found.edge.diff()[row.diff() == 0] > 0).all(), "rows keep the order of the store"


@given(graphs.graphs(), st.sampled_from([0.15, 0.5]), st.sampled_from([1e-6, 1e-3, 0.05]))
def test_scores_bracket_the_exact_pagerank(
    graph: tuple[Triples, int, int], restart: float, tolerance: float
) -> None:
    triples, entities, relations = graph
    indptr, source, relation = symmetric(triples, entities, relations)
    push = {"method": "ppr", "restart": restart, "tolerance": tolerance}
    found = ego_subgraphs(indptr, source, relation, torch.arange(entities), size=entities, **push)
    degree = indptr.diff().double()
    target = torch.arange(entities).repeat_interleave(indptr.diff())
    walk = torch.zeros(entities, entities, dtype=torch.float64)
    walk.index_put_((target, source.long()), torch.ones(len(source)).double(), accumulate=True)
    walk[degree == 0, degree == 0] = 1  # without in-edges it stays
    walk /= walk.sum(dim=1, keepdim=True)
    exact = restart * torch.linalg.inv(torch.eye(entities).double() - (1 - restart) * walk)
    score = torch.zeros_like(exact)
    score[found.owner.long(), found.entity_id] = found.score.double()
    rounding = 1e-6  # of float32
    assert (score <= exact + rounding).all()
    assert (exact - score <= tolerance * degree + rounding).all()


@given(graphs.graphs(), st.sampled_from([0.15, 0.5]))
def test_weighted_scores_are_the_pagerank_of_a_weighted_walk(
    graph: tuple[Triples, int, int], restart: float
) -> None:
    triples, entities, relations = graph
    indptr, source, relation = symmetric(triples, entities, relations)
    asked = ask(entities, entities, relations=2 * relations)
    assert asked.weights is not None
    push = {"method": "ppr", "restart": restart, "tolerance": 1e-9, "size": entities}
    found = ego_subgraphs(indptr, source, relation, torch.arange(entities), asked=asked, **push)
    target = torch.arange(entities).repeat_interleave(indptr.diff())
    for start in range(entities):
        walk = torch.zeros(entities, entities, dtype=torch.float64)
        weight = asked.weights[asked.relation[start]][relation.long()].double()
        walk.index_put_((target, source.long()), weight, accumulate=True)
        alone = indptr.diff() == 0
        walk[alone, alone] = 1  # without in-edges it stays
        walk /= walk.sum(dim=1, keepdim=True)
        exact = restart * torch.linalg.inv(torch.eye(entities).double() - (1 - restart) * walk)
        score = torch.zeros(entities, dtype=torch.float64)
        mine = found.owner == start
        score[found.entity_id[mine]] = found.score[mine].double()
        assert torch.allclose(score, exact[start], atol=1e-5)


@pytest.mark.parametrize("weight", [1, HEAVIEST])
def test_equal_weights_choose_as_none_do(weight: int) -> None:
    arrays, seeds = small_graph(3, 60, 700)
    table = torch.full((1, 4), weight, dtype=torch.int32)
    asked = Asked(torch.zeros_like(seeds), table)
    ours = ego_subgraphs(*arrays, seeds, size=20, asked=asked, **PPR)
    plain = ego_subgraphs(*arrays, seeds, size=20, **PPR)
    assert torch.allclose(ours.score, plain.score, atol=1e-9)
    assert weight > 1 or torch.equal(ours.score, plain.score)


def test_places_are_reserved_for_what_the_relation_leads_to() -> None:
    """1, 2 and 3 are next to 0, and 4 is behind 3: the only tail of relation 1, of the far 5."""
    near = [[0, 0, 1], [0, 0, 2], [0, 0, 3]]
    arrays = symmetric(torch.tensor([*near, [3, 0, 4], [5, 1, 4]]), 6, 2)
    asked = Asked(torch.tensor([1]))

    def chosen(reserved: int, hidden: HiddenRows | None = None) -> list[int]:
        choice = {"size": 3, "asked": asked._replace(reserved=reserved), "hidden": hidden}
        return ego_subgraphs(*arrays, torch.tensor([0]), **choice, **PPR).entity_id.tolist()

    assert chosen(0) == [0, 3, 1]
    assert chosen(1) == [0, 3, 4]
    assert chosen(2) == [0, 3, 4], "others have what is left"
    ends = {"origin": torch.tensor([5]), "target": torch.tensor([4])}
    edge = find_edges(*arrays, edge_type=torch.tensor([1]), **ends)
    assert chosen(1, HiddenRows(torch.tensor([0, 1]), edge)) == [0, 3, 1], "hidden leads nowhere"


@given(graphs.graphs(), settings(), st.data())
def test_hidden_edges_might_as_well_not_exist(
    graph: tuple[Triples, int, int], settings: dict[str, Any], data: st.DataObject
) -> None:
    triples, entities, relations = graph
    hide = torch.tensor(data.draw(st.lists(st.booleans(), min_size=30, max_size=30)))
    hide = hide[: len(triples)]
    arrays = symmetric(triples, entities, relations)
    head, relation, tail = triples[hide].unbind(dim=1)
    ends = {"origin": torch.cat([head, tail]), "target": torch.cat([tail, head])}
    edge = find_edges(*arrays, edge_type=torch.cat([relation, relation + relations]), **ends)
    hidden = HiddenRows(torch.tensor([0, len(edge)]), edge)
    seeds = torch.arange(entities)
    settings["asked"] = ask(0, entities, relations=2 * relations, reserved=3)
    found = ego_subgraphs(*arrays, seeds, hidden=hidden, **settings)
    other = ego_subgraphs(*symmetric(triples[~hide], entities, relations), seeds, **settings)
    for field in ("entity_id", "indptr", "source", "relation", "owner", "score"):
        assert torch.equal(getattr(found, field), getattr(other, field)), field


@given(SEEDS, st.integers(1, 30), st.integers(0, 300), st.integers(0, 3), st.integers(-1, 5))
def test_uncut_hops_are_those_of_the_neighbour_sampler(
    seed: int, entities: int, edges: int, hops: int, fanout: int
) -> None:
    arrays, seeds = small_graph(seed, entities, edges)
    walk = {"method": "khop", "hops": hops, "fanout": fanout, "seed": seed}
    found = apart(ego_subgraphs(*arrays, seeds, size=entities, **walk), len(seeds))
    for start, (entity, score, *_) in zip(seeds, found, strict=True):
        sample = sample_neighbors(*arrays, start[None], [fanout] * hops, seed=seed)
        assert entity == sample.entity_id.tolist()
        reached = [sum(-far <= hop for far in score) for hop in range(hops + 1)]
        assert reached == list(sample.hop_size)


@BOTH
def test_a_seed_depends_on_nothing_else_in_its_batch(settings: dict[str, Any]) -> None:
    arrays, _ = small_graph(3, 60, 700)
    generator = torch.Generator().manual_seed(0)
    seeds = torch.randint(60, (90,), generator=generator)
    hidden, _ = hide(0, len(seeds), 700)
    together = ego_subgraphs(*arrays, seeds, size=12, hidden=hidden, **settings)
    expected = apart(together, len(seeds))
    for i in range(0, len(seeds), 4):
        edge = hidden.edge[hidden.indptr[i] : hidden.indptr[i + 1]]
        own = HiddenRows(torch.tensor([0, len(edge)]), edge)
        alone = ego_subgraphs(*arrays, seeds[i : i + 1], size=12, hidden=own, **settings)
        assert apart(alone, 1) == expected[i : i + 1]


@BOTH
def test_repeated_seeds_have_a_copy_each(settings: dict[str, Any]) -> None:
    arrays, _ = small_graph(3, 60, 700)
    found = ego_subgraphs(*arrays, torch.tensor([7, 9, 7]), size=12, **settings)
    first, other, second = apart(found, 3)
    assert first == second != other
    assert len(first[0]) == 12


@BOTH
def test_threads_and_reused_memory_change_nothing(settings: dict[str, Any]) -> None:
    arrays, _ = small_graph(4, 300, 9000)
    batches = torch.randperm(300, generator=torch.Generator().manual_seed(0)).split(100)

    def cut(seeds: Tensor) -> list[list[float]]:
        return lists(ego_subgraphs(*arrays, seeds, size=20, **settings))

    before = num_threads()
    try:
        set_threads(1)
        expected = [cut(seeds) for seeds in batches]
        set_threads(3)
        assert [cut(seeds) for seeds in batches] == expected
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(cut, batches)) == expected
    finally:
        set_threads(before)


@BOTH
def test_labels_expire_and_room_grows(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, seeds = small_graph(4, 50, 900)
    expected = lists(ego_subgraphs(*arrays, seeds, size=20, **settings))
    for name in ("sample", "ego.cut"):
        monkeypatch.setattr(f"kgscale.kernels.{name}.MAX_LABEL", 200)
    monkeypatch.setattr("kgscale.kernels.ego.cut.LEAST_ROOM", 1)
    monkeypatch.setattr("kgscale.kernels.ego.cut._own", threading.local())
    for _ in range(20):
        assert lists(ego_subgraphs(*arrays, seeds, size=20, **settings)) == expected


@BOTH
def test_integers_of_any_width(settings: dict[str, Any]) -> None:
    arrays, seeds = small_graph(4, 50, 900)
    expected = ego_subgraphs(*arrays, seeds, size=20, **settings)
    kinds = (torch.int64, torch.int64, torch.int32)
    wider = [array.to(kind) for array, kind in zip(arrays, kinds, strict=True)]
    found = ego_subgraphs(*wider, seeds.int(), size=20, **settings)
    assert lists(found) == lists(expected)
    assert found.edge.dtype == torch.int64


@BOTH
def test_isolated_seeds_and_subgraphs_of_one(settings: dict[str, Any]) -> None:
    loop = torch.tensor([[0, 0, 0], [0, 0, 1]])  # a loop at 0, an edge to 1; 2 stands alone
    arrays = symmetric(loop, 3, 1)
    alone = ego_subgraphs(*arrays, torch.tensor([2, 2]), size=5, **settings)
    assert lists(alone)[:2] == [[2, 2], [0, 0, 0]]
    one = ego_subgraphs(*arrays, torch.tensor([0, 1]), size=1, **settings)
    assert one.entity_id.tolist() == [0, 1]
    assert one.indptr.tolist() == [0, 2, 2], "the loop, in both directions"
    none = ego_subgraphs(*arrays, torch.tensor([], dtype=torch.int64), size=5, **settings)
    assert lists(none) == [[], [0], [], [], [], [], []]


def test_an_isolated_seed_keeps_all_its_mass() -> None:
    arrays = symmetric(torch.tensor([[0, 0, 1]]), 3, 1)
    assert ego_subgraphs(*arrays, torch.tensor([2]), size=3, **PPR).score.tolist() == [1]


def test_equal_scores_go_by_id() -> None:
    star = torch.tensor([[0, 0, leaf] for leaf in range(1, 40)])
    found = ego_subgraphs(*symmetric(star, 40, 1), torch.tensor([0]), size=5, **PPR)
    assert found.entity_id.tolist() == [0, 1, 2, 3, 4]


def test_a_seed_of_too_many_edges_spreads_over_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.kernels.ego.LONGEST", 8)
    star = torch.tensor([[0, 0, leaf] for leaf in range(1, 200)])
    arrays, rough = symmetric(star, 200, 1), {"method": "ppr", "tolerance": 0.1, "size": 6}
    draws = {
        tuple(ego_subgraphs(*arrays, torch.tensor([0]), seed=seed, **rough).entity_id.tolist())
        for seed in range(20)
    }
    assert len(draws) == 20
    assert all(len(set(draw)) == 6 and draw[0] == 0 for draw in draws)


def test_few_entities_of_a_long_row_are_searched_for() -> None:
    """Two leaves and a hub of 3,000 in-edges: runs far beyond the patience of a scan."""
    triples = torch.tensor([[leaf, leaf % 2, 0] for leaf in range(1, 3001)] + [[1, 2, 2]])
    arrays = symmetric(triples, 3001, 3)
    found = ego_subgraphs(*arrays, torch.tensor([1]), size=3, method="ppr", tolerance=1e-3)
    assert sorted(found.entity_id.tolist()) == [0, 1, 2]
    *_, source, target, kind = apart(found, 1)[0]
    edges = set(zip(source, kind, target, strict=True))
    assert edges == {(1, 1, 0), (0, 4, 1), (2, 0, 0), (0, 3, 2), (1, 2, 2), (2, 5, 1)}


@given(graphs.graphs())
def test_edges_are_found_where_they_are(graph: tuple[Triples, int, int]) -> None:
    triples, entities, relations = graph
    arrays = symmetric(triples, entities, relations)
    every = torch.cartesian_prod(*map(torch.arange, (entities, 2 * relations, entities)))
    origin, kind, target = every.unbind(dim=1)
    found = find_edges(*arrays, origin=origin, edge_type=kind, target=target)
    there, (indptr, source, relation) = found >= 0, arrays
    assert sorted(found[there].tolist()) == list(range(len(source)))
    assert torch.equal(source[found[there]].long(), origin[there])
    assert torch.equal(relation[found[there]].long(), kind[there])
    row = torch.searchsorted(indptr.long(), found[there], right=True) - 1
    assert torch.equal(row, target[there])


def test_coverage_by_hand() -> None:
    owner = torch.tensor([0, 1, 0, 0, 1], dtype=torch.int32)
    entity_id = torch.tensor([5, 5, 2, 8, 9])
    seed_position = torch.tensor([0, 1, 0, 1, 1, 0])
    answer = torch.tensor([2, 2, 9, 9, 5, 100])
    assert locate(owner, entity_id, seed_position, answer).tolist() == [2, -1, -1, 4, 1, -1]
    found = coverage(owner, entity_id, seed_position, answer)
    assert found.tolist() == [True, False, False, True, True, False]
    assert coverage(owner, entity_id, answer[:0], answer[:0]).tolist() == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size must be at least 1.*got 0"),
        ({"restart": 0.0}, "restart.*got 0.0"),
        ({"tolerance": 0.0}, "tolerance.*got 0.0"),
        ({"fanout": -2}, "fanout.*got 2, -2"),
        ({"seeds": torch.tensor([3, 50])}, "among 50 entities, got 50"),
        ({"hidden": HiddenRows(torch.zeros(3).int(), torch.zeros(0).int())}, "5 seeds, got 2"),
        ({"asked": Asked(torch.arange(4))}, "each of 5 seeds, got 4"),
        ({"asked": Asked(torch.arange(5), reserved=-1)}, "reserved.*got -1"),
        ({"asked": Asked(torch.arange(5), torch.ones(2, 4).int())}, "of 2 relations"),
        ({"asked": Asked(torch.zeros(5).long(), torch.zeros(1, 4).int())}, "from 1 to"),
        ({"hidden": HiddenRows(torch.tensor([0, 1]), torch.tensor([900]))}, "among 900, got 900"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], message: str) -> None:
    arrays, seeds = small_graph(4, 50, 900)
    with pytest.raises(ValueError, match=message):
        ego_subgraphs(*arrays, **{"seeds": seeds, "size": 5, "method": "ppr", **wrong})
