"""Ranking against all candidates by blocks of scores whose shape never changes.

A matrix product rounds differently for other shapes. So every score comes from the same call on
the same zero-padded block, whatever memory or threads there are: memory only decides how many
blocks are kept between finding the targets' scores and counting, or computed again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from kgscale.errors import ScoreError
from kgscale.kernels.rank import numba_tier, torch_tier
from kgscale.kernels.threads import num_threads, run_tasks
from kgscale.types import Indptr

ScoreBlock: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Scores ``[rows, candidates]`` of a block of query vectors and a block of candidate vectors."""


def dot_product(query: Tensor, candidate: Tensor) -> Tensor:
    return query @ candidate.T


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
    work = _Work(query, candidate, bias, known_indptr.long(), known.long(), score_block)
    work.rows, work.columns = rows_per_block, candidates_per_block
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

    rows: int
    columns: int
    row: Tensor
    target: Tensor
    keep: int

    def __init__(
        self,
        query: Tensor,
        candidate: Tensor,
        bias: Tensor | None,
        known_indptr: Tensor,
        known: Tensor,
        score_block: ScoreBlock,
    ) -> None:
        self.query, self.candidate, self.bias = query.detach(), candidate.detach(), bias
        self.known_indptr, self.known = known_indptr, known
        self.score_block = score_block
        self.own = threading.local()

    @torch.no_grad()
    def rank(self, task: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Counts for the targets ``low .. high``, whose queries lie in one block of rows."""
        low, high = task
        first = int(self.row[low]) // self.rows * self.rows
        row, target = self.row[low:high] - first, self.target[low:high]
        query = _padded(self.query[first : first + self.rows], self.rows)
        ends = self.known_indptr[first : first + self.rows + 1]
        num = self.candidate.shape[0]
        score = torch.full((high - low,), torch.nan, device=query.device)
        kept: dict[int, Tensor] = {}
        for offset in range(0, num, self.columns):
            scores = self._scores(query, offset, len(kept) if len(kept) < self.keep else -1)
            width = min(self.columns, num - offset)
            score = _pick(scores, width, row, target, offset, score)
            if len(kept) < self.keep:
                kept[offset] = scores
        better, tied = torch.zeros(2, high - low, dtype=torch.int64, device=query.device).unbind()
        bad = torch.zeros((), dtype=torch.bool, device=query.device)
        for offset in range(0, num, self.columns):
            scores = kept[offset] if offset in kept else self._scores(query, offset, -1)
            width = min(self.columns, num - offset)
            arguments = (scores, width, row, score, target, offset, ends, self.known)
            bad |= _count(arguments, better, tied)
        return better, tied, bad

    def _scores(self, query: Tensor, offset: int, place: int) -> Tensor:
        stop = offset + self.columns
        candidate = self.candidate[offset:stop].to(query.device, non_blocking=True)
        candidate = _padded(candidate, self.columns)
        if self.score_block is dot_product:
            scores = torch.mm(query, candidate.T, out=self._buffer(place))
        else:
            scores = self.score_block(query, candidate)
        if self.bias is not None:
            scores = scores + _padded(self.bias[offset:stop], self.columns)
        return scores.contiguous()

    def _buffer(self, place: int) -> Tensor:
        """Memory of this thread: new pages would cost a tenth of the product."""
        buffers: dict[Any, Tensor] = self.own.__dict__
        if place not in buffers:
            buffers[place] = self.query.new_empty(self.rows, self.columns)
        return buffers[place]


def _padded(rows: Tensor, size: int) -> Tensor:
    if rows.shape[0] == size:
        return rows
    out = rows.new_zeros(size, *rows.shape[1:])
    out[: rows.shape[0]] = rows
    return out


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
