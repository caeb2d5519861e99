"""Laws of every strategy; the first is the one that everything rests on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.batch import NodeQueries, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.adjacency import both_ways as undirected_graph
from kgscale.graph.partition import Partition
from kgscale.graph.propagate import Propagated
from kgscale.kernels.propagate import fold_of
from kgscale.sampling.base import Strategy
from kgscale.sampling.cluster import ClusterStrategy
from kgscale.sampling.full_batch import FullBatchStrategy
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.sampling.precomputed import PrecomputedStrategy, Propagator
from kgscale.sampling.questions import NodeQuestions, Questions, only
from kgscale.sampling.random_nodes import RandomNodesStrategy
from kgscale.sampling.subgraph import SubgraphStrategy
from kgscale.types import Triples
from tests.graphs import adjacency, graphs, ingredients, propagated, random_triples

Graph = tuple[Triples, int, int]
Triple = tuple[int, int, int]
Make = Callable[..., Strategy]
"""Of a graph, a number of layers, a seed, and perhaps questions."""


def parts(*, parts: int, method: str, seed: int) -> Partition:
    """Entity ``i`` in part ``i % parts``, of a graph with twelve entities at most."""
    del method, seed
    part = torch.arange(12) % parts
    return Partition(
        part=part.int(),
        indptr=torch.cat([torch.zeros(1, dtype=torch.int64), part.bincount().cumsum(0)]),
        member=part.argsort(stable=True),
        method="metis",
    )


def neighbor(graph: Adjacency, layers: int, seed: int, **asks: Questions) -> NeighborStrategy:
    return NeighborStrategy(
        graph=graph,
        num_layers=layers,
        fanout=[(-1, 1, 2)[(seed + layer) % 3] for layer in range(layers)],
        batch_size=3,
        candidates=("all", 1, 100)[seed % 3],
        per_relation=bool(seed & 1),
        seed=seed,
        **asks,
    )


def full_batch(graph: Adjacency, layers: int, seed: int, **asks: Questions) -> FullBatchStrategy:
    share = (1.0, 0.5, 0.3)[seed % 3]
    return FullBatchStrategy(graph=graph, num_layers=layers, query_share=share, seed=seed, **asks)


def random_nodes(
    graph: Adjacency, layers: int, seed: int, **asks: Questions
) -> RandomNodesStrategy:
    return RandomNodesStrategy(graph=graph, num_layers=layers, batch_size=5, seed=seed, **asks)


def cluster(graph: Adjacency, layers: int, seed: int, **asks: Questions) -> ClusterStrategy:
    entities = len(graph.indptr) - 1
    return ClusterStrategy(
        graph=graph,
        partition=lambda **settings: first_entities(parts(**settings), entities),
        num_layers=layers,
        parts=min(4, entities),
        per_batch=1 + seed % 2,
        hubs=seed % 3,
        halo=(0, 1, 5)[seed // 3 % 3],
        query_share=0.5,
        seed=seed,
        **asks,
    )


def first_entities(partition: Partition, entities: int) -> Partition:
    part = partition.part[:entities]
    count = part.bincount(minlength=len(partition.indptr) - 1)
    indptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    return Partition(part=part, indptr=indptr, member=part.argsort(stable=True), method="metis")


def subgraph(graph: Adjacency, layers: int, seed: int, **asks: Questions) -> SubgraphStrategy:
    return SubgraphStrategy(
        graph=graph,
        num_layers=layers,
        size=(1, 4, 12)[seed % 3],
        batch_size=3,
        method=("ppr", "khop")[seed % 2],
        candidates=("all", 2)[seed // 2 % 2],
        seed=seed,
        **asks,
    )


def precomputed(
    graph: Adjacency,
    layers: int,
    seed: int,
    *,
    propagate: Propagator = lambda settings: Propagated([], [], [[]] * settings.folds),
    **asks: Questions,
) -> PrecomputedStrategy:
    """Without maps, for those laws that are not about them."""
    return PrecomputedStrategy(
        graph=graph,
        propagate=propagate,
        hops=1 + seed % 2,
        profile=3,
        num_layers=layers,
        folds=2 + seed % 2,
        batch_size=3,
        candidates=("all", 2)[seed // 2 % 2],
        seed=seed,
        **asks,
    )


def with_maps(graph: Adjacency, layers: int, seed: int) -> PrecomputedStrategy:
    maps = propagated(ingredients(graph, dim=seed % 2))
    return precomputed(graph, layers, seed, propagate=maps)


ALL = [neighbor, full_batch, random_nodes, cluster, subgraph, precomputed]
STRATEGIES = pytest.mark.parametrize("make", ALL)
FEW = settings(max_examples=25)
"""Of small graphs, for each of many strategies."""
LAYERS, SEED = st.integers(0, 2), st.integers(0, 20)


def store(graph: Graph) -> Adjacency:
    triples, num_entities, num_relations = graph
    return adjacency(triples, num_entities=num_entities, num_relations=num_relations)


def questions(batch: SubgraphBatch) -> list[Triple]:
    """What is asked with its answers, reciprocal relations as they are."""
    query = batch.query
    head = batch.entity_id[query.head][query.answer_query].tolist()
    relation = query.relation[query.answer_query].tolist()
    tail = batch.entity_id[query.answer].tolist()
    return list(zip(head, relation, tail, strict=True))


def messages(batch: SubgraphBatch) -> list[Triple]:
    """All edges of the batch as (source, relation, target) with global entities."""
    row = torch.arange(len(batch.indptr) - 1).repeat_interleave(batch.indptr.diff())
    source, target = batch.entity_id[batch.source.long()], batch.entity_id[row]
    columns = (source.tolist(), batch.relation.tolist(), target.tolist())
    return list(zip(*columns, strict=True))


def both_ways(triples: list[Triple], num_relations: int) -> list[Triple]:
    back = [(t, (r + num_relations) % (2 * num_relations), h) for h, r, t in triples]
    return triples + back


def one_way(triples: torch.Tensor) -> torch.Tensor:
    """Pairs of two, each once."""
    head, relation, tail = triples.unbind(dim=1)
    columns = torch.minimum(head, tail), relation, torch.maximum(head, tail)
    found = torch.unique(torch.stack(columns, dim=1), dim=0)
    rows = found[found[:, 0] != found[:, 2]]
    return rows if len(rows) else torch.tensor([[0, 0, 1]])


def batches(strategy: Strategy, *, world_size: int = 1, epoch: int = 0) -> list[SubgraphBatch]:
    return [
        strategy.batch(epoch, index, rank=rank, world_size=world_size)
        for index in range(strategy.num_batches(world_size=world_size))
        for rank in range(world_size)
    ]


@STRATEGIES
def test_nothing_is_left_to_prepare_for_a_step(make: Make) -> None:
    triples = random_triples(30, num_entities=12, num_relations=2)
    strategy = make(store((triples, 12, 2)), 1, 0)
    strategy.prepare()
    for name in ("_partition", "_propagate"):
        setattr(strategy, name, None)
    assert batches(strategy)


def check_rows(
    strategy: PrecomputedStrategy, batch: SubgraphBatch, train: Adjacency, asked: torch.Tensor
) -> None:
    """The batch's rows are those of a graph that never had the asked triples."""
    settings = strategy.settings
    (fold,) = fold_of(asked, folds=settings.folds, seed=settings.seed).unique().tolist()
    given = ingredients(only(train, ~torch.isin(train.triple, asked)), dim=settings.seed % 2)
    expected = propagated(given)(settings).gather(batch.entity_id, fold=fold)
    for found, wanted in zip(batch.features, expected, strict=True):
        assert torch.equal(found.value, wanted.value)


