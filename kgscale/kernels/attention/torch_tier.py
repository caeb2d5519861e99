"""Attention in torch operators: any device, bounded memory, no synchronisation.

All is one form, linear in each of its four factors: ``sum over edges, heads h and features f of
weight[e, h] query[i, f] vector[r, f] key[s, f]`` for an edge from ``s`` to row ``i`` by relation
``r``. Its derivatives by ``weight``, ``query``, and ``key`` and ``vector`` are :func:`dot`,
:func:`total` and :func:`scatter`, so each of them is the other's gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kgscale.kernels.aggregate.torch_tier import edge_chunks, edge_rows


def dot(
    query: Tensor,
    key: Tensor,
    vector: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    heads: int,
) -> Tensor:
    row, out = edge_rows(indptr, source.shape[0]), query.new_empty(source.shape[0], heads)
    for part in edge_chunks(source.shape[0], query.shape[1]):
        message = key.index_select(0, source[part]) * vector.index_select(0, relation[part])
        message *= query.index_select(0, row[part])
        out[part] = _heads(message, heads).sum(dim=2)
    return out


def total(
    weight: Tensor,
    value: Tensor,
    vector: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
) -> Tensor:
    row = edge_rows(indptr, source.shape[0])
    out = value.new_zeros(indptr.shape[0] - 1, value.shape[1])
    for part in edge_chunks(source.shape[0], value.shape[1]):
        message = value.index_select(0, source[part]) * vector.index_select(0, relation[part])
        out.index_add_(0, row[part], _by_head(message, weight[part]))
    return out


def scatter(
    weight: Tensor,
    query: Tensor,
    key: Tensor,
    vector: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
) -> tuple[Tensor, Tensor]:
    row = edge_rows(indptr, source.shape[0])
    grad_key, grad_vector = torch.zeros_like(key), torch.zeros_like(vector)
    for part in edge_chunks(source.shape[0], key.shape[1]):
        arrived = _by_head(query.index_select(0, row[part]), weight[part])
        s, r = source[part], relation[part]
        grad_key.index_add_(0, s, arrived * vector.index_select(0, r))
        grad_vector.index_add_(0, r, arrived * key.index_select(0, s))
    return grad_key, grad_vector


def softmax(logits: Tensor, indptr: Tensor) -> Tensor:
    row = edge_rows(indptr, logits.shape[0])
    place = row[:, None].expand_as(logits)
    lowest = logits.new_full((indptr.shape[0] - 1, logits.shape[1]), -torch.inf)
    highest = lowest.scatter_reduce(0, place, logits, "amax")
    exponential = (logits - highest.index_select(0, row)).exp_()
    normaliser = torch.zeros_like(lowest).index_add_(0, row, exponential)
    return exponential / normaliser.index_select(0, row)


def softmax_backward(grad: Tensor, share: Tensor, indptr: Tensor) -> Tensor:
    row, product = edge_rows(indptr, share.shape[0]), grad * share
    mean = share.new_zeros(indptr.shape[0] - 1, share.shape[1]).index_add_(0, row, product)
    return product - share * mean.index_select(0, row)


def _by_head(message: Tensor, weight: Tensor) -> Tensor:
    """The weight of a head times the features of that head."""
    return (_heads(message, weight.shape[1]) * weight[:, :, None]).flatten(1)


def _heads(features: Tensor, heads: int) -> Tensor:
    rows, dim = features.shape
    return features.view(rows, heads, dim // heads)
