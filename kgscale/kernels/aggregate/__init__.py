"""Relational aggregation: the messages of a relational layer, summed over each row's edges.

Row ``i`` owns the edges ``indptr[i]:indptr[i + 1]``. Each function is a torch operator with its
gradient: float32 on the CPU runs the numba tier, everything else the torch tier.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate import numba_tier, torch_tier
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, EdgeWeight, Indptr, Vectors

Compose: TypeAlias = Literal["multiply", "subtract", "rotate"]

ROW_GRAIN = 256
"""Rows that are worth a thread."""
COLUMNS = 32
"""Width of the slices of features that threads own: two cache lines of float32."""

FORWARD: dict[str, Any] = {
    "multiply": numba_tier.multiply_forward,
    "subtract": numba_tier.subtract_forward,
    "rotate": numba_tier.rotate_forward,
}
BACKWARD: dict[str, Any] = {
    "multiply": numba_tier.multiply_backward,
    "subtract": numba_tier.subtract_backward,
    "rotate": numba_tier.rotate_backward,
}


def aggregate_basis(
    x: Vectors,
    coefficient: Float[Tensor, "relations bases"],
    weight: EdgeWeight,
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
) -> Float[Tensor, "targets bases dim"]:
    """``z[i, b] = sum over i's edges of weight * coefficient[relation, b] * x[source]``.

    With a matrix per basis, ``z.flatten(1) @ basis.flatten(0, 1)`` is the R-GCN layer
    (Schlichtkrull et al. 2018) without a matrix per relation. ``weight`` has no gradient.
    """
    edges = _edges(weight, indptr, source, relation)
    out: Tensor = _basis(x.contiguous(), coefficient.contiguous(), *edges)
    return out


def aggregate_compose(
    x: Vectors,
    relation_vector: Float[Tensor, "relations dim"],
    weight: EdgeWeight,
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
    *,
    compose: Compose,
    relations_per_slot: int,
) -> Float[Tensor, "targets slots dim"]:
    """``z[i, s] = sum over i's edges in slot s of weight * (x[source] o relation_vector)``.

    The slot of an edge is ``relation // relations_per_slot``. The composition ``o`` is CompGCN's
    (Vashishth et al. 2020): the product, the difference, or the complex product of vectors whose
    first half is real and second half imaginary. ``weight`` has no gradient.
    """
    if compose not in FORWARD:
        raise ValueError(f"compose is one of {', '.join(FORWARD)}, got {compose!r}")
    if compose == "rotate" and x.shape[1] % 2:
        raise ValueError(f"rotate needs an even number of features, got {x.shape[1]}")
    edges = _edges(weight, indptr, source, relation)
    vector = relation_vector.contiguous()
    out: Tensor = _compose(x.contiguous(), vector, *edges, compose, relations_per_slot)
    return out


def row_mean_weight(indptr: Indptr, *, num_edges: int | None = None) -> EdgeWeight:
    """Weights that turn a row's sum into its mean; ``num_edges`` saves reading it back."""
    edges = int(indptr[-1]) if num_edges is None else num_edges
    return torch_tier.row_mean_weight(indptr, edges)


def relation_mean_weight(indptr: Indptr, relation: EdgeType, num_relations: int) -> EdgeWeight:
    """Weights that turn a row's sum over the edges of each relation into their mean."""
    if relation.device.type != "cpu":
        return torch_tier.relation_mean_weight(indptr, relation, num_relations)
    out = torch.empty(relation.shape[0], dtype=torch.float32)
    arrays = _numpy(out, indptr.long(), relation.int())

    def rows(start: int, stop: int) -> None:
        count = np.zeros(num_relations, np.int32)
        numba_tier.relation_weight(*arrays, count, start, stop)

    run_slices(rows, indptr.shape[0] - 1, grain=ROW_GRAIN)
    return out


def _edges(weight: Tensor, indptr: Tensor, source: Tensor, relation: Tensor) -> list[Tensor]:
    """One set of widths, so that each kernel is compiled once."""
    edges = [weight.detach(), indptr.long(), source.int(), relation.int()]
    return [tensor.contiguous() for tensor in edges]


def _numpy(*tensors: Tensor) -> list[np.ndarray[Any, Any]]:
    return [tensor.detach().numpy() for tensor in tensors]


