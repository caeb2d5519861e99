"""Softmax over each row's edges, as a torch operator."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.kernels.aggregate.edges import grain, numpy_arrays
from kgscale.kernels.aggregate.torch_tier import edge_rows
from kgscale.kernels.attention import numba_tier, torch_tier
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeType, Indptr

EXPONENTIAL = 16
"""Multiply-adds that an exponential takes as long as, about."""


def edge_softmax(
    logits: Float[Tensor, "edge heads"], indptr: Indptr
) -> Float[Tensor, "edge heads"]:
    """``out[e, h] = exp(logits[e, h]) / sum over the row's edges of exp(logits[., h])``."""
    out: Tensor = _softmax(logits.contiguous(), indptr.long().contiguous())
    return out


def relation_runs(
    indptr: Indptr, relation: EdgeType, *, num_relations: int
) -> tuple[Int64[Tensor, " edge"], Int64[Tensor, " edge_plus_one"]]:
    """An order of the edges by row, then relation, and the bounds of each (row, relation) in it.

    The order keeps every edge in its row. There are as many bounds as there could be pairs, so
    that nothing has to be counted first; the last ones are of pairs without edges.
    """
    num_edges = relation.shape[0]
    key, order = (edge_rows(indptr, num_edges) * num_relations + relation).sort(stable=True)
    is_new = torch.ones_like(key)
    is_new[1:] = (key[1:] != key[:-1]).long()
    size = torch.zeros_like(key).index_add_(0, is_new.cumsum(0) - 1, torch.ones_like(key))
    return order, torch.cat([size.new_zeros(1), size.cumsum(0)])


_softmax = torch.library.custom_op(
    "kgscale::edge_softmax",
    torch_tier.softmax,
    mutates_args=(),
    schema="(Tensor logits, Tensor indptr) -> Tensor",
)
_backward = torch.library.custom_op(
    "kgscale::edge_softmax_backward",
    torch_tier.softmax_backward,
    mutates_args=(),
    schema="(Tensor grad, Tensor share, Tensor indptr) -> Tensor",
)
_softmax.register_fake(torch_tier.softmax)
_backward.register_fake(torch_tier.softmax_backward)


@_softmax.register_kernel("cpu")
def _softmax_cpu(logits: Tensor, indptr: Tensor) -> Tensor:
    if logits.dtype != torch.float32:
        return torch_tier.softmax(logits, indptr)
    out = torch.empty_like(logits)
    _run(numba_tier.softmax, out, logits, indptr)
    return out


@_backward.register_kernel("cpu")
def _backward_cpu(grad: Tensor, share: Tensor, indptr: Tensor) -> Tensor:
    if share.dtype != torch.float32:
        return torch_tier.softmax_backward(grad, share, indptr)
    out = torch.empty_like(share)
    _run(numba_tier.softmax_backward, out, grad, share, indptr)
    return out


def _run(kernel: Any, out: Tensor, *inputs: Tensor) -> None:
    arrays, rows = numpy_arrays(out, *inputs), inputs[-1].shape[0] - 1
    least = grain(rows, EXPONENTIAL * out.numel())
    run_slices(lambda *part: kernel(*arrays, *part), rows, grain=least)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, inputs[1])


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _backward(grad, *ctx.saved_tensors), None


_softmax.register_autograd(_gradient, setup_context=_save)