@pytest.mark.parametrize("make", [*ALL[:-1], with_maps])
@FEW
@given(graphs(), LAYERS, SEED, st.integers(1, 2), st.booleans())
def test_no_answer_reaches_message_passing(
    make: Make, graph: Graph, layers: int, seed: int, world_size: int, undirected: bool
) -> None:
    """All that a batch reads, edges or rows, is there without the triples that it asks about, and
    where they hold both ways, without those that say the same."""
    if undirected:
        graph = (one_way(graph[0]), *graph[1:])
    train = undirected_graph(store(graph)) if undirected else store(graph)
    strategy = make(train, layers, seed)
    for batch in batches(strategy, world_size=world_size, epoch=seed):
        asked_here = questions(batch)
        hidden = set(both_ways(asked_here, graph[2]))
        if undirected:
            hidden |= set(both_ways([(t, r, h) for h, r, t in asked_here], graph[2]))
        assert hidden.isdisjoint(messages(batch))
        if isinstance(strategy, PrecomputedStrategy):
            asked = [at for at, triple in enumerate(graph[0].tolist()) if tuple(triple) in hidden]
            check_rows(strategy, batch, train, torch.tensor(asked))


@STRATEGIES
@FEW
@given(graphs(), LAYERS, SEED)
def test_everything_is_of_the_train_graph(make: Make, graph: Graph, layers: int, seed: int) -> None:
    known = set(both_ways([tuple(row) for row in graph[0].tolist()], graph[2]))
    for batch in batches(make(store(graph), layers, seed)):
        assert set(messages(batch)) <= known
        assert set(questions(batch)) <= known
        own = batch.entity_id if make is not subgraph else batch.entity_id[: batch.hop_size[0]]
        assert len(own.unique()) == len(own)
        query = batch.query
        assert (query.answer < query.num_candidates).all()
        assert query.num_candidates <= batch.hop_size[0]
        assert (query.answer_query.diff() >= 0).all()
        asked = list(zip(query.head.tolist(), query.relation.tolist(), strict=True))
        assert len(set(asked)) == len(asked), "questions are distinct"
        assert sorted(set(query.answer_query.tolist())) == list(range(len(asked)))


