"""Row-wise optimiser steps equal the dense formulas on the touched rows, and touch no other."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels import rows, threads
from kgscale.kernels.rows import reference, torch_tier
from tests.kernels.strategies import SEEDS

TIERS = (rows, torch_tier)


def tables(number: int, size: int, dim: int, seed: int) -> list[Tensor]:
    return list(torch.rand(number, size, dim, generator=torch.Generator().manual_seed(seed)))


@given(SEEDS, st.integers(1, 30), st.integers(1, 40), st.integers(0, 30))
def test_steps(seed: int, size: int, dim: int, touched: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randperm(size, generator=generator)[:touched]
    grad = torch.randn(len(ids), dim, generator=generator)
    rest = torch.ones(size, dtype=torch.bool).index_fill_(0, ids, False)
    found = []
    for tier in (reference, *TIERS):
        adagrad, adam = tables(2, size, dim, seed), tables(3, size, dim, seed)
        step = torch.arange(size, dtype=torch.int32)
        for _ in range(2):
            tier.rowwise_adagrad_(*adagrad, ids, grad, lr=0.1, eps=1e-8)
            settings = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8}
            tier.rowwise_adam_(*adam, step, ids, grad, **settings)
        found.append([*adagrad, *adam, step])
    for state in found[1:]:
        for ours, theirs in zip(state, found[0], strict=True):
            torch.testing.assert_close(ours, theirs)
    before = [*tables(2, size, dim, seed), *tables(3, size, dim, seed)]
    assert all(torch.equal(a[rest], b[rest]) for a, b in zip(found[1], before, strict=False))


def test_touching_all_rows_is_torch_own_step() -> None:
    weight, first, second = torch.ones(5, 3), torch.zeros(5, 3), torch.zeros(5, 3)
    state, count = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int32)
    other = weight.clone()
    theirs = [torch.ones(5, 3, requires_grad=True) for _ in range(2)]
    optimizers = (torch.optim.Adam(theirs[:1], lr=0.1), torch.optim.Adagrad(theirs[1:], lr=0.1))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        grad = torch.randn(5, 3, generator=generator)
        ids = torch.arange(5)
        betas = (0.9, 0.999)
        rows.rowwise_adam_(weight, first, second, count, ids, grad, lr=0.1, betas=betas, eps=1e-8)
        rows.rowwise_adagrad_(other, state, ids, grad, lr=0.1, eps=1e-10)
        for parameter, optimizer in zip(theirs, optimizers, strict=True):
            parameter.grad = grad
            optimizer.step()
    torch.testing.assert_close(weight, theirs[0].detach())
    torch.testing.assert_close(other, theirs[1].detach())


@given(SEEDS, st.integers(0, 40), st.integers(1, 10))
def test_duplicates_are_summed(seed: int, entries: int, different: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(different, (entries,), generator=generator)
    grad = torch.randn(entries, 3, generator=generator)
    expected = reference.sum_duplicates(ids, grad)
    for tier in TIERS:
        for ours, theirs in zip(tier.sum_duplicates(ids, grad), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2000, (9000,), generator=generator)
    grad = torch.randn(9000, 5, generator=generator)
    before, found = threads.num_threads(), []
    try:
        for number in (1, 2, 3):
            threads.set_threads(number)
            found.append(rows.sum_duplicates(ids, grad)[1])
    finally:
        threads.set_threads(before)
    assert all(torch.equal(sums, found[0]) for sums in found)
