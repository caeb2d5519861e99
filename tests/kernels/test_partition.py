"""Laws of graph partitioning; the compiled loops equal the slow ones."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels.partition import (
    capacity,
    count_inside,
    group,
    merge_edges,
    reference,
    stream_partition,
)
from kgscale.kernels.sample.reference import mix
from tests.kernels.strategies import SEEDS, adjacency

Method = Literal["ldg", "fennel"]
METHODS: tuple[Method, ...] = ("ldg", "fennel")
BALANCES = st.sampled_from([1.0, 1.05, 1.5, 100.0])


def both_ways(head: Tensor, tail: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Undirected edges as rows."""
    target, source = torch.cat([head, tail]), torch.cat([tail, head])
    order = torch.argsort(target * nodes + source)
    indptr = torch.searchsorted(target[order], torch.arange(nodes + 1)).int()
    return indptr, source[order].int()


def random_graph(seed: int, nodes: int, edges: int) -> tuple[Tensor, Tensor]:
    """Hubs, loners, several edges between two nodes, and loops."""
    generator = torch.Generator().manual_seed(seed)
    head = (torch.rand(edges, generator=generator) ** 3 * nodes).long()
    return both_ways(head, torch.randint(nodes, (edges,), generator=generator), nodes)


def share_inside(indptr: Tensor, source: Tensor, part: Tensor) -> float:
    relation = torch.zeros(len(source), dtype=torch.int16)
    inside, edges = count_inside(indptr, source, relation, part, num_relations=1)
    return int(inside) / int(edges)


@given(
    SEEDS,
    st.integers(1, 30),
    st.integers(0, 120),
    st.integers(1, 9),
    st.sampled_from(METHODS),
    BALANCES,
    st.integers(1, 6),
)
def test_compiled_streams_like_the_reference(
    seed: int, nodes: int, edges: int, parts: int, method: Method, balance: float, passes: int
) -> None:
    indptr, source = random_graph(seed, nodes, edges)
    settings = {"parts": parts, "passes": passes}
    found = stream_partition(indptr, source, method=method, balance=balance, seed=seed, **settings)
    room = capacity(nodes, parts, balance)
    weight = reference.fennel_weight(nodes, edges, parts) if method == "fennel" else None
    settings |= {"room": room, "weight": weight, "start": mix(seed) % nodes}
    assert found.tolist() == reference.stream_partition(
        indptr.tolist(), source.tolist(), **settings
    )
    assert found.min() >= 0
    sizes = found.bincount(minlength=parts)
    assert len(sizes) == parts, "every node is in one of the parts"
    assert sizes.max() <= room


@given(st.integers(1, 200), st.integers(1, 50), BALANCES)
def test_capacity(nodes: int, parts: int, balance: float) -> None:
    room = capacity(nodes, parts, balance)
    assert nodes <= room * parts
    assert room <= nodes
    assert room - 1 < balance * nodes / parts + 1e-9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("passes", [3, 20])
def test_two_cliques_come_apart(method: Method, passes: int) -> None:
    pair = torch.combinations(torch.arange(10))
    head, tail = torch.cat([pair, pair + 10, torch.tensor([[3, 14]])]).T
    shuffle = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    indptr, source = both_ways(shuffle[head], shuffle[tail], 20)
    part = stream_partition(indptr, source, parts=2, method=method, passes=passes)[shuffle]
    assert (part[:10] == part[0]).all()
    assert (part[10:] == 1 - part[0]).all()


@pytest.mark.parametrize("method", METHODS)
def test_planted_parts_are_found(method: Method) -> None:
    """Of 12 edges a node 9 lie within groups of 50; ids tell nothing about groups."""
    generator = torch.Generator().manual_seed(1)
    nodes, edges, parts = 1000, 6000, 20
    head = torch.randint(nodes, (edges,), generator=generator)
    within = head // 50 * 50 + torch.randint(50, (edges,), generator=generator)
    tail = torch.randint(nodes, (edges,), generator=generator)
    tail[: edges * 3 // 4] = within[: edges * 3 // 4]
    shuffle = torch.randperm(nodes, generator=generator)
    indptr, source = both_ways(shuffle[head], shuffle[tail], nodes)
    one, many = (
        share_inside(
            indptr,
            source,
            stream_partition(indptr, source, parts=parts, method=method, passes=passes),
        )
        for passes in (1, 20)
    )
    assert one > 0.2, "random parts keep 1 / 20"
    assert many > 0.7, "the planted ones keep 3 / 4 and a bit"


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides(method: Method) -> None:
    graph = random_graph(5, 300, 900)
    settings = {"parts": 7, "method": method}
    first, again, other = (
        stream_partition(*graph, **settings, seed=seed).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_wide_rows_change_nothing() -> None:
    indptr, source = random_graph(5, 300, 900)
    narrow, wide = (
        stream_partition(bounds, source, parts=7, method="ldg")
        for bounds in (indptr, indptr.long())
    )
    assert torch.equal(narrow, wide)


@pytest.mark.parametrize("method", METHODS)
def test_no_nodes_and_no_edges(method: Method) -> None:
    none = torch.zeros(0, dtype=torch.int32)
    assert len(stream_partition(torch.zeros(1).int(), none, parts=3, method=method)) == 0
    part = stream_partition(torch.zeros(8).int(), none, parts=3, method=method, balance=1.0)
    assert sorted(part.bincount().tolist()) == [2, 2, 3]


@given(SEEDS, st.integers(1, 20), st.integers(0, 60))
def test_merged_edges(seed: int, nodes: int, edges: int) -> None:
    graph = random_graph(seed, nodes, edges)
    found = [part.tolist() for part in merge_edges(*graph)]
    assert found == list(reference.merge_edges(*(part.tolist() for part in graph)))


@given(SEEDS, st.integers(1, 20), st.integers(0, 60), st.integers(1, 5))
def test_counts_inside_and_members(seed: int, nodes: int, edges: int, parts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    graph = adjacency(nodes, edges, 4, generator)
    part = torch.randint(parts, (nodes,), generator=generator).int()
    plain = [array.tolist() for array in (*graph, part)]
    counts = count_inside(*graph, part, num_relations=2)
    assert [count.tolist() for count in counts] == list(reference.count_inside(*plain, 2))
    members = group(part, parts)
    assert [array.tolist() for array in members] == list(reference.group(plain[3], parts))
