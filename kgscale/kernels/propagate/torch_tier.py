"""Propagation in torch operators, on any device, a chunk of edges at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.kernels.aggregate.torch_tier import edge_chunks, edge_rows
from kgscale.kernels.sample.torch_tier import mix, mix_number


def fold_of(triple: Tensor, folds: int, seed: int) -> Tensor:
    bits = mix(triple.long() ^ mix_number(seed).to(triple.device))
    return ((bits >> 1) & ((1 << 63) - 1)) % folds


def kept(
    relation: Tensor, triple: Tensor, mask: Tensor, folds: int, hidden: int, seed: int
) -> Tensor:
    stays = mask[relation.long()]
    return stays & (fold_of(triple, folds, seed) != hidden) if folds else stays


def propagate(
    x: Tensor,
    first: int,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    triple: Tensor,
    mask: Tensor,
    folds: int,
    hidden: int,
    seed: int,
    scale: Tensor | None,
    times: Tensor | None,
    own: Tensor | None,
) -> tuple[Tensor, Tensor]:
    targets = indptr.shape[0] - 1
    local = source.long() - first
    stays = kept(relation, triple, mask, folds, hidden, seed)
    stays &= (local >= 0) & (local < x.shape[0])
    row, local = edge_rows(indptr, source.shape[0])[stays], local[stays]
    total = torch.zeros(targets, x.shape[1], device=x.device)
    for part in edge_chunks(local.shape[0], x.shape[1]):
        message = x.index_select(0, local[part]).float()
        if times is not None and own is not None:
            message -= times[stays][part, None] * own[row[part]]
        if scale is not None:
            message *= scale[local[part], None]
        total.index_add_(0, row[part], message)
    return total, torch.bincount(row, minlength=targets)


def count_returns(indptr: Tensor, source: Tensor, relation: Tensor, back: Tensor) -> Tensor:
    """Edges of the row with the same source and a relation of ``back``, by binary search."""
    row = edge_rows(indptr, source.shape[0])
    base = 1 + (source.max().long() if source.numel() else 0)
    key = row * base + source.long()
    ordered = key[back[relation.long()]].sort().values
    last = torch.searchsorted(ordered, key, right=True)
    return last - torch.searchsorted(ordered, key)
