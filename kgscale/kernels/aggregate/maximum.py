"""The largest of the messages of each row, number by number, as a torch operator."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate import numba_tier, torch_tier
from kgscale.kernels.aggregate.compose import COLUMNS
from kgscale.kernels.aggregate.edges import grain, numpy_arrays
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, Indptr, Vectors


def aggregate_maximum(
    x: Vectors,
    relation_vector: Float[Tensor, "relations dim"],
    indptr: Indptr,
    source: EdgeSource,
    relation: EdgeType,
) -> Float[Tensor, "targets dim"]:
    """``z[i] = max over i's edges of x[source] * relation_vector``, number by number.

    A row without edges is 0. Of equal messages the first has the gradient.
    """
    edges = [indptr.long(), source.int(), relation.int()]
    out: Tensor = _forward(
        x.contiguous(), relation_vector.contiguous(), *(part.contiguous() for part in edges)
    )[0]
    return out


EDGES = "Tensor indptr, Tensor source, Tensor relation"
_forward = torch.library.custom_op(
    "kgscale::aggregate_maximum",
    torch_tier.maximum_forward,
    mutates_args=(),
    schema=f"(Tensor x, Tensor vector, {EDGES}) -> (Tensor, Tensor)",
)
_backward = torch.library.custom_op(
    "kgscale::aggregate_maximum_backward",
    torch_tier.maximum_backward,
    mutates_args=(),
    schema="(Tensor grad, Tensor first, Tensor x, Tensor vector, Tensor source, Tensor relation)"
    " -> (Tensor, Tensor)",
)
_forward.register_fake(torch_tier.maximum_forward)
_backward.register_fake(torch_tier.maximum_backward)


@_forward.register_kernel("cpu")
def _forward_cpu(x: Tensor, vector: Tensor, *edges: Tensor) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.maximum_forward(x, vector, *edges)
    targets = edges[0].shape[0] - 1
    out = x.new_empty(targets, x.shape[1])
    first = torch.empty(out.shape, dtype=torch.int32)
    arrays = numpy_arrays(out, first, x, vector, *edges)
    least = grain(targets, edges[1].shape[0] * x.shape[1])
    run_slices(lambda *rows: numba_tier.maximum_forward(*arrays, *rows), targets, grain=least)
    return out, first


@_backward.register_kernel("cpu")
def _backward_cpu(
    grad: Tensor, first: Tensor, x: Tensor, vector: Tensor, *edges: Tensor
) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return torch_tier.maximum_backward(grad, first, x, vector, *edges)
    grad_x, grad_r = torch.zeros_like(x), torch.zeros_like(vector)
    arrays = numpy_arrays(grad_x, grad_r, grad, first, x, vector, *edges)
    least = grain(x.shape[1], 4 * grad.numel(), unit=COLUMNS)
    run_slices(
        lambda *slices: numba_tier.maximum_backward(*arrays, *slices), x.shape[1], grain=least
    )
    return grad_x, grad_r


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    x, vector, _, source, relation = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], x, vector, source, relation)


def _gradient(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*_backward(grad, *ctx.saved_tensors), None, None, None)


_forward.register_autograd(_gradient, setup_context=_save)
