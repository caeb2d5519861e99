"""Optimiser steps that cost what they touch: only the rows of a table that have a gradient.

Tables of float32 on the CPU run the numba tier, everything else the torch tier. Rows without a
gradient keep weight and state: Adam's moments don't decay there, its step is counted by row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int32, Int64
from numpy.typing import NDArray
from torch import Tensor

from kgscale.kernels.rows import numba_tier, torch_tier
from kgscale.kernels.threads import run_slices

ROW_GRAIN = 512
"""Rows that are worth a thread."""


@torch.no_grad()
def rowwise_adagrad_(
    weight: Float[Tensor, "row dim"],
    state: Float[Tensor, "row dim"],
    ids: Int[Tensor, " touched"],
    grad: Float[Tensor, "touched dim"],
    *,
    lr: float,
    eps: float,
) -> None:
    """Adagrad (Duchi et al. 2011) on the rows ``ids``, which must be distinct."""
    if not _on_cpu(weight):
        torch_tier.rowwise_adagrad_(weight, state, ids, grad, lr=lr, eps=eps)
        return
    arrays = _numpy(weight, state, ids.long(), grad.contiguous())
    settings = (np.float32(lr), np.float32(eps))
    run_slices(
        lambda *rows: numba_tier.adagrad(*arrays, *settings, *rows), len(ids), grain=ROW_GRAIN
    )


@torch.no_grad()
def rowwise_adam_(
    weight: Float[Tensor, "row dim"],
    first: Float[Tensor, "row dim"],
    second: Float[Tensor, "row dim"],
    step: Int32[Tensor, " row"],
    ids: Int[Tensor, " touched"],
    grad: Float[Tensor, "touched dim"],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Adam (Kingma & Ba 2015) on the rows ``ids``, which must be distinct."""
    if not _on_cpu(weight):
        torch_tier.rowwise_adam_(
            weight, first, second, step, ids, grad, lr=lr, betas=betas, eps=eps
        )
        return
    arrays = _numpy(weight, first, second, step, ids.long(), grad.contiguous())
    settings = (np.float32(lr), float(betas[0]), float(betas[1]), np.float32(eps))
    run_slices(lambda *rows: numba_tier.adam(*arrays, *settings, *rows), len(ids), grain=ROW_GRAIN)


@torch.no_grad()
def sum_duplicates(
    ids: Int[Tensor, " entry"], grad: Float[Tensor, "entry dim"]
) -> tuple[Int64[Tensor, " unique"], Float[Tensor, "unique dim"]]:
    """Each id once, ascending, with the sum of its gradients in their given order.

    Where ids are given so already, the gradients are those given and no copy.
    """
    if not _on_cpu(grad):
        return torch_tier.sum_duplicates(ids.long(), grad)
    # All entities, for one: nothing to sort, and a copy would be as large as the table.
    if bool((ids[1:] > ids[:-1]).all()):
        return ids.long(), grad
    ordered, order = ids.long().sort(stable=True)
    unique, count = torch.unique_consecutive(ordered, return_counts=True)
    begin = torch.cat([count.new_zeros(1), count.cumsum(0)])
    out = grad.new_empty(unique.shape[0], grad.shape[1])
    arrays = _numpy(out, grad.contiguous(), order, begin)
    run_slices(lambda *rows: numba_tier.sum_runs(*arrays, *rows), unique.shape[0], grain=ROW_GRAIN)
    return unique, out


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def _numpy(*tensors: Tensor) -> list[NDArray[Any]]:
    return [tensor.detach().numpy() for tensor in tensors]
