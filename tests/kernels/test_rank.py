"""Counts equal the one-by-one oracle, with ties, for any memory, blocks and threads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.kernels import threads
from kgscale.kernels.rank import count_better, count_better_chunk, rank_all, reference
from tests.kernels.strategies import SEEDS


def known_columns(queries: int, columns: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    listed = torch.rand(queries, columns, generator=generator) < 0.2
    row, column = listed.nonzero().unbind(1)
    return torch.searchsorted(row, torch.arange(queries + 1)), column


@given(SEEDS, st.integers(1, 6), st.integers(1, 40), st.integers(1, 50))
def test_counts_equal_the_oracle(seed: int, queries: int, columns: int, chunk: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, (queries, columns), generator=generator).float()
    scores[scores == 3] = torch.inf
    target = torch.randint(columns, (queries,), generator=generator)
    filters = known_columns(queries, columns, generator)
    expected = reference.count_better(scores, target, *filters)
    for dtype in (torch.float32, torch.float64):
        found = count_better(scores.to(dtype), target, *filters)
        assert tuple(part.tolist() for part in found) == expected
    target_score = scores.gather(1, target[:, None])[:, 0]
    total = torch.zeros(2, queries, dtype=torch.int64)
    for offset in range(0, columns, chunk):
        part = scores[:, offset : offset + chunk]
        total += torch.stack(count_better_chunk(part, target_score, offset, *filters, target))
    assert tuple(total.tolist()) == expected


@given(SEEDS, st.integers(1, 12), st.integers(1, 30), st.integers(1, 8), st.integers(1, 8))
def test_ranking_in_blocks(seed: int, queries: int, num: int, rows: int, columns: int) -> None:
    """Small integers have exact products in any shape, and ties."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randint(-1, 2, (queries, 3), generator=generator).float()
    candidate = torch.randint(-1, 2, (num, 3), generator=generator).float()
    bias = torch.randint(2, (num,), generator=generator).float()
    query_row = torch.randint(queries, (7,), generator=generator)
    target = torch.randint(num, (7,), generator=generator)
    indptr, known = known_columns(queries, num, generator)
    scores = (query @ candidate.T + bias)[query_row]
    listed = [known[indptr[q] : indptr[q + 1]] for q in query_row]
    bounds = torch.tensor([0, *(len(part) for part in listed)]).cumsum(0)
    expected = reference.count_better(scores, target, bounds, torch.cat(listed))
    for dtype in (torch.float32, torch.float64):
        found = rank_all(
            query.to(dtype),
            candidate.to(dtype),
            target,
            indptr,
            known,
            query_row=query_row,
            bias=bias.to(dtype),
            rows_per_block=rows,
            candidates_per_block=columns,
        )
        assert tuple(part.tolist() for part in found) == expected


def test_neither_memory_nor_threads_change_a_count() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(300, 40, generator=generator)
    candidate = torch.randn(900, 40, generator=generator)
    candidate[400:500] = candidate[100:200]  # ties
    target = torch.randint(900, (300,), generator=generator)
    filters = known_columns(300, 900, generator)
    before, found = threads.num_threads(), []
    blocks = {"rows_per_block": 64, "candidates_per_block": 128}
    try:
        for number in (1, 2, 3):
            threads.set_threads(number)
            for memory in (0, 1 << 17, 1 << 18, 1 << 19, 1 << 30):
                counts = rank_all(query, candidate, target, *filters, memory=memory, **blocks)
                found.append(torch.stack(counts))
    finally:
        threads.set_threads(before)
    assert all(torch.equal(counts, found[0]) for counts in found)


def test_any_score_function() -> None:
    generator = torch.Generator().manual_seed(0)
    query, candidate = torch.randn(2, 50, 6, generator=generator)
    target, filters = torch.arange(50), known_columns(50, 50, generator)
    found = rank_all(
        query, candidate, target, *filters, score_block=lambda q, c: -torch.cdist(q, c)
    )
    expected = reference.count_better(-torch.cdist(query, candidate), target, *filters)
    assert tuple(part.tolist() for part in found) == expected


def test_no_queries() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    found = rank_all(torch.zeros(0, 3), torch.zeros(4, 3), nothing, torch.zeros(1).long(), nothing)
    assert [part.tolist() for part in found] == [[], []]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_is_an_error(dtype: torch.dtype) -> None:
    scores = torch.zeros(2, 70, dtype=dtype)
    scores[1, 69] = torch.nan
    target, indptr, known = torch.tensor([0, 0]), torch.tensor([0, 0, 1]), torch.tensor([69])
    with pytest.raises(ScoreError, match="NaN"):
        count_better(scores, target, indptr, known)
    candidate = torch.ones(4, 3, dtype=dtype)
    candidate[2, 1] = torch.nan
    with pytest.raises(ScoreError, match="NaN"):
        rank_all(torch.ones(2, 3, dtype=dtype), candidate, target, indptr, known % 4)
