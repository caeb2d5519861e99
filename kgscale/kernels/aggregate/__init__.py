"""Relational aggregation: the messages of a relational layer, summed over each row's edges.

Row ``i`` owns the edges ``indptr[i]:indptr[i + 1]``. Each function is a torch operator with its
gradient: float32 on the CPU runs the numba tier, everything else the torch tier.
"""

from kgscale.kernels.aggregate.basis import aggregate_basis, basis_linear
from kgscale.kernels.aggregate.compose import Compose, aggregate_compose
from kgscale.kernels.aggregate.edges import relation_mean_weight, row_mean_weight

__all__ = [
    "Compose",
    "aggregate_basis",
    "aggregate_compose",
    "basis_linear",
    "relation_mean_weight",
    "row_mean_weight",
]
