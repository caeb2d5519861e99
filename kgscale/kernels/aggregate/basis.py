"""The basis decomposition of R-GCN (Schlichtkrull et al. 2018), as torch operators.

The gradient has two readers and two writers of one row of features per edge, and sources repeat.
On the CPU a task therefore owns some *columns* of ``x`` and walks over all rows in blocks that
stay in the cache: its scattered sums collide with nobody's, no transposed graph is needed, and
the matrix products split along the same columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate import numba_tier, torch_tier
from kgscale.kernels.aggregate.edges import EDGES, edge_arrays, grain, numpy_arrays
from kgscale.kernels.threads import run_blocks, run_slices, run_tasks
from kgscale.types import EdgeSource, EdgeType, EdgeWeight, Indptr, Vectors

COLUMNS = 64
"""Features that a backward task owns."""
ROWS = 128
"""Rows of a block: with 8 bases and 64 columns, 256 KiB of sums."""


def aggregate_basis(
    x: Vectors,
    coefficient: Float[Tensor, "relations bases"],
    weight: EdgeWeight,
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
) -> Float[Tensor, "targets bases dim"]:
    """``z[i, b] = sum over i's edges of weight * coefficient[relation, b] * x[source]``.

    ``weight`` has no gradient.
    """
    edges = edge_arrays(weight, indptr, source, relation)
    out: Tensor = _sum(x.contiguous(), coefficient.contiguous(), *edges)
    return out


def basis_linear(
    x: Vectors,
    coefficient: Float[Tensor, "relations bases"],
    basis: Float[Tensor, "bases dim width"],
    weight: EdgeWeight,
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
) -> Float[Tensor, "targets width"]:
    """An R-GCN layer: ``aggregate_basis(...).flatten(1) @ basis.flatten(0, 1)``.

    The sums per basis are never stored, neither for the product nor for its gradient.
    """
    edges = edge_arrays(weight, indptr, source, relation)
    out: Tensor = _linear(x.contiguous(), coefficient.contiguous(), basis.contiguous(), *edges)
    return out


PARAMETERS = "Tensor x, Tensor coefficient"
_sum = torch.library.custom_op(
    "kgscale::aggregate_basis",
    torch_tier.basis_forward,
    mutates_args=(),
    schema=f"({PARAMETERS}, {EDGES}) -> Tensor",
)
_sum_backward = torch.library.custom_op(
    "kgscale::aggregate_basis_backward",
    torch_tier.basis_backward,
    mutates_args=(),
    schema=f"(Tensor grad, {PARAMETERS}, {EDGES}) -> (Tensor, Tensor)",
)
_linear = torch.library.custom_op(
    "kgscale::basis_linear",
    torch_tier.linear_forward,
    mutates_args=(),
    schema=f"({PARAMETERS}, Tensor basis, {EDGES}) -> Tensor",
)
_linear_backward = torch.library.custom_op(
    "kgscale::basis_linear_backward",
    torch_tier.linear_backward,
    mutates_args=(),
    schema=f"(Tensor grad, {PARAMETERS}, Tensor basis, {EDGES}) -> (Tensor, Tensor, Tensor)",
)
# The torch tier is its own shape function: what runs on meta tensors is what runs on a GPU.
_sum.register_fake(torch_tier.basis_forward)
_sum_backward.register_fake(torch_tier.basis_backward)
_linear.register_fake(torch_tier.linear_forward)
_linear_backward.register_fake(torch_tier.linear_backward)


@_sum.register_kernel("cpu")
def _sum_cpu(x: Tensor, coefficient: Tensor, *edges: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return torch_tier.basis_forward(x, coefficient, *edges)
    targets = edges[1].shape[0] - 1
    out = x.new_empty(targets, coefficient.shape[1], x.shape[1])
    arrays = numpy_arrays(out, x, coefficient, *edges)
    work = edges[2].shape[0] * out[:1].numel()
    run_slices(
        lambda *rows: numba_tier.basis_forward(*arrays, 0, *rows),
        targets,
        grain=grain(targets, work),
    )
    return out


@_linear.register_kernel("cpu")
def _linear_cpu(x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return torch_tier.linear_forward(x, coefficient, basis, *edges)
    targets = edges[1].shape[0] - 1
    out = x.new_empty(targets, basis.shape[2])
    arrays = numpy_arrays(x, coefficient, *edges)

    matrix = basis.flatten(0, 1)

    def rows(first: int, last: int) -> None:
        z = x.new_empty(ROWS, *basis.shape[:2])
        for start in range(first, last, ROWS):
            stop = min(start + ROWS, last)
            numba_tier.basis_forward(z.numpy(), *arrays, start, start, stop)
            torch.mm(z[: stop - start].flatten(1), matrix, out=out[start:stop])

    run_blocks(rows, targets, size=ROWS)
    return out


@_sum_backward.register_kernel("cpu")
def _sum_backward_cpu(
    grad: Tensor, x: Tensor, coefficient: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.basis_backward(grad, x, coefficient, *edges)
    grad_x, partial = torch.zeros_like(x), _partial(x, coefficient)
    arrays, targets = numpy_arrays(x, coefficient, *edges), grad.shape[0]
    nothing = np.empty((0, 1, 1), np.float32)

    def columns(low: int, high: int) -> None:
        into = (grad_x.numpy(), partial[low // COLUMNS].numpy(), nothing)
        for start in range(0, targets, ROWS):
            stop = min(start + ROWS, targets)
            arrived = grad[start:stop, :, low:high].contiguous().numpy()
            numba_tier.basis_backward(*into, arrived, *arrays, start, stop, low, high)

    _run_columns(columns, x.shape[1])
    return grad_x, partial.sum(dim=0)


@_linear_backward.register_kernel("cpu")
def _linear_backward_cpu(
    grad: Tensor, x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.linear_backward(grad, x, coefficient, basis, *edges)
    grad_x, partial = torch.zeros_like(x), _partial(x, coefficient)
    grad_basis = torch.empty_like(basis)
    arrays, targets = numpy_arrays(x, coefficient, *edges), grad.shape[0]

    def columns(low: int, high: int) -> None:
        matrix = basis[:, low:high].flatten(0, 1)
        total = torch.zeros_like(matrix)
        z, arrived = x.new_empty(2, ROWS, basis.shape[0], high - low).unbind()
        into = (grad_x.numpy(), partial[low // COLUMNS].numpy(), z.numpy(), arrived.numpy())
        for start in range(0, targets, ROWS):
            stop = min(start + ROWS, targets)
            size, block = stop - start, grad[start:stop]
            torch.mm(block, matrix.T, out=arrived[:size].flatten(1))
            numba_tier.basis_backward(*into, *arrays, start, stop, low, high)
            total.addmm_(z[:size].flatten(1).T, block)
        grad_basis[:, low:high] = total.view_as(grad_basis[:, low:high])

    _run_columns(columns, x.shape[1])
    return grad_x, partial.sum(dim=0), grad_basis


def _partial(x: Tensor, coefficient: Tensor) -> Tensor:
    """The coefficient's gradient is a sum over features: one part for each task."""
    return x.new_zeros(-(-x.shape[1] // COLUMNS), *coefficient.shape)


def _run_columns(columns: Callable[[int, int], None], dim: int) -> None:
    run_tasks(lambda low: columns(low, min(low + COLUMNS, dim)), range(0, dim, COLUMNS))


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _sum_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_sum_backward(grad, *ctx.saved_tensors), None, None, None, None)


def _linear_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_linear_backward(grad, *ctx.saved_tensors), None, None, None, None)


_sum.register_autograd(_sum_gradient, setup_context=_save)
_linear.register_autograd(_linear_gradient, setup_context=_save)
