"""Attention, one edge at a time: the oracle of the tests."""

from __future__ import annotations

import torch
from torch import Tensor


def edge_dot(
    query: Tensor,
    key: Tensor,
    vector: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    *,
    heads: int,
) -> Tensor:
    found = [query.new_zeros(0, heads)]
    for i, e in _edges(indptr):
        product = query[i] * vector[relation[e]] * key[source[e]]
        found.append(product.view(1, heads, -1).sum(dim=2))
    return torch.cat(found)


def edge_sum(
    weight: Tensor,
    value: Tensor,
    vector: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
) -> Tensor:
    rows = [value.new_zeros(value.shape[1]) for _ in range(len(indptr) - 1)]
    for i, e in _edges(indptr):
        scale = weight[e].repeat_interleave(value.shape[1] // weight.shape[1])
        rows[i] = rows[i] + scale * vector[relation[e]] * value[source[e]]
    return torch.stack(rows)


def edge_softmax(logits: Tensor, indptr: Tensor) -> Tensor:
    bounds = zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True)
    return torch.cat([logits[start:stop].softmax(dim=0) for start, stop in bounds])


def _edges(indptr: Tensor) -> list[tuple[int, int]]:
    bounds = zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True)
    return [(i, e) for i, bound in enumerate(bounds) for e in range(*bound)]
