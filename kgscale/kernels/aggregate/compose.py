"""Sums of composed messages (CompGCN), as a torch operator."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate import numba_tier, torch_tier
from kgscale.kernels.aggregate.edges import EDGES, edge_arrays, grain, numpy_arrays
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, EdgeWeight, Indptr, Vectors

Compose: TypeAlias = Literal["multiply", "subtract", "rotate"]

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
    if compose not in get_args(Compose):
        raise ValueError(f"compose is one of {', '.join(get_args(Compose))}, got {compose!r}")
    if compose == "rotate" and x.shape[1] % 2:
        raise ValueError(f"rotate needs an even number of features, got {x.shape[1]}")
    edges = edge_arrays(weight, indptr, source, relation)
    vector = relation_vector.contiguous()
    out: Tensor = _forward(x.contiguous(), vector, *edges, compose, relations_per_slot)
    return out


SLOTS = "str compose, int relations_per_slot"
_forward = torch.library.custom_op(
    "kgscale::aggregate_compose",
    torch_tier.compose_forward,
    mutates_args=(),
    schema=f"(Tensor x, Tensor vector, {EDGES}, {SLOTS}) -> Tensor",
)
_backward = torch.library.custom_op(
    "kgscale::aggregate_compose_backward",
    torch_tier.compose_backward,
    mutates_args=(),
    schema=f"(Tensor grad, Tensor x, Tensor vector, {EDGES}, {SLOTS}) -> (Tensor, Tensor)",
)
# The torch tier is its own shape function: what runs on meta tensors is what runs on a GPU.
_forward.register_fake(torch_tier.compose_forward)
_backward.register_fake(torch_tier.compose_backward)


@_forward.register_kernel("cpu")
def _forward_cpu(x: Tensor, vector: Tensor, *rest: Any) -> Tensor:
    *edges, compose, per_slot = rest
    if x.dtype != torch.float32:
        return torch_tier.compose_forward(x, vector, *rest)
    targets = edges[1].shape[0] - 1
    out = x.new_empty(targets, -(-vector.shape[0] // per_slot), x.shape[1])
    arrays = numpy_arrays(out, x, vector, *edges)
    kernel, work = FORWARD[compose], edges[2].shape[0] * x.shape[1]
    run_slices(lambda *rows: kernel(*arrays, per_slot, *rows), targets, grain=grain(targets, work))
    return out


@_backward.register_kernel("cpu")
def _backward_cpu(grad: Tensor, x: Tensor, vector: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *edges, compose, per_slot = rest
    if x.dtype != torch.float32:
        return torch_tier.compose_backward(grad, x, vector, *rest)
    grad_x, grad_r = torch.zeros_like(x), torch.zeros_like(vector)
    arrays = numpy_arrays(grad_x, grad_r, grad, x, vector, *edges)
    kernel, work = BACKWARD[compose], 2 * edges[2].shape[0] * x.shape[1]
    columns = x.shape[1] // 2 if compose == "rotate" else x.shape[1]
    least = grain(columns, work, unit=COLUMNS)
    run_slices(lambda *slices: kernel(*arrays, per_slot, *slices), columns, grain=least)
    return grad_x, grad_r


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.settings = inputs[6:]


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gradients = _backward(grad, *ctx.saved_tensors, *ctx.settings)
    return (*gradients, None, None, None, None, None, None)


_forward.register_autograd(_gradient, setup_context=_save)
