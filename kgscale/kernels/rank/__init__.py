"""Filtered ranks: how many candidates that are not known answers score above or like the target.

Candidates are columns ``0 .. N - 1``. ``known[known_indptr[q]:known_indptr[q + 1]]`` are the
distinct columns that query ``q`` leaves out; its target never counts, listed there or not.
float32 on the CPU runs the numba tier, everything else the torch tier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.kernels.rank import numba_tier, torch_tier
from kgscale.kernels.rank.blocks import rank_all
from kgscale.kernels.scores import ScoreBlock
from kgscale.kernels.threads import run_slices
from kgscale.types import Indptr, Scores

__all__ = ["ScoreBlock", "count_better", "count_better_chunk", "rank_all"]

ROW_GRAIN = 16
"""Rows of scores that are worth a thread."""


@torch.no_grad()
def count_better(
    scores: Scores,
    target: Int[Tensor, " query"],
    known_indptr: Indptr,
    known: Int[Tensor, " known"],
) -> tuple[Int64[Tensor, " query"], Int64[Tensor, " query"]]:
    """Candidates with a greater score than the target's, and others with the same score."""
    score = scores.gather(1, target.long()[:, None])[:, 0]
    return count_better_chunk(scores, score, 0, known_indptr, known, target)


@torch.no_grad()
def count_better_chunk(
    scores: Float[Tensor, "query chunk"],
    target_score: Float[Tensor, " query"],
    offset: int,
    known_indptr: Indptr,
    known: Int[Tensor, " known"],
    target: Int[Tensor, " query"],
) -> tuple[Int64[Tensor, " query"], Int64[Tensor, " query"]]:
    """The same for the candidates ``offset .. offset + chunk``; counts add up over chunks."""
    queries, width = scores.shape
    row = torch.arange(queries, device=scores.device)
    known_indptr, known, target = known_indptr.long(), known.long(), target.long()
    if scores.device.type == "cpu" and scores.dtype == torch.float32:
        better, tied = torch.zeros(2, queries, dtype=torch.int64).unbind()
        tensors = (scores.contiguous(), row, target_score, target, known_indptr, known)
        first, *rest = (tensor.detach().contiguous().numpy() for tensor in tensors)
        results = (better.numpy(), tied.numpy())
        invalid: list[Any] = []

        def count(start: int, stop: int) -> None:
            arguments = (first, width, *rest[:3], offset, *rest[3:], *results, start, stop)
            invalid.append(numba_tier.count_rows(*arguments))

        run_slices(count, queries, grain=ROW_GRAIN)
        bad = bool(np.any(invalid))
    else:
        arguments = (row, target_score, target, offset, known_indptr, known)
        better, tied, flag = torch_tier.count_chunk(scores, width, *arguments)
        bad = bool(flag)
    if bad:
        raise ScoreError("NaN among the scores: the model has diverged; lower optimizer.lr")
    return better, tied
