"""Laws of neighbour sampling; all tiers make the same draws."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels.sample import (
    NeighborSample,
    Workspace,
    expand_runs,
    hide_edges,
    reference,
    sample_neighbors,
    torch_tier,
)
from tests.kernels.strategies import SEEDS, adjacency

FANOUTS = st.lists(st.sampled_from([-1, 0, 1, 2, 5, 70]), max_size=3)


def graph(seed: int, entities: int, edges: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    arrays = adjacency(entities, edges, 4, generator)
    return arrays, torch.randperm(entities, generator=generator)[:4]


def lists(sample: tuple[object, ...]) -> list[list[int]]:
    return [part.tolist() if isinstance(part, Tensor) else list(part) for part in sample]


@given(SEEDS, st.integers(1, 30), st.integers(0, 900), FANOUTS, st.booleans())
def test_tiers_draw_the_same(
    seed: int, entities: int, edges: int, fanout: list[int], per_relation: bool
) -> None:
    arrays, seeds = graph(seed, entities, edges)
    settings = {"seed": seed, "per_relation": per_relation}
    ours = sample_neighbors(*arrays, seeds, fanout, **settings)
    vectorised = torch_tier.sample_neighbors(*arrays, seeds, fanout, **settings)
    plain = [part.tolist() for part in (*arrays, seeds)]
    slow = reference.sample_neighbors(*plain, fanout, **settings)
    assert lists(ours) == lists(vectorised) == lists(slow)


@given(SEEDS, st.integers(1, 30), st.integers(0, 900), FANOUTS)
def test_a_sample_is_part_of_the_graph(
    seed: int, entities: int, edges: int, fanout: list[int]
) -> None:
    arrays, seeds = graph(seed, entities, edges)
    found = sample_neighbors(*arrays, seeds, fanout, seed=seed)
    indptr, source, relation = arrays
    assert torch.equal(found.entity_id[: len(seeds)], seeds)
    assert len(found.entity_id.unique()) == len(found.entity_id) == found.hop_size[-1]
    assert len(found.edge.unique()) == len(found.edge)
    assert torch.equal(found.entity_id[found.source.long()], source[found.edge].long())
    assert torch.equal(found.relation, relation[found.edge].int())
    rows = found.indptr.shape[0] - 1
    target = found.entity_id[torch.arange(rows).repeat_interleave(found.indptr.diff())]
    assert (indptr[target] <= found.edge).all()
    assert (found.edge < indptr[target + 1]).all()
    assert (found.edge.diff()[target.diff() == 0] > 0).all(), "rows keep the order of the store"
    degree = indptr.diff()[found.entity_id[:rows]]
    starts = (0, *found.hop_size)
    for hop, width in enumerate(fanout):
        part = slice(starts[hop], starts[hop + 1])
        expected = degree[part] if width < 0 else degree[part].clamp(max=width)
        assert torch.equal(found.indptr.diff()[part], expected)
        assert found.hop_edges[hop] == found.indptr[found.hop_size[hop]]
        reached = found.source[: found.hop_edges[hop]]
        assert (reached < found.hop_size[hop + 1]).all()


@given(SEEDS, st.integers(1, 30), st.integers(0, 100), st.integers(0, 3))
def test_all_edges_are_the_neighbourhood(seed: int, entities: int, edges: int, hops: int) -> None:
    (indptr, source, relation), seeds = graph(seed, entities, edges)
    found = sample_neighbors(indptr, source, relation, seeds, [-1] * hops, seed=0)
    distance, queue = dict.fromkeys(seeds.tolist(), 0), deque(seeds.tolist())
    while queue:
        v = queue.popleft()
        for u in source[indptr[v] : indptr[v + 1]].tolist() if distance[v] < hops else ():
            if u not in distance:
                distance[u] = distance[v] + 1
                queue.append(u)
    assert found.entity_id.tolist() == list(distance), "breadth first, in order of discovery"
    inner = [v for v, far in distance.items() if far < hops]
    expected = [e for v in inner for e in range(int(indptr[v]), int(indptr[v + 1]))]
    assert found.edge.tolist() == expected


@given(SEEDS, st.integers(1, 5))
def test_fanout_per_relation(seed: int, width: int) -> None:
    (indptr, source, relation), seeds = graph(seed, 20, 300)
    found = sample_neighbors(indptr, source, relation, seeds, [width], seed=seed, per_relation=True)
    for i, v in enumerate(seeds.tolist()):
        full = Counter(relation[indptr[v] : indptr[v + 1]].tolist())
        part = Counter(found.relation[found.indptr[i] : found.indptr[i + 1]].tolist())
        assert part == {r: min(n, width) for r, n in full.items()}


@pytest.mark.parametrize(("degree", "width"), [(10, 3), (64, 20), (65, 2), (900, 70), (9, 8)])
def test_every_subset_is_as_likely(degree: int, width: int) -> None:
    """Chi-square over single edges, and over pairs where there are few; seeds are fixed."""
    arrays = (
        torch.tensor([0, degree]).int(),
        torch.zeros(degree).int(),
        torch.zeros(degree).short(),
    )
    rounds = 1500
    single, pair = torch.zeros(degree), torch.zeros(degree, degree)
    for seed in range(rounds):
        edge = sample_neighbors(*arrays, torch.tensor([0]), [width], seed=seed).edge.long()
        single[edge] += 1
        if degree == 10:
            pair[edge[:, None], edge] += 1
    share = width / degree
    expected = rounds * share
    # Inclusion is hypergeometric, so the statistic is scaled by the variance of one edge.
    statistic = ((single - expected) ** 2).sum() / (expected * (1 - share))
    freedom = degree - 1
    assert abs(statistic * freedom / degree - freedom) < 5 * (2 * freedom) ** 0.5
    if degree == 10:
        both = pair[torch.ones_like(pair).triu(1).bool()] / rounds
        chance = width * (width - 1) / (degree * (degree - 1))
        assert (both - chance).abs().max() < 5 * (chance / rounds) ** 0.5


def test_draws_depend_on_seed_hop_and_entity_alone() -> None:
    arrays, seeds = graph(3, 40, 4000)
    settings = {"fanout": [4, 3], "seed": 5}
    together = sample_neighbors(*arrays, seeds, **settings)
    for i, v in enumerate(seeds):
        alone = sample_neighbors(*arrays, v[None], **settings)
        assert torch.equal(alone.edge[:4], together.edge[4 * i : 4 * i + 4])
    other = sample_neighbors(*arrays, seeds, [4, 3], seed=6)
    assert not torch.equal(other.edge, together.edge)


def test_threads_and_reused_memory_change_nothing() -> None:
    arrays, _ = graph(4, 300, 9000)
    batches = list(torch.randperm(300, generator=torch.Generator().manual_seed(0)).split(20))

    def sample(seeds: Tensor, workspace: Workspace | None = None) -> NeighborSample:
        return sample_neighbors(*arrays, seeds, [5, 5], seed=9, workspace=workspace)

    fresh = [lists(sample(seeds, Workspace())) for seeds in batches]
    one = Workspace()
    reused = [sample(seeds, one) for seeds in batches]
    assert [lists(found) for found in reused] == fresh, "results must not share memory"
    with ThreadPoolExecutor(3) as pool:
        assert [lists(found) for found in pool.map(sample, batches)] == fresh


def test_labels_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.kernels.sample.MAX_LABEL", 130)
    arrays, seeds = graph(4, 50, 900)
    workspace = Workspace()
    found = [
        lists(sample_neighbors(*arrays, seeds, [3], seed=1, workspace=workspace)) for _ in range(20)
    ]
    assert all(sample == found[0] for sample in found)


def test_a_repeated_seed_is_refused_and_leaves_no_trace() -> None:
    arrays, seeds = graph(4, 50, 900)
    expected = lists(sample_neighbors(*arrays, seeds, [3], seed=1))
    with pytest.raises(ValueError, match="7 comes again"):
        sample_neighbors(*arrays, torch.tensor([1, 7, 2, 7]), [3], seed=1)
    assert lists(sample_neighbors(*arrays, seeds, [3], seed=1)) == expected


def test_edge_positions_are_optional() -> None:
    arrays, seeds = graph(4, 50, 900)
    assert sample_neighbors(*arrays, seeds, [3], seed=1, with_edge=False).edge is None


@given(SEEDS, FANOUTS, st.integers(0, 60))
def test_hidden_edges(seed: int, fanout: list[int], hide: int) -> None:
    arrays, seeds = graph(seed, 20, 300)
    found = sample_neighbors(*arrays, seeds, fanout, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    triple = found.edge % 150  # an edge and its reciprocal share a triple
    hidden = torch.randint(200, (hide,), generator=generator)
    left = hide_edges(
        found.indptr, found.source, found.relation, triple, hidden, found.hop_size, found.hop_edges
    )
    stay, bounds = torch_tier.hide_edges(found.indptr, triple, hidden)
    assert stay.tolist() == [i for i, t in enumerate(triple.tolist()) if t not in hidden.tolist()]
    assert torch.equal(left.indptr, bounds)
    for ours, full in ((left.source, found.source), (left.triple, triple)):
        assert torch.equal(ours, full[stay])
    assert torch.equal(left.relation, found.relation[stay])
    kept = [sum(i < edges for i in stay.tolist()) for edges in found.hop_edges]
    assert list(left.hop_edges) == kept


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8))
def test_expanded_runs(runs: list[tuple[int, int]]) -> None:
    start = torch.tensor([begin for begin, _ in runs], dtype=torch.int64)
    stop = start + torch.tensor([size for _, size in runs], dtype=torch.int64)
    position, row = expand_runs(start, stop)
    assert position.tolist() == [b + i for b, size in runs for i in range(size)]
    assert row.tolist() == [r for r, (_, size) in enumerate(runs) for _ in range(size)]
