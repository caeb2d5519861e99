"""Row-wise optimiser steps by dense formulas on the touched rows: the oracle of the tests."""

from __future__ import annotations

import torch
from torch import Tensor


def rowwise_adagrad_(
    weight: Tensor, state: Tensor, ids: Tensor, grad: Tensor, *, lr: float, eps: float
) -> None:
    state[ids] += grad**2
    weight[ids] -= lr * grad / (state[ids].sqrt() + eps)


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
    step[ids] += 1
    t = step[ids, None].double()
    first[ids] = betas[0] * first[ids] + (1 - betas[0]) * grad
    second[ids] = betas[1] * second[ids] + (1 - betas[1]) * grad**2
    corrected = first[ids] / (1 - betas[0] ** t)
    weight[ids] -= (lr * corrected / ((second[ids] / (1 - betas[1] ** t)).sqrt() + eps)).float()


def sum_duplicates(ids: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    unique = sorted(set(ids.tolist()))
    summed = [grad[ids == i].sum(dim=0) for i in unique]
    return ids.new_tensor(unique), torch.stack(summed) if summed else grad
