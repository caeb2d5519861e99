"""A linear map whose first weights come from a generator of our own."""

from __future__ import annotations

import torch
from torch import nn


def glorot_linear(width: int, out: int, generator: torch.Generator | None) -> nn.Linear:
    """``W x + b`` with Glorot's weights and ``b = 0``."""
    # Where other tensors are made: on a device without numbers if only sizes are wanted.
    place = torch.empty(0).device
    layer = nn.Linear(width, out, device="meta").to_empty(device=place)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
