"""The best candidates in torch operators."""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.kernels.sample.torch_tier import expand_runs


def take(
    scores: Tensor,
    width: int,
    offset: int,
    known_indptr: Tensor,
    known: Tensor,
    score: Tensor,
    item: Tensor,
    most: Tensor,
    total: Tensor,
) -> Tensor:
    """As that of the numba tier, for whom see; whether it met NaN or infinity as a tensor."""
    rows = scores[: score.shape[0], :width]
    invalid = (rows.isnan() | rows.isposinf()).any()
    highest = torch.maximum(most, rows.amax(dim=1))
    base = highest.clamp(min=torch.finfo(rows.dtype).min)[:, None]
    powers = (rows - base).exp().sum(dim=1, dtype=torch.float64)
    total.mul_((most - base[:, 0]).double().exp()).add_(powers)
    most.copy_(highest)
    column, row = expand_runs(known_indptr[:-1], known_indptr[1:])
    columns = known[column] - offset
    inside = (columns >= 0) & (columns < width)
    rows = rows.clone()
    rows[row[inside], columns[inside]] = -torch.inf
    own = torch.arange(offset, offset + width, device=rows.device)
    own = torch.where(rows > -torch.inf, own, -1)
    # What was kept comes first, and a stable sort leaves equals as they are.
    value, place = torch.cat([score, rows], 1).sort(dim=1, descending=True, stable=True)
    places = place[:, : score.shape[1]]
    item.copy_(torch.cat([item, own], 1).gather(1, places))
    score.copy_(value[:, : score.shape[1]])
    return invalid
