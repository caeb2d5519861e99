"""Score products of narrow numbers: few shapes, the same scores."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.kernels.products import ROWS, factor
from kgscale.models.decoders import DistMult

SIZES = st.integers(1, 2 * ROWS + 1)


@given(SIZES, SIZES)
def test_rows_of_zeros_are_all_that_is_added(queries: int, candidates: int) -> None:
    generator = torch.Generator().manual_seed(queries)
    query, candidate = (torch.randn(n, 3, generator=generator) for n in (queries, candidates))
    padded = factor(candidate, torch.bfloat16)
    assert padded.shape[0] % ROWS == 0
    assert padded.shape[0] - candidates < ROWS
    assert torch.equal(padded[:candidates], candidate.bfloat16())
    assert not padded[candidates:].any()
    scores = DistMult(dim=3, num_relations=1).compare(query, candidate, dtype=torch.bfloat16)
    torch.testing.assert_close(scores, query @ candidate.t(), rtol=0.02, atol=0.1)


def test_numbers_of_the_same_type_stay_what_they_are() -> None:
    rows = torch.randn(5, 3)
    assert factor(rows, torch.float32) is rows


def test_gradients_reach_the_rows() -> None:
    rows = torch.randn(5, 3, requires_grad=True)
    factor(rows, torch.bfloat16).float().sum().backward()
    assert rows.grad is not None
    assert bool((rows.grad == 1).all())
