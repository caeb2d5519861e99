"""Rows of scores become weighted softmaxes in place.

bfloat16 on the CPU runs the numba tier, everything else the torch tier.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kgscale.kernels.aggregate.edges import grain, numpy_arrays
from kgscale.kernels.softmax import numba_tier, torch_tier
from kgscale.kernels.threads import run_slices

__all__ = ["softmax_"]

WORK = 8
"""Multiply-adds that a score is worth."""


@torch.no_grad()
def softmax_(
    scores: Float[Tensor, "padded_row padded_column"],
    shift: Float[Tensor, " column"],
    weight: Float[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """Write ``weight_i softmax(scores_i + shift)`` over the scores; return their log-sum-exp.

    Sums are float32 and a row's largest number is taken off first, whatever the scores' type. A
    row with a NaN or an infinity is NaN; minus infinity has no share.

    Args:
        scores: rows and columns beyond those of ``weight`` and ``shift`` stay what they are.
    """
    part = scores[: len(weight), : len(shift)]
    if scores.device.type != "cpu" or scores.dtype != torch.bfloat16 or not scores.is_contiguous():
        return torch_tier.softmax_(part, shift, weight)
    # No sum is greater, and the greatest is not far below where shifts are alike.
    most = part.amax(dim=1).float() + shift.max()
    out = torch.empty_like(most)
    arrays = (scores.view(torch.int16).numpy(), *numpy_arrays(shift, weight, most, out))
    run_slices(
        lambda *rows: numba_tier.softmax(*arrays, *rows),
        len(weight),
        grain=grain(len(weight), part.numel() * WORK),
    )
    return out
