"""Adjacency and known facts against the plain definition."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.triples import TripleFiles
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import add_reciprocal, inverse
from kgscale.graph.store import GraphStore, prepare
from tests.graph.test_store import given_splits, some_rows

row = st.tuples(st.sampled_from("abcdefg"), st.sampled_from("rst"), st.sampled_from("abcdefg"))
rows = st.lists(row, min_size=1, max_size=40)
EVERY_RELATION = [("a", relation, "a") for relation in "rst"]


def in_edges(store: GraphStore, splits: tuple[str, ...]) -> list[list[tuple[int, int, int]]]:
    """(relation, source, row) of each entity; a triple that comes again counts once."""
    triples = torch.cat([store.triples(split) for split in splits]).tolist()
    edges: list[list[tuple[int, int, int]]] = [[] for _ in range(store.num_entities)]
    seen = set()
    for number, (head, relation, tail) in enumerate(triples):
        if (head, relation, tail) not in seen:
            seen.add((head, relation, tail))
            edges[tail].append((relation, head, number))
            edges[head].append((relation + store.num_relations, tail, number))
    return [sorted(found) for found in edges]


def found_edges(adjacency: Adjacency) -> list[list[tuple[int, int, int]]]:
    columns = adjacency.relation.tolist(), adjacency.source.tolist(), adjacency.triple.tolist()
    edges = list(zip(*columns, strict=True))
    return [edges[a:b] for a, b in pairwise(adjacency.indptr.tolist())]


@settings(max_examples=10)
@given(rows, rows, rows, st.sampled_from([2, 1 << 16]))
def test_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    train: list[tuple[str, str, str]],
    valid: list[tuple[str, str, str]],
    test: list[tuple[str, str, str]],
    piece: int,
) -> None:
    root = tmp_path_factory.mktemp("store")
    path = given_splits(root / "data", train + EVERY_RELATION, valid, test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgscale.graph.compress.PIECE", piece)
        store = prepare(TripleFiles(path=path), root)
    assert found_edges(store.adjacency()) == in_edges(store, ("train",))
    known = store.adjacency(known=True)
    assert found_edges(known) == in_edges(store, ("train", "valid", "test"))
    check_known(store, KnownFacts(known))


def check_known(store: GraphStore, known: KnownFacts) -> None:
    size = store.num_relations
    triples = torch.cat([store.triples(split) for split in ("train", "valid", "test")])
    answers: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in add_reciprocal(triples, num_relations=size).tolist():
        answers.setdefault((head, relation), set()).add(tail)
    head, relation = torch.cartesian_prod(
        torch.arange(store.num_entities), torch.arange(2 * size)
    ).unbind(dim=1)
    indptr, tails = known.tails(head, relation)
    for i, question in enumerate(zip(head.tolist(), relation.tolist(), strict=True)):
        assert tails[indptr[i] : indptr[i + 1]].tolist() == sorted(answers.get(question, ()))


def test_no_questions(tmp_path: Path) -> None:
    path = given_splits(tmp_path / "data", some_rows(9), some_rows(9), some_rows(9))
    known = KnownFacts(prepare(TripleFiles(path=path), tmp_path).adjacency(known=True))
    nothing = torch.zeros(0, dtype=torch.int64)
    indptr, tails = known.tails(nothing, nothing)
    assert indptr.tolist() == [0]
    assert len(tails) == 0


def test_widths_follow_the_counts(tmp_path: Path) -> None:
    path = given_splits(tmp_path / "data", *[some_rows()] * 3)
    adjacency = prepare(TripleFiles(path=path), tmp_path).adjacency()
    assert adjacency.indptr.dtype == adjacency.source.dtype == adjacency.triple.dtype == torch.int32
    assert adjacency.relation.dtype == torch.int16


@given(st.integers(1, 9), st.data())
def test_reciprocal_of_reciprocal(size: int, data: st.DataObject) -> None:
    relation = data.draw(st.integers(0, 2 * size - 1))
    other = inverse(relation, num_relations=size)
    assert abs(other - relation) == size
    assert inverse(other, num_relations=size) == relation
    assert inverse(torch.tensor([relation]), num_relations=size).tolist() == [other]


@settings(max_examples=10)
@given(rows, rows)
def test_a_pair_is_one_triple_and_holds_both_ways(
    tmp_path_factory: pytest.TempPathFactory,
    train: list[tuple[str, str, str]],
    test: list[tuple[str, str, str]],
) -> None:
    root = tmp_path_factory.mktemp("store")
    start = [("a", relation, "b") for relation in "rst"]
    other, test = [("b", "r", "c")], [("c", "s", "b"), *test]
    path = given_splits(root / "data", [*start, *train], other, test)
    store = prepare(TripleFiles(path=path, undirected=True), root)
    known: set[tuple[int, int, int]] = set()
    splits = {"train": [*start, *train], "valid": other, "test": test}
    for split, given_rows in splits.items():
        wanted = {(*sorted((h, t)), r) for h, r, t in given_rows if h != t}
        triples = store.triples(split)
        head, tail = (store.entity_keys(triples[:, at]) for at in (0, 2))
        relation = store.relation_keys(triples[:, 1])
        assert {*zip(head, tail, relation, strict=True)} == wanted
        # Every edge of either direction stands with every triple's id.
        for h, r, t in triples.tolist():
            known |= {(h, r, t), (t, r, h)}
        if split == "valid":
            continue
        graph = store.adjacency(known=split == "test")
        row = torch.arange(store.num_entities).repeat_interleave(graph.indptr.diff())
        forward = graph.relation < store.num_relations
        columns = graph.source[forward], graph.relation[forward], row[forward]
        found = list(zip(*(part.tolist() for part in columns), strict=True))
        assert {*found} == known
        assert len(found) == len(known)
        order = torch.stack([row, graph.relation.long(), graph.source.long()])
        assert order.T.tolist() == sorted(order.T.tolist())
    facts = KnownFacts(store.adjacency(known=True))
    for entity in range(store.num_entities):
        for relation in range(2 * store.num_relations):
            _, tails = facts.tails(torch.tensor([entity]), torch.tensor([relation]))
            own = {t for h, r, t in known if h == entity and r == relation % store.num_relations}
            assert set(tails.tolist()) == own
