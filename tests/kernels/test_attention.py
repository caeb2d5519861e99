"""All tiers of attention agree in values and gradients, whatever the threads."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels import threads
from kgscale.kernels.aggregate import torch_tier
from kgscale.kernels.attention import edge_dot, edge_softmax, edge_sum, reference, relation_runs
from tests.kernels.strategies import SEEDS, Edges, random_edges, sizes

Case = tuple[dict[str, Tensor], Edges, int]


def case(shape: tuple[int, int, int, int], width: int, heads: int, seed: int) -> Case:
    generator = torch.Generator().manual_seed(seed)
    edges, dim = random_edges(*shape, generator), heads * width
    rows = {"query": shape[0], "key": shape[1], "vector": shape[2]}
    factors = {name: torch.randn(size, dim, generator=generator) for name, size in rows.items()}
    factors["weight"] = torch.randn(shape[3], heads, generator=generator)
    return factors, edges, heads


def results(given: Case, dtype: torch.dtype, device: str, tier: object) -> list[Tensor]:
    """Scores, their softmax and the sum, and the gradients of a random functional of them."""
    factors, edges, heads = given
    leaves = {n: f.to(device, dtype).detach().requires_grad_() for n, f in factors.items()}
    indptr, *ends = (edge.to(device) for edge in edges[1:])
    query, key, vector, weight = leaves.values()
    logits = tier.edge_dot(query, key, vector, indptr, *ends, heads=heads)  # type: ignore[attr-defined]
    share = tier.edge_softmax(logits, indptr)  # type: ignore[attr-defined]
    mixed = tier.edge_sum(weight + share, key, vector, indptr, *ends)  # type: ignore[attr-defined]
    goal = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(1))
    out = (mixed * goal.to(device, dtype)).sum() + 0 * sum(leaf.sum() for leaf in leaves.values())
    gradients = torch.autograd.grad(out, list(leaves.values()))
    return [logits.detach(), share.detach(), mixed.detach(), *gradients]


class Ours:
    edge_dot, edge_softmax, edge_sum = map(staticmethod, (edge_dot, edge_softmax, edge_sum))


@given(sizes(), st.integers(1, 40), st.integers(1, 3), SEEDS)
def test_tiers_agree(shape: tuple[int, int, int, int], width: int, heads: int, seed: int) -> None:
    """float32 runs the numba tier, float64 the torch tier."""
    given = case(shape, width, heads, seed)
    expected = results(given, torch.float64, "cpu", reference)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-3)):
        for ours, theirs in zip(results(given, dtype, "cpu", Ours), expected, strict=True):
            right = theirs.to(dtype)
            torch.testing.assert_close(ours, right, rtol=tolerance, atol=tolerance)


LARGE = case((700, 600, 5, 4000), 25, 6, 0)


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgscale.kernels.aggregate.edges.WORTH", 1)
    before, found = threads.num_threads(), []
    try:
        for number in (1, 2, 3):
            threads.set_threads(number)
            found.append(results(LARGE, torch.float32, "cpu", Ours))
    finally:
        threads.set_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_chunks_of_edges_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = results(LARGE, torch.float64, "cpu", Ours)
    monkeypatch.setattr(torch_tier, "MESSAGE_FLOATS", 60_000)
    for ours, theirs in zip(results(LARGE, torch.float64, "cpu", Ours), whole, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_torch_tier_runs_on_meta_tensors() -> None:
    here = results(LARGE, torch.float32, "cpu", Ours)
    found = results(LARGE, torch.float32, "meta", Ours)
    assert [t.shape for t in found] == [t.shape for t in here]
    assert all(t.device.type == "meta" for t in found)


@given(sizes(), SEEDS)
def test_shares_of_a_row_sum_to_one(shape: tuple[int, int, int, int], seed: int) -> None:
    _, edges, _ = given = case(shape, 2, 2, seed)
    share = edge_softmax(100 * given[0]["weight"], edges.indptr)
    for row in share.split(edges.indptr.diff().tolist()):
        if len(row):
            torch.testing.assert_close(row.sum(dim=0), torch.ones(2))


def test_a_nan_among_the_scores_stays() -> None:
    logits = torch.tensor([[1.0], [torch.nan], [2.0], [3.0]])
    share = edge_softmax(logits, torch.tensor([0, 3, 4]))
    assert share[:3].isnan().all()
    assert share[3] == 1


@given(sizes(), SEEDS)
def test_runs_are_the_edges_of_one_row_and_relation(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    edges = random_edges(*shape, torch.Generator().manual_seed(seed))
    row = torch.arange(shape[0]).repeat_interleave(edges.indptr.diff())
    order, bounds = relation_runs(edges.indptr, edges.relation, num_relations=shape[2])
    assert torch.equal(row[order], row)
    pairs = list(zip(row[order].tolist(), edges.relation[order].tolist(), strict=True))
    runs = [pairs[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]
    full = [run for run in runs if run]
    assert list(chain.from_iterable(full)) == pairs
    assert all(len(set(run)) == 1 for run in full)
    assert len(full) == len(set(pairs))