@STRATEGIES
@FEW
@given(graphs(), LAYERS, SEED)
def test_blocks_fit_together(make: Make, graph: Graph, layers: int, seed: int) -> None:
    for batch in batches(make(store(graph), layers, seed)):
        rows = batch.num_entities
        for layer in range(layers):
            block = batch.block(layer, layers)
            assert block.num_targets <= rows
            assert block.indptr[-1] == len(block.source) == len(block.relation)
            assert (block.source < rows).all()
            rows = block.num_targets
        assert rows >= batch.hop_size[0]


@STRATEGIES
@FEW
@given(graphs(), SEED, st.integers(1, 3))
def test_steps_know_what_all_ranks_ask(
    make: Make, graph: Graph, seed: int, world_size: int
) -> None:
    found = batches(make(store(graph), 1, seed), world_size=world_size)
    for start in range(0, len(found), world_size):
        step = found[start : start + world_size]
        (queries,) = {batch.query.step_queries for batch in step}
        (answers,) = {batch.query.step_answers for batch in step}
        assert queries == max(1, sum(len(batch.query.head) for batch in step))
        assert answers == max(1, sum(len(batch.query.answer) for batch in step))


@STRATEGIES
def test_a_batch_is_a_pure_function_of_its_coordinates(make: Make) -> None:
    graph = store((random_triples(60, num_entities=12, num_relations=3), 12, 3))
    first, second = make(graph, 2, 1), make(graph, 2, 1)
    second.batch(5, 0, rank=0, world_size=1)
    one = first.batch(1, 0, rank=0, world_size=1)
    other = second.batch(1, 0, rank=0, world_size=1)
    assert torch.equal(one.entity_id, other.entity_id)
    assert questions(one) == questions(other)
    assert messages(one) == messages(other)
    assert questions(first.batch(2, 0, rank=0, world_size=1)) != questions(one)


@pytest.mark.parametrize("make", [neighbor, full_batch, subgraph, precomputed])
@FEW
@given(graphs(), SEED, st.integers(1, 3), st.integers(0, 2))
def test_an_epoch_asks_every_train_triple_once_from_each_side(
    make: Make, graph: Graph, seed: int, world_size: int, epoch: int
) -> None:
    found = batches(make(store(graph), 1, seed), world_size=world_size, epoch=epoch)
    seen = [asked for batch in found for asked in questions(batch)]
    expected = both_ways([tuple(row) for row in graph[0].tolist()], graph[2])
    assert sorted(seen) == sorted(expected)


def held(batch: SubgraphBatch, num_relations: int) -> set[Triple]:
    """All edges that a batch was cut from: messages, and what was hidden of both directions."""
    asked = questions(batch)
    return {*messages(batch), *both_ways(asked, num_relations)}


