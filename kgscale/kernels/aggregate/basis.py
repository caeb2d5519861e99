"""The basis decomposition of R-GCN (Schlichtkrull et al. 2018), as torch operators.

The gradient has two readers and two writers of one row of features per edge, and sources repeat.
On the CPU a task therefore owns some *columns* of ``x`` and walks over all rows in blocks that
stay in the cache: its scattered sums collide with nobody's, no transposed graph is needed, and
the matrix products split along the same columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate import numba_tier, torch_tier
from kgscale.kernels.aggregate.edges import EDGES, ROW_GRAIN, edge_arrays, numpy_arrays
from kgscale.kernels.threads import run_blocks, run_slices
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
    run_slices(lambda *rows: numba_tier.basis_forward(*arrays, 0, *rows), targets, grain=ROW_GRAIN)
    return out


@_linear.register_kernel("cpu")
def _linear_cpu(x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return torch_tier.linear_forward(x, coefficient, basis, *edges)
    targets = edges[1].shape[0] - 1
    out = x.new_empty(targets, basis.shape[2])
    arrays = numpy_arrays(x, coefficient, *edges)

    def rows(start: int, stop: int) -> None:
        z = x.new_empty(stop - start, *basis.shape[:2])
        numba_tier.basis_forward(z.numpy(), *arrays, start, start, stop)
        torch.mm(z.flatten(1), basis.flatten(0, 1), out=out[start:stop])

    run_blocks(rows, targets, size=ROWS)
    return out


@_sum_backward.register_kernel("cpu")
def _sum_backward_cpu(
    grad: Tensor, x: Tensor, coefficient: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.basis_backward(grad, x, coefficient, *edges)

    def arriving(rows: slice, columns: slice) -> Tensor:
        return grad[rows, :, columns].contiguous()

    return _backward_cpu(arriving, None, x, coefficient, edges)


@_linear_backward.register_kernel("cpu")
def _linear_backward_cpu(
    grad: Tensor, x: Tensor, coefficient: Tensor, basis: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.linear_backward(grad, x, coefficient, basis, *edges)
    grad_basis = torch.empty_like(basis)

    def arriving(rows: slice, columns: slice) -> Tensor:
        part = basis[:, columns]
        return torch.mm(grad[rows], part.flatten(0, 1).T).view(-1, *part.shape[:2])

    def finished(z: Tensor, rows: slice, columns: slice) -> None:
        part = torch.mm(z.flatten(1).T, grad[rows]).view_as(grad_basis[:, columns])
        if rows.start:
            grad_basis[:, columns] += part
        else:
            grad_basis[:, columns] = part

    gradients = _backward_cpu(arriving, finished, x, coefficient, edges)
    return (*gradients, grad_basis)


def _backward_cpu(
    arriving: Callable[[slice, slice], Tensor],
    finished: Callable[[Tensor, slice, slice], None] | None,
    x: Tensor,
    coefficient: Tensor,
    edges: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """Walk over all rows for some columns at a time.

    ``arriving`` gives the gradient of the sums of some rows and columns; ``finished`` gets those
    sums, computed once more.
    """
    targets, dim, bases = edges[1].shape[0] - 1, x.shape[1], coefficient.shape[1]
    grad_x = torch.zeros_like(x)
    partial = x.new_zeros(-(-dim // COLUMNS), *coefficient.shape)
    arrays = numpy_arrays(x, coefficient, *edges)

    def columns(low: int, high: int) -> None:
        z = x.new_empty(ROWS if finished else 0, bases, high - low)
        out = numpy_arrays(grad_x, partial[low // COLUMNS], z)
        for start in range(0, targets, ROWS):
            rows = slice(start, min(start + ROWS, targets))
            grad = arriving(rows, slice(low, high)).numpy()
            bounds = (rows.start, rows.stop, low, high)
            numba_tier.basis_backward(*out, grad, *arrays, *bounds)
            if finished:
                finished(z[: rows.stop - rows.start], rows, slice(low, high))

    run_blocks(columns, dim, size=COLUMNS)
    return grad_x, partial.sum(dim=0)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _sum_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_sum_backward(grad, *ctx.saved_tensors), None, None, None, None)


def _linear_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_linear_backward(grad, *ctx.saved_tensors), None, None, None, None)


_sum.register_autograd(_sum_gradient, setup_context=_save)
_linear.register_autograd(_linear_gradient, setup_context=_save)
