"""What a layer makes of its sums, as a torch operator: map, norm, ramp and residual in one pass.

Float32 on the CPU runs the numba tier around torch's products, everything else the torch tier.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate.edges import grain, numpy_arrays
from kgscale.kernels.threads import run_slices
from kgscale.kernels.update import numba_tier, torch_tier

__all__ = ["layer_update"]

BLOCK: Final = 4096
"""Rows whose part of a weight's gradient is summed by itself, however many threads there are."""


def layer_update(
    x: Float[Tensor, "known dim"],
    message: Float[Tensor, "row messages"],
    weight: Float[Tensor, "dim inputs"],
    bias: Float[Tensor, " dim"],
    scale: Float[Tensor, " dim"],
    shift: Float[Tensor, " dim"],
    *,
    residual: bool = True,
) -> Float[Tensor, "row dim"]:
    """``x_i + relu(norm(weight [x_i, message_i] + bias))`` with ``x_i = 0`` beyond the known rows.

    ``norm`` is the layer norm (Ba et al. 2016) with ``scale`` and ``shift``. Reads and writes a
    row once where a chain of torch's operators would do so ten times.

    Args:
        residual: whether ``x_i`` is added.
    """
    out: Tensor = _forward(
        x.contiguous(), message.contiguous(), weight, bias, scale, shift, residual
    )[0]
    return out


INPUTS = "Tensor x, Tensor message, Tensor weight, Tensor bias, Tensor scale, Tensor shift"
_forward = torch.library.custom_op(
    "kgscale::layer_update",
    torch_tier.forward,
    mutates_args=(),
    schema=f"({INPUTS}, bool residual) -> (Tensor, Tensor, Tensor, Tensor)",
)
_backward = torch.library.custom_op(
    "kgscale::layer_update_backward",
    torch_tier.backward,
    mutates_args=(),
    schema=f"(Tensor grad, {INPUTS}, bool residual, Tensor mapped, Tensor mean, Tensor rstd)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
# The torch tier is its own shape function: what runs on meta tensors is what runs on a GPU.
_forward.register_fake(torch_tier.forward)
_backward.register_fake(torch_tier.backward)


@_forward.register_kernel("cpu")
def _forward_cpu(*inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, message, weight, bias, scale, shift, residual = inputs
    if x.dtype != torch.float32:
        return torch_tier.forward(*inputs)
    mapped = torch_tier.mapped(x, message, weight, bias)
    out = torch.empty_like(mapped)
    mean, rstd = mapped.new_empty(len(mapped)), mapped.new_empty(len(mapped))
    arrays = numpy_arrays(mapped, x if residual else x[:0], scale, shift, out, mean, rstd)
    run_slices(
        lambda *rows: numba_tier.forward(*arrays, *rows),
        len(mapped),
        grain=grain(len(mapped), mapped.numel() * 8),
    )
    return out, mapped, mean, rstd


@_backward.register_kernel("cpu")
def _backward_cpu(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    x, message, weight, _, scale, shift, residual, mapped, mean, rstd = inputs
    if x.dtype != torch.float32:
        return torch_tier.backward(grad, *inputs)
    to_map = torch.empty_like(mapped)
    blocks = -(-len(mapped) // BLOCK)
    to_norm = mapped.new_zeros(blocks, 2, mapped.shape[1])
    arrays = numpy_arrays(grad, mapped, mean, rstd, scale, shift, to_map, to_norm)
    run_slices(
        lambda *some: numba_tier.backward(*arrays, BLOCK, *some),
        blocks,
        grain=grain(blocks, mapped.numel() * 8),
    )
    through = torch_tier.through_map(grad, to_map, x, message, weight, residual=residual)
    return (*through, to_norm[:, 0].sum(dim=0), to_norm[:, 1].sum(dim=0))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *given, ctx.residual = inputs
    ctx.save_for_backward(*given, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _gradient(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    *given, mapped, mean, rstd = ctx.saved_tensors
    return (*_backward(grad, *given, ctx.residual, mapped, mean, rstd), None)


_forward.register_autograd(_gradient, setup_context=_save)
