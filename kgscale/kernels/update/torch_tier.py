"""The layer's update by torch's operators, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5


def mapped(x: Tensor, message: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``weight [x, message] + bias`` without putting the two side by side."""
    known, dim = x.shape
    out = torch.addmm(bias, message, weight[:, dim:].t())
    out[:known].addmm_(x, weight[:, :dim].t())
    return out


def forward(
    x: Tensor,
    message: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The new rows, and what the gradient needs: the mapped rows, their means and 1 / deviation."""
    value = mapped(x, message, weight, bias)
    normed, mean, rstd = torch.native_layer_norm(value, [value.shape[1]], scale, shift, EPSILON)
    out = normed.relu()
    if residual:
        out[: len(x)] += x
    return out, value, mean[:, 0], rstd[:, 0]


def backward(
    grad: Tensor,
    x: Tensor,
    message: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    residual: bool,
    value: Tensor,
    mean: Tensor,
    rstd: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of all six inputs."""
    unit = (value - mean[:, None]) * rstd[:, None]
    passed = grad * (unit * scale + shift > 0)
    to_unit = passed * scale
    to_map = rstd[:, None] * (
        to_unit
        - to_unit.mean(dim=1, keepdim=True)
        - unit * (to_unit * unit).mean(dim=1, keepdim=True)
    )
    through = through_map(grad, to_map, x, message, weight, residual=residual)
    return (*through, (passed * unit).sum(dim=0), passed.sum(dim=0))


def through_map(
    grad: Tensor, to_map: Tensor, x: Tensor, message: Tensor, weight: Tensor, *, residual: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From the gradient of the mapped rows to those of ``x``, ``message``, ``weight``, ``bias``."""
    known, dim = x.shape
    inner = to_map[:known]
    to_x = inner @ weight[:, :dim]
    if residual:
        to_x += grad[:known]
    to_weight = torch.cat([inner.t() @ x, to_map.t() @ message], dim=1)
    return to_x, to_map @ weight[:, dim:], to_weight, to_map.sum(dim=0)
