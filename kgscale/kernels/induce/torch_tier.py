"""Induced subgraphs in torch operators, on any device; one wait for the number of edges."""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.kernels.sample import expand_runs


def induce(
    indptr: Tensor, source: Tensor, relation: Tensor, entity: Tensor, rows: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row bounds, local source, relation and position of the edges."""
    local = torch.full((indptr.shape[0] - 1,), -1, dtype=torch.int32, device=entity.device)
    local[entity] = torch.arange(entity.shape[0], dtype=torch.int32, device=entity.device)
    start, stop = indptr[entity[:rows]].long(), indptr[entity[:rows] + 1].long()
    edge, row = expand_runs(start, stop)
    stays = local[source[edge].long()] >= 0
    edge, row = edge[stays], row[stays]
    degree = torch.zeros(rows + 1, dtype=torch.int64, device=entity.device)
    degree.index_add_(0, row + 1, torch.ones_like(row))
    kept = local[source[edge].long()], relation[edge].int(), edge.to(indptr.dtype)
    return degree.cumsum(0), *kept
