"""Ranking against all candidates by blocks of scores whose shape never changes.

Memory only decides how many blocks are kept between finding the targets' scores and counting, or
computed again.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.kernels.rank import numba_tier, torch_tier
from kgscale.kernels.scores import ScoreBlock, ScoreBlocks, dot_product, padded
from kgscale.kernels.threads import num_threads, run_tasks
from kgscale.types import Indptr


@torch.no_grad()
def rank_all(
    query: Float[Tensor, "query dim"],
    candidate: Float[Tensor, "candidate width"],
    target: Int[Tensor, " target"],
    known_indptr: Indptr,
    known: Int[Tensor, " known"],
    *,
    query_row: Int[Tensor, " target"] | None = None,
    bias: Float[Tensor, " candidate"] | None = None,
    score_block: ScoreBlock = dot_product,
    rows_per_block: int = 256,
    candidates_per_block: int = 2048,
    memory: int = 1 << 28,
) -> tuple[Int64[Tensor, " target"], Int64[Tensor, " target"]]:
    """Better and tied candidates of each target, among all rows of ``candidate``.

    ``query_row`` gives the row of ``query`` that each target answers (default: one each, in
    order), so that a query with many answers is scored once; ``known`` is listed by row of
    ``query``. ``score_block`` sees blocks padded with zero rows; ``bias`` is added to its scores.
    ``memory`` is the bytes that blocks of scores may take. Candidates may lie on the host while
    queries are on an accelerator: a block of them is copied when it is scored.
    """
    if query_row is None:
        query_row = torch.arange(query.shape[0], device=query.device)
    row, order = query_row.long().sort(stable=True)
    scores = ScoreBlocks(
        candidate, bias, score_block, rows=rows_per_block, columns=candidates_per_block
    )
    work = _Work(query, scores, known_indptr.long(), known.long())
    work.row, work.target = row, target.long()[order]
    starts = torch.arange(0, query.shape[0] + rows_per_block, rows_per_block, device=row.device)
    bounds = torch.searchsorted(row, starts).tolist()
    tasks = [(low, high) for low, high in itertools.pairwise(bounds) if low < high]
    on_cpu = query.device.type == "cpu"
    block_bytes = 4 * rows_per_block * candidates_per_block
    work.keep = memory // (block_bytes * (num_threads() if on_cpu else 1)) - 1
    results = run_tasks(work.rank, tasks) if on_cpu else [work.rank(task) for task in tasks]
    better, tied = torch.zeros(2, target.shape[0], dtype=torch.int64, device=row.device).unbind()
    if results:
        if bool(torch.stack([bad for _, _, bad in results]).any()):
            raise ScoreError("NaN among the scores: the model has diverged; lower optimizer.lr")
        better[order] = torch.cat([part for part, _, _ in results])
        tied[order] = torch.cat([part for _, part, _ in results])
    return better, tied


class _Work:
    """What all blocks of rows share."""

    row: Tensor
    target: Tensor
    keep: int

    def __init__(
        self, query: Tensor, scores: ScoreBlocks, known_indptr: Tensor, known: Tensor
    ) -> None:
        self.query, self.scores = query.detach(), scores
        self.known_indptr, self.known = known_indptr, known

    @torch.no_grad()
    def rank(self, task: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Counts for the targets ``low .. high``, whose queries lie in one block of rows."""
        low, high = task
        rows, columns = self.scores.rows, self.scores.columns
        first = int(self.row[low]) // rows * rows
        row, target = self.row[low:high] - first, self.target[low:high]
        query = padded(self.query[first : first + rows], rows)
        ends = self.known_indptr[first : first + rows + 1]
        num = self.scores.candidate.shape[0]
        score = torch.full((high - low,), torch.nan, device=query.device)
        kept: dict[int, Tensor] = {}
        for offset in range(0, num, columns):
            scores = self.scores(query, offset, len(kept) if len(kept) < self.keep else -1)
            width = min(columns, num - offset)
            score = _pick(scores, width, row, target, offset, score)
            if len(kept) < self.keep:
                kept[offset] = scores
        better, tied = torch.zeros(2, high - low, dtype=torch.int64, device=query.device).unbind()
        bad = torch.zeros((), dtype=torch.bool, device=query.device)
        for offset in range(0, num, columns):
            scores = kept[offset] if offset in kept else self.scores(query, offset, -1)
            width = min(columns, num - offset)
            arguments = (scores, width, row, score, target, offset, ends, self.known)
            bad |= _count(arguments, better, tied)
        return better, tied, bad


def _pick(
    scores: Tensor, width: int, row: Tensor, target: Tensor, offset: int, score: Tensor
) -> Tensor:
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        return torch_tier.pick_targets(scores, width, row, target, offset, score.to(scores.dtype))
    numba_tier.pick_targets(
        scores.numpy(), width, row.numpy(), target.numpy(), offset, score.numpy()
    )
    return score


def _count(arguments: tuple[Any, ...], better: Tensor, tied: Tensor) -> Tensor:
    scores = arguments[0]
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        above, equal, bad = torch_tier.count_chunk(*arguments)
        better += above
        tied += equal
        return bad
    arrays = [a.numpy() if isinstance(a, Tensor) else a for a in arguments]
    invalid = numba_tier.count_rows(*arrays, better.numpy(), tied.numpy(), 0, better.shape[0])
    return torch.tensor(bool(invalid))
