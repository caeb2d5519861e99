"""Rows in place of subgraphs: what they are, and that no answer is in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.batch import SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.graph.propagate import Ingredients
from kgscale.kernels.propagate import fold_of
from kgscale.sampling.precomputed import PrecomputedStrategy
from kgscale.sampling.questions import NodeQuestions, only
from tests.graphs import adjacency, graphs, ingredients, propagated, random_triples
from tests.sampling.test_strategies import Graph, batches, both_ways, questions, store

GRAPH = adjacency(
    random_triples(60, num_entities=12, num_relations=3), num_entities=12, num_relations=3
)


def strategy(given: Ingredients, **settings: object) -> PrecomputedStrategy:
    return PrecomputedStrategy(
        graph=given.graph,
        propagate=propagated(given),
        **{"batch_size": 4, "hops": 1, **settings},  # type: ignore[arg-type]
    )


def asked_triples(batch: SubgraphBatch, graph: Graph) -> set[int]:
    number = {tuple(triple): at for at, triple in enumerate(graph[0].tolist())}
    return {
        number[h, r, t] if r < graph[2] else number[t, r - graph[2], h]
        for h, r, t in questions(batch)
    }


@pytest.mark.parametrize("dim", [0, 2])
@pytest.mark.parametrize(
    "way",
    [
        {"hops": 2, "profile": 3},
        {"hops": 2, "normalize": "symmetric"},
        {"paths": "subsets", "subsets": 2},
        {"paths": "metapaths"},
    ],
    ids=lambda way: "-".join(map(str, way.values())),
)
@settings(max_examples=3)
@given(graphs(), st.integers(0, 99))
def test_rows_are_those_of_a_graph_without_the_asked_triples(
    way: dict[str, object], dim: int, graph: Graph, seed: int
) -> None:
    given = ingredients(store(graph), dim=dim)
    precomputed = strategy(given, folds=2, seed=seed, **way)
    for batch in batches(precomputed):
        asked = torch.tensor(sorted(asked_triples(batch, graph)))
        (fold,) = set(fold_of(asked, folds=2, seed=seed).tolist())
        rest = replace(given, graph=only(given.graph, ~torch.isin(given.graph.triple, asked)))
        maps = propagated(rest)(precomputed.settings)
        expected = maps.gather(batch.entity_id, fold=fold)
        of_rest = dict(zip([spec.name for spec in maps.maps], expected, strict=True))
        for spec, rows in zip(precomputed.maps.maps, batch.features, strict=True):
            assert rows.entity.tolist() == list(range(len(batch.entity_id)))
            if spec.name in of_rest:
                assert torch.equal(rows.value, of_rest[spec.name].value)
            else:  # a relation of the asked triples alone
                assert not rows.value.any()


@pytest.mark.parametrize("candidates", ["all", 3])
@settings(max_examples=20)
@given(graphs(), st.integers(0, 99))
def test_tails_of_other_folds_are_told_as_known(
    candidates: str | int, graph: Graph, seed: int
) -> None:
    """Of each question, the answers and what is known are all its tails among the candidates."""
    precomputed = strategy(ingredients(store(graph)), folds=3, seed=seed, candidates=candidates)
    facts = set(both_ways([tuple(row) for row in graph[0].tolist()], graph[2]))
    for batch in batches(precomputed):
        query, ids = batch.query, batch.entity_id.tolist()
        assert query.known is not None
        answers = set(zip(query.answer_query.tolist(), query.answer.tolist(), strict=True))
        known = set(map(tuple, query.known.tolist()))
        assert answers.isdisjoint(known)
        assert query.known[:, 0].diff().ge(0).all()
        for row, (head, relation) in enumerate(
            zip(query.head.tolist(), query.relation.tolist(), strict=True)
        ):
            true = {
                (row, place)
                for place in range(query.num_candidates)
                if (ids[head], relation, ids[place]) in facts
            }
            assert {pair for pair in answers | known if pair[0] == row} == true


def test_a_step_asks_about_one_fold_and_folds_take_turns() -> None:
    graph = (random_triples(60, num_entities=12, num_relations=3), 12, 3)
    precomputed = strategy(ingredients(GRAPH), folds=3, seed=1)
    seen = [asked_triples(batch, graph) for batch in batches(precomputed)]
    folds = [fold_of(torch.tensor(sorted(asked)), folds=3, seed=1).unique() for asked in seen]
    assert all(len(fold) == 1 for fold in folds)
    order = torch.cat(folds)
    assert set(order.tolist()) == {0, 1, 2}
    assert (order.diff() != 0).sum() > 4


def test_nodes_need_no_folds_and_may_read_labels() -> None:
    node = torch.tensor([1, 4, 5, 7])
    precomputed = strategy(
        ingredients(GRAPH, dim=2),
        questions=NodeQuestions(node, 10 * node),
        batch_size=2,
        label_hops=1,
        num_layers=2,
    )
    assert precomputed.settings.folds == 0
    assert precomputed.num_batches(world_size=1) == 2
    kinds = [spec.kind for spec in precomputed.maps.maps]
    assert kinds == ["feature", "feature", "label"]
    for batch in batches(precomputed):
        assert batch.hop_size == (2, 2, 2)
        assert len(batch.block(0, 2).source) == 0
        expected = precomputed.maps.gather(batch.entity_id)
        for rows, other in zip(batch.features, expected, strict=True):
            assert torch.equal(rows.value, other.value)


def test_what_is_not_read_is_not_gathered() -> None:
    precomputed, whole = (strategy(ingredients(GRAPH, dim=2), hops=2, folds=2) for _ in range(2))
    precomputed.read([2, 0])
    for some, every in zip(batches(precomputed), batches(whole), strict=True):
        assert len(every.features) == 3
        for rows, at in zip(some.features, (2, 0), strict=True):
            assert torch.equal(rows.value, every.features[at].value)


def test_what_is_said_of_it() -> None:
    text = strategy(ingredients(GRAPH), folds=3).describe()
    assert "propagated 1 hop over all relations together" in text
    assert "the fold (3 in all)" in text
    assert strategy(ingredients(GRAPH)).report() == {}
    with pytest.raises(ConfigError, match=r"strategy\.folds needs an int of at least 2, got 1"):
        strategy(ingredients(GRAPH), folds=1)
