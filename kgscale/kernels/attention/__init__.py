"""Attention over each row's edges: scores, their softmax, and sums weighted by it.

Row ``i`` owns the edges ``indptr[i]:indptr[i + 1]``. Each function is a torch operator with
gradients for all that it reads: float32 on the CPU runs the numba tier, everything else the torch
tier.
"""

from kgscale.kernels.attention.edges import edge_dot, edge_sum
from kgscale.kernels.attention.softmax import edge_softmax, relation_runs

__all__ = ["edge_dot", "edge_softmax", "edge_sum", "relation_runs"]
