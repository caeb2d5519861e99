"""Softmaxes in place against their formula in double precision, on every tier."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.kernels.softmax import softmax_
from kgscale.kernels.threads import num_threads, set_threads
from tests.kernels.strategies import SEEDS

HALF_STEP = 2**-8
"""A bfloat16 number is within this share of what it rounds."""
TYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])


@TYPES
@given(SEEDS, st.integers(1, 5), st.integers(1, 40), st.integers(0, 3), st.floats(0, 200))
def test_equals_the_formula_and_leaves_the_rest(
    dtype: torch.dtype, seed: int, rows: int, columns: int, padding: int, size: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.randn(rows + padding, columns + padding, generator=generator) * size).to(dtype)
    shift = torch.rand(columns, generator=generator).log()
    weight = torch.randint(1, 9, (rows,), generator=generator).float()
    before = scores.clone()
    exact = before[:rows, :columns].double() + shift
    total = softmax_(scores, shift, weight)
    torch.testing.assert_close(total.double(), exact.logsumexp(dim=1), rtol=1e-5, atol=1e-5)
    expected = weight[:, None] * exact.softmax(dim=1)
    near = {"rtol": HALF_STEP if dtype == torch.bfloat16 else 1e-4, "atol": 1e-30}
    torch.testing.assert_close(scores[:rows, :columns].double(), expected, **near)
    assert torch.equal(scores[rows:], before[rows:])
    assert torch.equal(scores[:, columns:], before[:, columns:])


@TYPES
def test_a_power_of_e_is_as_good_as_float32_has_it(dtype: torch.dtype) -> None:
    """Of two scores the lower one's share is all that the sum has beside the other's."""
    lower = -torch.arange(0, 1024).to(torch.bfloat16).div(128).unique()
    scores = torch.stack([torch.zeros(len(lower)), lower], dim=1).to(dtype)
    total = softmax_(scores, torch.zeros(2), torch.ones(len(lower)))
    exact = lower.double().exp().log1p()
    torch.testing.assert_close(total.double(), exact, rtol=1e-6, atol=3e-7)


@TYPES
def test_what_is_minus_infinity_has_no_share(dtype: torch.dtype) -> None:
    scores = torch.tensor([[0.0, -torch.inf, 0.0], [-torch.inf, -torch.inf, 7.0]], dtype=dtype)
    softmax_(scores, torch.zeros(3), torch.ones(2))
    assert scores.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]


@TYPES
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_row_that_is_not_finite_says_so(dtype: torch.dtype, wrong: float) -> None:
    scores = torch.zeros(3, 20, dtype=dtype)
    scores[1, 7] = wrong
    total = softmax_(scores, torch.zeros(20), torch.ones(3))
    assert total.isfinite().tolist() == [True, False, True]
    assert scores[1].isnan().all()
    assert scores[::2].isfinite().all()


def test_is_the_same_on_any_number_of_threads() -> None:
    before, found = num_threads(), []
    scores = torch.randn(600, 3000).bfloat16()
    try:
        for threads in (1, 3):
            set_threads(threads)
            mine = scores.clone()
            found.append((softmax_(mine, torch.zeros(3000), torch.ones(600)), mine))
    finally:
        set_threads(before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@TYPES
def test_runs_where_there_are_no_numbers(dtype: torch.dtype) -> None:
    with torch.device("meta"):
        scores, shift, weight = torch.empty(4, 9, dtype=dtype), torch.empty(8), torch.empty(3)
        assert softmax_(scores, shift, weight).shape == (3,)
