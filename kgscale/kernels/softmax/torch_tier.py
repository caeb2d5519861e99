"""Softmaxes by torch's operators: for GPUs, other types, and as the reference."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def softmax_(
    scores: Float[Tensor, "row column"],
    shift: Float[Tensor, " column"],
    weight: Float[Tensor, " row"],
) -> Float[Tensor, " row"]:
    share = scores.float()
    share += shift
    most = share.amax(dim=1, keepdim=True)
    share.sub_(most).exp_()
    total = share.sum(dim=1, keepdim=True)
    share.mul_(weight[:, None] / total)
    if share is not scores:
        scores.copy_(share)
    return (most + total.log())[:, 0]
