"""Row-wise optimiser steps in torch operators; no synchronisation but for ``sum_duplicates``."""

from __future__ import annotations

import torch
from torch import Tensor


def rowwise_adagrad_(
    weight: Tensor, state: Tensor, ids: Tensor, grad: Tensor, *, lr: float, eps: float
) -> None:
    total = state.index_select(0, ids).addcmul_(grad, grad)
    state.index_copy_(0, ids, total)
    weight.index_add_(0, ids, grad / total.sqrt_().add_(eps), alpha=-lr)


def rowwise_adam_(
    weight: Tensor,
    first: Tensor,
    second: Tensor,
    step: Tensor,
    ids: Tensor,
    grad: Tensor,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    count = step.index_select(0, ids) + 1
    step.index_copy_(0, ids, count)
    mean = first.index_select(0, ids).mul_(betas[0]).add_(grad, alpha=1 - betas[0])
    square = second.index_select(0, ids).mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    first.index_copy_(0, ids, mean)
    second.index_copy_(0, ids, square)
    # In float64: 1 - 0.999 is known to four digits only in float32.
    mean_scale, square_scale = (1 / -torch.expm1(count.double() * _log(beta)) for beta in betas)
    mean *= mean_scale.to(mean.dtype)[:, None]
    square *= square_scale.to(square.dtype)[:, None]
    weight.index_add_(0, ids, mean / square.sqrt_().add_(eps), alpha=-lr)


def _log(beta: float) -> float:
    return float(torch.tensor(beta, dtype=torch.float64).log())


def sum_duplicates(ids: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    if not ids.shape[0]:
        return ids, grad
    unique, place = torch.unique(ids, return_inverse=True)
    order = place.argsort(stable=True)
    length = torch.zeros_like(unique).index_add_(0, place, torch.ones_like(place))
    return unique, torch.segment_reduce(grad[order], "sum", lengths=length)