def test_visits_of_a_union_ask_each_of_its_edges_once() -> None:
    graph = store((random_triples(60, num_entities=12, num_relations=3), 12, 3))
    strategy = random_nodes(graph, 1, 2)
    steps, unions = strategy.num_batches(world_size=1), -(-12 // 5)
    assert steps == 2 * unions
    for union in range(unions):
        one, two = (
            strategy.batch(0, step, rank=0, world_size=1) for step in (union, union + unions)
        )
        assert held(one, 3) == held(two, 3)
        assert {*questions(one), *questions(two)} == held(one, 3)
        assert set(questions(one)).isdisjoint(questions(two))


def test_a_question_is_asked_with_all_its_answers_inside() -> None:
    """Each score row then serves several answers."""
    graph = store((random_triples(60, num_entities=12, num_relations=1), 12, 1))
    for batch in batches(random_nodes(graph, 1, 2)):
        inside = held(batch, 1)
        asked = {(head, relation) for head, relation, _ in questions(batch)}
        answers = [fact for fact in inside if fact[:2] in asked]
        assert sorted(questions(batch)) == sorted(answers)


def test_an_edge_that_several_unions_hold_is_kept_once() -> None:
    """Hubs are in every union, and so are the edges between them."""
    graph = store((random_triples(60, num_entities=12, num_relations=3), 12, 3))
    union = ClusterStrategy(
        graph=graph, partition=parts, num_layers=1, parts=4, per_batch=1, hubs=6, query_share=1.0
    )
    kept = {edge for batch in batches(union) for edge in held(batch, 3)}
    assert union.report()["edges_kept"] == pytest.approx(len(kept) / len(graph.source))
    relation = graph.relation.long() % 3
    of_each = [sum(r % 3 == number for _, r, _ in kept) for number in range(3)]
    expected = [n / int((relation == number).sum()) for number, n in enumerate(of_each)]
    assert union.relations_kept() == pytest.approx(expected)
    assert union.report()["edges_kept_worst_relation"] == pytest.approx(min(expected))


def test_degrees_are_told_where_edges_are_beyond_the_cut() -> None:
    """A halo's own in-edges are not in the batch, and it has them all the same."""
    graph = store((random_triples(60, num_entities=12, num_relations=3), 12, 3))
    for halo in (0, 2):
        strategy = ClusterStrategy(
            graph=graph, partition=parts, num_layers=1, parts=4, per_batch=1, halo=halo
        )
        for batch in batches(strategy):
            if halo:
                assert batch.degree is not None
                assert torch.equal(batch.degree, graph.indptr.diff()[batch.entity_id])
            else:
                assert batch.degree is None


@pytest.mark.parametrize("make", [random_nodes, cluster])
def test_every_entity_is_in_some_batch_of_an_epoch(make: Make) -> None:
    graph = store((random_triples(60, num_entities=12, num_relations=3), 12, 3))
    for world_size in (1, 2, 3):
        found = batches(make(graph, 1, 4), world_size=world_size)
        seen = torch.cat([batch.entity_id for batch in found]).unique()
        assert seen.tolist() == list(range(12))


@STRATEGIES
@FEW
@given(graphs(), SEED, st.integers(1, 2), st.sets(st.integers(0, 11), min_size=1))
def test_every_labelled_entity_is_asked_once_an_epoch(
    make: Make, graph: Graph, seed: int, world_size: int, labelled: set[int]
) -> None:
    node = torch.tensor(sorted(labelled))
    node = node[node < graph[1]]
    seed -= seed % 3  # no hubs, which are asked about in every union
    strategy = make(store(graph), 1, seed, questions=NodeQuestions(node, 10 * node))
    found = batches(strategy, world_size=world_size, epoch=seed)
    asked = []
    for batch in found:
        assert isinstance(batch.query, NodeQueries)
        entity = batch.entity_id[batch.query.node]
        assert torch.equal(batch.query.label, 10 * entity)
        assert (batch.query.node < batch.hop_size[0]).all()
        asked += entity.tolist()
    assert sorted(asked) == node.tolist()


def test_a_union_holds_all_edges_between_its_parts() -> None:
    """Cluster-GCN's point: the edges between the parts of a batch are put back."""
    triples = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3], [4, 0, 0]])
    graph = store((triples, 5, 1))
    union = ClusterStrategy(
        graph=graph,
        partition=lambda **settings: first_entities(parts(**settings), 5),
        num_layers=1,
        parts=5,
        per_batch=3,
        query_share=0.5,
    )
    for batch in batches(union):
        inside = set(batch.entity_id.tolist())
        expected = [tuple(row) for row in triples.tolist() if {row[0], row[2]} <= inside]
        assert held(batch, 1) == set(both_ways(expected, 1))


@pytest.mark.parametrize(
    "settings",
    [
        {"parts": 0},
        {"per_batch": 9},
        {"halo": -1},
        {"hubs": -1},
        {"query_share": 0.0},
        {"query_share": 1.5},
    ],
)
def test_senseless_settings_of_clusters_are_refused(settings: dict[str, float]) -> None:
    graph = store((random_triples(9, num_entities=5, num_relations=1), 5, 1))
    whole = {"parts": 4, "per_batch": 2, **settings}
    with pytest.raises(ConfigError, match=rf"strategy\.{next(iter(settings))}"):
        ClusterStrategy(graph=graph, partition=parts, num_layers=1, **whole)  # type: ignore[arg-type]
