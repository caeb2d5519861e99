"""What all aggregations share: the edges' arrays, and weights that turn sums into means."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgscale.kernels.aggregate import numba_tier, torch_tier
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, EdgeWeight, Indptr

EDGES = "Tensor weight, Tensor indptr, Tensor source, Tensor relation"
"""In the schema of an operator."""
WORTH = 1 << 20
"""Multiply-adds that are worth another thread (some 300 microseconds)."""


def grain(total: int, work: int, *, unit: int = 1) -> int:
    """How much of ``total`` is worth a thread where all of it is ``work`` multiply-adds."""
    return max(1, -(-total // (unit * max(1, work // WORTH)))) * unit


def edge_arrays(
    weight: EdgeWeight, indptr: Indptr, source: EdgeSource, relation: EdgeType
) -> list[Tensor]:
    """One set of widths, so that each kernel is compiled once."""
    edges = [weight.detach(), indptr.long(), source.int(), relation.int()]
    return [tensor.contiguous() for tensor in edges]


def numpy_arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def row_mean_weight(indptr: Indptr, *, num_edges: int | None = None) -> EdgeWeight:
    """Weights that turn a row's sum into its mean; ``num_edges`` saves reading it back."""
    edges = int(indptr[-1]) if num_edges is None else num_edges
    return torch_tier.row_mean_weight(indptr, edges)


def relation_mean_weight(indptr: Indptr, relation: EdgeType, num_relations: int) -> EdgeWeight:
    """Weights that turn a row's sum over the edges of each relation into their mean."""
    if relation.device.type != "cpu":
        return torch_tier.relation_mean_weight(indptr, relation, num_relations)
    out = torch.empty(relation.shape[0], dtype=torch.float32)
    arrays = numpy_arrays(out, indptr.long(), relation.int())

    def rows(start: int, stop: int) -> None:
        count = np.zeros(num_relations, np.int32)
        numba_tier.relation_weight(*arrays, count, start, stop)

    run_slices(rows, indptr.shape[0] - 1, grain=grain(indptr.shape[0], relation.shape[0] * 16))
    return out
