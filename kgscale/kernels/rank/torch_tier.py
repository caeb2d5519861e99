"""Rank counting in torch operators; waits for the device once, to refuse NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.kernels.sample.torch_tier import expand_runs


def count_chunk(
    scores: Tensor,
    width: int,
    row: Tensor,
    target_score: Tensor,
    target: Tensor,
    offset: int,
    known_indptr: Tensor,
    known: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Better, tied, and whether there was NaN, for each target of a row of scores."""
    scores = scores[:, :width]
    rows = scores[row]
    score = target_score[:, None]
    column, item = expand_runs(known_indptr[row], known_indptr[row + 1])
    left_out = torch.zeros_like(rows, dtype=torch.bool)
    for columns, items in (
        (known[column].long() - offset, item),
        (target.long() - offset, torch.arange(row.shape[0], device=row.device)),
    ):
        inside = (columns >= 0) & (columns < width)
        left_out[items[inside], columns[inside]] = True
    better = ((rows > score) & ~left_out).sum(dim=1)
    tied = ((rows == score) & ~left_out).sum(dim=1)
    return better, tied, scores.isnan().any() | target_score.isnan().any()


def pick_targets(
    scores: Tensor, width: int, row: Tensor, target: Tensor, offset: int, target_score: Tensor
) -> Tensor:
    """``target_score`` with the scores of the targets that lie in this chunk of candidates."""
    column = target - offset
    found = scores[row, column.clamp(0, width - 1)]
    return torch.where((column >= 0) & (column < width), found, target_score)
