"""Propagation: all tiers agree, and on numbers worked out by hand."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels.propagate import (
    InEdges,
    Keep,
    Returns,
    count_returns,
    fold_of,
    propagate,
    reference,
    torch_tier,
)
from tests.kernels.strategies import SEEDS, random_edges, sizes

EVERY = torch.ones(4, dtype=torch.bool)


def rows_of(edges: InEdges, *columns: Tensor) -> list[list[tuple[int, ...]]]:
    values = list(zip(*(column.tolist() for column in columns), strict=True))
    bounds = edges.indptr.tolist()
    return [values[a:b] for a, b in pairwise(bounds)]


@settings(max_examples=30)
@given(sizes(), SEEDS, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_tiers_agree(
    size: tuple[int, int, int, int], seed: int, half: bool, fold: bool, scaled: bool, back: bool
) -> None:
    targets, sources, relations, num_edges = size
    generator = torch.Generator().manual_seed(seed)
    _, indptr, source, relation = random_edges(targets, 9, relations, num_edges, generator)
    triple = torch.randint(1 << 40, (num_edges,), generator=generator)
    edges = InEdges(indptr, source, relation, triple)
    mask = torch.rand(relations, generator=generator) < 0.7
    keep = Keep(relation=mask, folds=3 * fold, hidden=seed % 3, seed=seed)
    x = torch.randn(sources, 3, generator=generator)
    x = (x * torch.tensor([1e-7, 1.0, 1e4])).half() if half else x
    scale = torch.rand(sources, generator=generator) if scaled else None
    times = torch.randint(3, (num_edges,), generator=generator)
    own = torch.randn(targets, 3, generator=generator)
    returns = Returns(times, own) if back else None
    first = seed % 3
    found = propagate(x, edges, keep, first=first, scale=scale, returns=returns)
    chosen = (mask, keep.folds, keep.hidden, keep.seed)
    parts = (times, own) if back else (None, None)
    other = torch_tier.propagate(x, first, *edges, *chosen, scale, *parts)
    slow = reference.propagate(
        x.double().tolist(),
        first,
        rows_of(edges, source, relation, triple),  # type: ignore[arg-type]
        set(mask.nonzero()[:, 0].tolist()),
        keep.folds,
        keep.hidden,
        keep.seed,
        [1.0] * sources if scale is None else scale.tolist(),
        [[back * value for (value,) in row] for row in rows_of(edges, times)],
        own.double().tolist(),
    )
    for total, count in (found, other):
        torch.testing.assert_close(total, torch.tensor(slow[0]), rtol=1e-5, atol=1e-6)
        assert count.tolist() == slow[1]


@given(sizes(), SEEDS)
def test_returns_are_counted_by_binary_search(size: tuple[int, int, int, int], seed: int) -> None:
    targets, sources, relations, num_edges = size
    generator = torch.Generator().manual_seed(seed)
    _, *parts = random_edges(targets, sources, relations, num_edges, generator)
    edges = InEdges(*parts, torch.arange(num_edges))
    back = torch.rand(relations, generator=generator) < 0.6
    expected = []
    for row in rows_of(edges, edges.source, edges.relation):
        for source, _ in row:
            expected.append(sum(s == source and bool(back[r]) for s, r in row))
    assert count_returns(edges, back).tolist() == expected


def test_by_hand() -> None:
    """Row 0 has sources 1, 2 (twice, by relations 0 and 3); row 1 has 0; row 2 has nothing."""
    edges = InEdges(
        torch.tensor([0, 3, 4, 4]),
        torch.tensor([1, 2, 2, 0]),
        torch.tensor([0, 0, 3, 1]),
        torch.tensor([0, 1, 2, 3]),
    )
    x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [4.0, 3.0]])
    total, count = propagate(x, edges, Keep(relation=EVERY))
    assert total.tolist() == [[10, 7], [1, 0], [0, 0]]
    assert count.tolist() == [3, 1, 0]
    total, count = propagate(x[1:], edges, Keep(relation=EVERY & (torch.arange(4) < 3)), first=1)
    assert total.tolist() == [[6, 4], [0, 0], [0, 0]]
    assert count.tolist() == [2, 0, 0]
    returns = Returns(torch.tensor([0, 1, 1, 0]), torch.ones(3, 2))
    total, _ = propagate(x, edges, Keep(relation=EVERY), returns=returns)
    assert total.tolist() == [[8, 5], [1, 0], [0, 0]]


@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_every_half_is_read_as_it_is(kind: torch.dtype) -> None:
    values = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(torch.float16)
    values = values[values.isfinite()][:, None]
    number = torch.arange(len(values))
    edges = InEdges(torch.arange(len(values) + 1), number, 0 * number, number)
    total, _ = propagate(values.to(kind), edges, Keep(relation=EVERY))
    assert torch.equal(total, values.float())


def test_folds_are_nearly_equal_and_seeded() -> None:
    triple = torch.arange(4000)
    fold = fold_of(triple, folds=4, seed=1)
    assert all(900 < count < 1100 for count in Counter(fold.tolist()).values())
    assert set(fold.tolist()) == {0, 1, 2, 3}
    assert torch.equal(fold, fold_of(triple.int(), folds=4, seed=1))
    assert not torch.equal(fold, fold_of(triple, folds=4, seed=2))
    assert fold[:50].tolist() == [reference.fold_of(number, 4, 1) for number in range(50)]
