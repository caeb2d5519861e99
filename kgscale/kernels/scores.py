"""Scores by blocks whose shape never changes.

A matrix product rounds differently for other shapes. So every score comes from the same call on
the same zero-padded block, whatever memory or threads there are, and however many are asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

ScoreBlock: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Scores ``[rows, candidates]`` of a block of query vectors and a block of candidate vectors."""


def dot_product(query: Tensor, candidate: Tensor) -> Tensor:
    return query @ candidate.T


class ScoreBlocks:
    """Scores of padded blocks of queries against blocks of candidates.

    Args:
        candidate: ``[candidates, width]``; may lie on the host while queries are on an accelerator:
            a block of them is copied when it is scored.
        bias: added to each candidate's scores.
        rows: of a block of queries.
        columns: of a block of candidates.
    """

    def __init__(
        self,
        candidate: Tensor,
        bias: Tensor | None,
        score_block: ScoreBlock,
        *,
        rows: int,
        columns: int,
    ) -> None:
        self.candidate, self.bias = candidate.detach(), bias
        self.score_block, self.rows, self.columns = score_block, rows, columns
        self._own = threading.local()

    def __call__(self, query: Tensor, offset: int, place: int = -1) -> Tensor:
        """Of the candidates from ``offset`` on; the columns beyond the last of them mean nothing.

        Args:
            query: a padded block.
            place: what it gives may be written over by this thread's next call for the same place.
        """
        stop = offset + self.columns
        whole = stop <= self.candidate.shape[0]
        candidate = self.candidate[offset:stop] if whole else self._last
        candidate = candidate.to(query.device, non_blocking=True)
        if self.score_block is dot_product:
            scores = torch.mm(query, candidate.T, out=self._buffer(query, place))
        else:
            scores = self.score_block(query, candidate)
        if self.bias is not None:
            scores = scores + padded(self.bias[offset:stop], self.columns)
        return scores.contiguous()

    @cached_property
    def _last(self) -> Tensor:
        """The last block, which is no full one."""
        first = self.candidate.shape[0] // self.columns * self.columns
        return padded(self.candidate[first:], self.columns)

    def _buffer(self, query: Tensor, place: int) -> Tensor:
        """Memory of this thread: new pages would cost a tenth of the product."""
        buffers: dict[Any, Tensor] = self._own.__dict__
        if place not in buffers:
            buffers[place] = query.new_empty(self.rows, self.columns)
        return buffers[place]


def padded(rows: Tensor, size: int) -> Tensor:
    """With rows of zeros up to a size."""
    if rows.shape[0] == size:
        return rows
    out = rows.new_zeros(size, *rows.shape[1:])
    out[: rows.shape[0]] = rows
    return out
