"""The layer's update against its formula, values and gradients, on every tier."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.kernels.threads import num_threads, set_threads
from kgscale.kernels.update import BLOCK, layer_update, reference
from tests.kernels.strategies import SEEDS


def inputs(
    seed: int, known: int, rows: int, dim: int, messages: int, dtype: torch.dtype
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(known, dim), (rows, messages), (dim, dim + messages), (dim,), (dim,), (dim,)]
    return [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]


def gradients(out: Tensor, given: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
    return torch.autograd.grad(out, given, grad.to(out.dtype))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(SEEDS, st.integers(0, 6), st.integers(0, 6), st.integers(2, 7), st.integers(1, 9))
def test_equals_the_formula(
    dtype: torch.dtype,
    residual: bool,
    seed: int,
    known: int,
    more: int,
    dim: int,
    messages: int,
) -> None:
    given = inputs(seed, known, known + more, dim, messages, dtype)
    found = layer_update(*given, residual=residual)
    expected = reference.layer_update(*given, residual=residual)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    truth = gradients(reference.layer_update(*exact, residual=residual), exact, seed)
    for ours, theirs in zip(gradients(found, given, seed), truth, strict=True):
        # Nearly equal numbers in a row are magnified by the norm.
        scale = 1 + theirs.abs().max() if theirs.numel() else 1
        torch.testing.assert_close(ours.double() / scale, theirs / scale, atol=2e-3, rtol=2e-3)


def test_is_the_same_on_any_number_of_threads() -> None:
    before, found = num_threads(), []
    given = inputs(0, 3 * BLOCK, 5 * BLOCK + 7, 32, 32, torch.float32)
    try:
        for threads in (1, 3):
            set_threads(threads)
            out = layer_update(*given)
            found.append((out, *gradients(out, given, 1)))
    finally:
        set_threads(before)
    for one, three in zip(*found, strict=True):
        # The products are torch's.
        torch.testing.assert_close(one, three, atol=1e-3, rtol=1e-4)


def test_on_meta_as_on_a_device() -> None:
    given = [
        tensor.detach().to("meta").requires_grad_()
        for tensor in inputs(0, 2, 5, 4, 8, torch.float32)
    ]
    out = layer_update(*given)
    assert out.shape == (5, 4)
    found = torch.autograd.grad(out.sum(), given)
    assert [grad.shape for grad in found] == [tensor.shape for tensor in given]


def test_operator_follows_the_rules_of_torch() -> None:
    given = inputs(0, 3, 5, 4, 8, torch.float32)
    operator = torch.ops.kgscale.layer_update.default
    for residual in (True, False):
        torch.library.opcheck(operator, (*given, residual))
