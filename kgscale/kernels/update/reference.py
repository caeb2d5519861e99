"""The layer's update as its formula is written."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kgscale.kernels.update.torch_tier import EPSILON


def layer_update(
    x: Tensor,
    message: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    residual: bool,
) -> Tensor:
    whole = functional.pad(x, (0, 0, 0, len(message) - len(x)))
    value = functional.linear(torch.cat([whole, message], dim=1), weight, bias)
    change = functional.layer_norm(value, [value.shape[1]], scale, shift, EPSILON).relu()
    return whole + change if residual else change