EDGES = "Tensor weight, Tensor indptr, Tensor source, Tensor relation"
_basis = torch.library.custom_op(
    "kgscale::aggregate_basis",
    torch_tier.basis_forward,
    mutates_args=(),
    schema=f"(Tensor x, Tensor coefficient, {EDGES}) -> Tensor",
)
_basis_backward = torch.library.custom_op(
    "kgscale::aggregate_basis_backward",
    torch_tier.basis_backward,
    mutates_args=(),
    schema=f"(Tensor grad, Tensor x, Tensor coefficient, {EDGES}) -> (Tensor, Tensor)",
)
SLOTS = "str compose, int relations_per_slot"
_compose = torch.library.custom_op(
    "kgscale::aggregate_compose",
    torch_tier.compose_forward,
    mutates_args=(),
    schema=f"(Tensor x, Tensor vector, {EDGES}, {SLOTS}) -> Tensor",
)
_compose_backward = torch.library.custom_op(
    "kgscale::aggregate_compose_backward",
    torch_tier.compose_backward,
    mutates_args=(),
    schema=f"(Tensor grad, Tensor x, Tensor vector, {EDGES}, {SLOTS}) -> (Tensor, Tensor)",
)
# The torch tier is its own shape function: what runs on meta tensors is what runs on a GPU.
_basis.register_fake(torch_tier.basis_forward)
_basis_backward.register_fake(torch_tier.basis_backward)
_compose.register_fake(torch_tier.compose_forward)
_compose_backward.register_fake(torch_tier.compose_backward)


@_basis.register_kernel("cpu")
def _basis_cpu(x: Tensor, coefficient: Tensor, *edges: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return torch_tier.basis_forward(x, coefficient, *edges)
    targets = edges[1].shape[0] - 1
    out = x.new_zeros(targets, coefficient.shape[1], x.shape[1])
    arrays = _numpy(out, x, coefficient, *edges)
    run_slices(lambda *rows: numba_tier.basis_forward(*arrays, *rows), targets, grain=ROW_GRAIN)
    return out


@_basis_backward.register_kernel("cpu")
def _basis_backward_cpu(
    grad: Tensor, x: Tensor, coefficient: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.basis_backward(grad, x, coefficient, *edges)
    dim = x.shape[1]
    grad_x = torch.zeros_like(x)
    partial = x.new_zeros(-(-dim // COLUMNS), *coefficient.shape)
    arrays = _numpy(grad_x, partial, grad.contiguous(), x, coefficient, *edges)
    run_slices(
        lambda *columns: numba_tier.basis_backward(*arrays, *columns, COLUMNS), dim, grain=COLUMNS
    )
    return grad_x, partial.sum(dim=0)


@_compose.register_kernel("cpu")
def _compose_cpu(x: Tensor, vector: Tensor, *rest: Any) -> Tensor:
    *edges, compose, per_slot = rest
    if x.dtype != torch.float32:
        return torch_tier.compose_forward(x, vector, *rest)
    targets = edges[1].shape[0] - 1
    out = x.new_zeros(targets, -(-vector.shape[0] // per_slot), x.shape[1])
    arrays = _numpy(out, x, vector, *edges)
    kernel = FORWARD[compose]
    run_slices(lambda *rows: kernel(*arrays, per_slot, *rows), targets, grain=ROW_GRAIN)
    return out


@_compose_backward.register_kernel("cpu")
def _compose_backward_cpu(
    grad: Tensor, x: Tensor, vector: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    *edges, compose, per_slot = rest
    if x.dtype != torch.float32:
        return torch_tier.compose_backward(grad, x, vector, *rest)
    grad_x, grad_r = torch.zeros_like(x), torch.zeros_like(vector)
    arrays = _numpy(grad_x, grad_r, grad.contiguous(), x, vector, *edges)
    kernel = BACKWARD[compose]
    columns = x.shape[1] // 2 if compose == "rotate" else x.shape[1]
    run_slices(lambda *slices: kernel(*arrays, per_slot, *slices), columns, grain=COLUMNS)
    return grad_x, grad_r


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.settings = inputs[6:]


def _basis_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_basis_backward(grad, *ctx.saved_tensors), None, None, None, None)


def _compose_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gradients = _compose_backward(grad, *ctx.saved_tensors, *ctx.settings)
    return (*gradients, None, None, None, None, None, None)


_basis.register_autograd(_basis_gradient, setup_context=_save)
_compose.register_autograd(_compose_gradient, setup_context=_save)
