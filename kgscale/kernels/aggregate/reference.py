"""Relational aggregation, one edge at a time: the oracle of the tests."""

from __future__ import annotations

import torch
from torch import Tensor


def aggregate_basis(
    x: Tensor,
    coefficient: Tensor,
    weight: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
) -> Tensor:
    rows = []
    for start, stop in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        row = x.new_zeros(coefficient.shape[1], x.shape[1])
        for e in range(start, stop):
            row = row + weight[e] * torch.outer(coefficient[relation[e]], x[source[e]])
        rows.append(row)
    return torch.stack(rows) if rows else x.new_zeros(0, coefficient.shape[1], x.shape[1])


def aggregate_compose(
    x: Tensor,
    relation_vector: Tensor,
    weight: Tensor,
    indptr: Tensor,
    source: Tensor,
    relation: Tensor,
    *,
    compose: str,
    relations_per_slot: int,
) -> Tensor:
    slots = -(-relation_vector.shape[0] // relations_per_slot)
    rows = []
    for start, stop in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        row = [x.new_zeros(x.shape[1]) for _ in range(slots)]
        for e in range(start, stop):
            message = composed(x[source[e]], relation_vector[relation[e]], compose)
            slot = int(relation[e]) // relations_per_slot
            row[slot] = row[slot] + weight[e] * message
        rows.append(torch.stack(row))
    return torch.stack(rows) if rows else x.new_zeros(0, slots, x.shape[1])


def composed(x: Tensor, r: Tensor, compose: str) -> Tensor:
    if compose == "multiply":
        return x * r
    if compose == "subtract":
        return x - r
    product = torch.complex(*x.chunk(2)) * torch.complex(*r.chunk(2))
    return torch.cat([product.real, product.imag])


def row_mean_weight(indptr: Tensor) -> Tensor:
    return torch.tensor([1 / n for n in indptr.diff().tolist() for _ in range(n)])


def relation_mean_weight(indptr: Tensor, relation: Tensor) -> Tensor:
    weight = []
    for start, stop in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        row = relation[start:stop].tolist()
        weight += [1 / row.count(r) for r in row]
    return torch.tensor(weight)
