"""Relational aggregation in torch operators: any device, bounded memory, no synchronisation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

MESSAGE_FLOATS = 1 << 24
"""How many numbers the messages of one chunk of edges may hold (64 MiB in float32)."""


def edge_rows(indptr: Tensor, num_edges: int) -> Tensor:
    """The row of every edge."""
    row = torch.arange(indptr.shape[0] - 1, device=indptr.device)
    return row.repeat_interleave(indptr.diff(), output_size=num_edges)


def basis_forward(
    x: Tensor,
    coefficient: Tensor,
    weight: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
) -> Tensor:
    targets, bases, dim = indptr.shape[0] - 1, coefficient.shape[1], x.shape[1]
    row = edge_rows(indptr, source.shape[0])
    out = x.new_zeros(targets, bases, dim)
    for part in edge_chunks(source.shape[0], bases * dim):
        scale = coefficient.index_select(0, relation[part]) * weight[part, None]
        message = scale[:, :, None] * x.index_select(0, source[part])[:, None, :]
        out.index_add_(0, row[part], message)
    return out


def basis_backward(
    grad: Tensor,
    x: Tensor,
    coefficient: Tensor,
    weight: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
) -> tuple[Tensor, Tensor]:
    row = edge_rows(indptr, source.shape[0])
    grad_x, grad_coefficient = torch.zeros_like(x), torch.zeros_like(coefficient)
    for part in edge_chunks(source.shape[0], coefficient.shape[1] * x.shape[1]):
        scale = coefficient.index_select(0, relation[part]) * weight[part, None]
        arrived = grad.index_select(0, row[part])
        sent = x.index_select(0, source[part])
        grad_x.index_add_(0, source[part], torch.einsum("eb,ebd->ed", scale, arrived))
        inner = torch.einsum("ebd,ed->eb", arrived, sent) * weight[part, None]
        grad_coefficient.index_add_(0, relation[part], inner)
    return grad_x, grad_coefficient


def linear_forward(x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor) -> Tensor:
    """One basis after the other, so that the sums of one are in memory."""
    out = x.new_zeros(edges[1].shape[0] - 1, basis.shape[2])
    for column, matrix in zip(coefficient.unbind(dim=1), basis, strict=True):
        out.addmm_(basis_forward(x, column[:, None], *edges)[:, 0], matrix)
    return out


def linear_backward(
    grad: Tensor, x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, columns, matrices = torch.zeros_like(x), [], []
    for column, matrix in zip(coefficient.unbind(dim=1), basis, strict=True):
        arrived = (grad @ matrix.T)[:, None]
        to_x, to_column = basis_backward(arrived, x, column[:, None], *edges)
        grad_x += to_x
        columns.append(to_column)
        matrices.append(basis_forward(x, column[:, None], *edges)[:, 0].T @ grad)
    return grad_x, torch.cat(columns, dim=1), torch.stack(matrices)


def compose_forward(
    x: Tensor,
    relation_vector: Tensor,
    weight: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    compose: str,
    relations_per_slot: int,
) -> Tensor:
    targets, dim = indptr.shape[0] - 1, x.shape[1]
    slots = -(-relation_vector.shape[0] // relations_per_slot)
    slot = edge_rows(indptr, source.shape[0]) * slots + relation // relations_per_slot
    out = x.new_zeros(targets * slots, dim)
    for part in edge_chunks(source.shape[0], dim):
        r = relation_vector.index_select(0, relation[part])
        message = _composed(x.index_select(0, source[part]), r, compose)
        out.index_add_(0, slot[part], message * weight[part, None])
    return out.view(targets, slots, dim)


def compose_backward(
    grad: Tensor,
    x: Tensor,
    relation_vector: Tensor,
    weight: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    compose: str,
    relations_per_slot: int,
) -> tuple[Tensor, Tensor]:
    slots = grad.shape[1]
    slot = edge_rows(indptr, source.shape[0]) * slots + relation // relations_per_slot
    grad_x, grad_relation = torch.zeros_like(x), torch.zeros_like(relation_vector)
    flat = grad.reshape(-1, x.shape[1])
    for part in edge_chunks(source.shape[0], x.shape[1]):
        arrived = flat.index_select(0, slot[part]) * weight[part, None]
        sent = x.index_select(0, source[part])
        r = relation_vector.index_select(0, relation[part])
        to_x, to_r = _composed_backward(arrived, sent, r, compose)
        grad_x.index_add_(0, source[part], to_x)
        grad_relation.index_add_(0, relation[part], to_r)
    return grad_x, grad_relation


def row_mean_weight(indptr: Tensor, num_edges: int) -> Tensor:
    return indptr.diff().float().reciprocal()[edge_rows(indptr, num_edges)]


def relation_mean_weight(indptr: Tensor, relation: Tensor, num_relations: int) -> Tensor:
    key = edge_rows(indptr, relation.shape[0]) * num_relations + relation
    ordered, order = key.sort()
    count = torch.searchsorted(ordered, ordered, right=True) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(count, dtype=torch.float32).scatter_(0, order, 1 / count)


def edge_chunks(num_edges: int, floats_per_edge: int) -> Iterator[slice]:
    step = max(1, MESSAGE_FLOATS // max(1, floats_per_edge))
    for start in range(0, num_edges, step):
        yield slice(start, min(start + step, num_edges))


def _composed(x: Tensor, r: Tensor, compose: str) -> Tensor:
    if compose == "multiply":
        return x * r
    if compose == "subtract":
        return x - r
    (x_re, x_im), (r_re, r_im) = x.chunk(2, dim=1), r.chunk(2, dim=1)
    return torch.cat([x_re * r_re - x_im * r_im, x_re * r_im + x_im * r_re], dim=1)


def _composed_backward(grad: Tensor, x: Tensor, r: Tensor, compose: str) -> tuple[Tensor, Tensor]:
    if compose == "multiply":
        return grad * r, grad * x
    if compose == "subtract":
        return grad, -grad
    return _times_conjugate(grad, r), _times_conjugate(grad, x)


def _times_conjugate(a: Tensor, b: Tensor) -> Tensor:
    (a_re, a_im), (b_re, b_im) = a.chunk(2, dim=1), b.chunk(2, dim=1)
    return torch.cat([a_re * b_re + a_im * b_im, a_im * b_re - a_re * b_im], dim=1)
