"""The best candidates: every tier against sorting, whatever the blocks, ties and neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.kernels.scores import dot_product
from kgscale.kernels.top import reference, top_all
from kgscale.kernels.top.blocks import INSERTED
from kgscale.models.decoders import ComplEx

seeds = st.integers(0, 2**32 - 1)


def asked(
    seed: int, queries: int, candidates: int, *, ties: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries and candidates, whole numbers for ``ties``, and what each query knows."""
    draw = torch.Generator().manual_seed(seed)
    query, candidate = (torch.randn(rows, 3, generator=draw) * 2 for rows in (queries, candidates))
    if ties:
        query, candidate = query.round(), candidate.round()
    knows = torch.rand(queries, candidates, generator=draw) < 0.2
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), knows.sum(dim=1).cumsum(0)])
    return query, candidate, indptr, knows.nonzero()[:, 1]


def block_of(query: Tensor, rows: int) -> object:
    def block(first: int) -> Tensor:
        part = query[first : first + rows]
        return torch.cat([part, part.new_zeros(rows - len(part), part.shape[1])])

    return block


@given(
    seed=seeds,
    queries=st.integers(0, 9),
    candidates=st.integers(1, 40),
    k=st.integers(1, 45),
    rows=st.integers(1, 5),
    columns=st.integers(1, 16),
    ties=st.booleans(),
    kind=st.sampled_from(["numba", "torch"]),
)
def test_the_best_are_those_of_a_sort(
    seed: int,
    queries: int,
    candidates: int,
    k: int,
    rows: int,
    columns: int,
    ties: bool,
    kind: str,
) -> None:
    query, candidate, indptr, known = asked(seed, queries, candidates, ties=ties)
    with pytest.MonkeyPatch.context() as patch:
        if kind == "torch":
            patch.setattr("kgscale.kernels.top.blocks.INSERTED", 0)
        found = top_all(
            block_of(query, rows),
            queries,
            candidate,
            indptr,
            known,
            k=k,
            score_block=lambda a, b: (a[:, None] * b[None]).sum(-1),
            rows_per_block=rows,
            candidates_per_block=columns,
        )
    scores = (query[:, None] * candidate[None]).sum(-1)
    best, items, logsum = reference.top(scores, indptr, known, k)
    places = found.item.shape[1]
    assert places == min(k, candidates)
    for row in range(queries):
        here = len(items[row])
        assert found.item[row].tolist() == items[row] + [-1] * (places - here)
        assert found.score[row, :here].tolist() == best[row]
        assert found.score[row, here:].isneginf().all()
    np.testing.assert_allclose(found.logsum, logsum, rtol=1e-6, atol=1e-6)


@given(seed=seeds, at=st.integers(0, 599), dim=st.sampled_from([7, 64, 200]))
def test_an_answer_does_not_depend_on_who_else_is_asked(seed: int, at: int, dim: int) -> None:
    """To the bit, with products of matrices too."""
    draw = torch.Generator().manual_seed(seed)
    query, candidate = (torch.randn(n, dim, generator=draw) for n in (600, 1500))
    nobody = torch.zeros(601, dtype=torch.int64)
    alone, among = (
        top_all(
            block_of(part, 256),
            len(part),
            candidate,
            nobody[: len(part) + 1],
            nobody[:0],
            k=5,
            score_block=score_block,
        )
        for part, score_block in (
            (query[at : at + 1], dot_product),
            (query, ComplEx(dim=dim + dim % 2).compare),
        )
    )
    assert torch.equal(alone.score[0], among.score[at])
    assert torch.equal(alone.item[0], among.item[at])
    assert torch.equal(alone.logsum[0], among.logsum[at])


def test_powers_that_are_far_apart() -> None:
    """Softmax of scores that float32 has no power of."""
    scores = torch.tensor([[-1e4, 3e4, 3e4 - 2.0, -torch.inf, 100.0]])
    indptr = torch.zeros(2, dtype=torch.int64)
    for columns in (1, 2, 5):
        found = top_all(
            lambda first: torch.ones(1, 1),
            1,
            scores.T.contiguous(),
            indptr,
            indptr[:0],
            k=5,
            score_block=lambda a, b: torch.where(b[:, 0] != 0, b[:, 0], -torch.inf)[None],
            rows_per_block=1,
            candidates_per_block=columns,
        )
        assert found.item.tolist() == [[1, 2, 4, 0, -1]]
        assert float(found.logsum[0] - 3e4) == pytest.approx(np.log1p(np.exp(-2.0)), abs=1e-6)


@pytest.mark.parametrize("k", [3, INSERTED + 1])
@pytest.mark.parametrize("bad", [torch.nan, -torch.nan, torch.inf])
def test_scores_that_are_none(bad: float, k: int) -> None:
    candidate = torch.ones(400, 1)
    candidate[7] = bad
    indptr = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ScoreError, match="diverged"):
        top_all(
            lambda first: torch.ones(1, 1),
            1,
            candidate,
            indptr,
            indptr[:0],
            k=k,
            rows_per_block=1,
            candidates_per_block=64,
        )
