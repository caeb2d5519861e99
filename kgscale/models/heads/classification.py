"""The head that classifies nodes."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.errors import ConfigError
from kgscale.models.linear import glorot_linear
from kgscale.types import Vectors


class ClassificationHead(nn.Module):
    """``logits = W dropout(h) + b``, or with ``hidden`` a layer more before it.

    For one class of several as for several classes at once: the loss tells them apart.

    Args:
        dim: length of the entity vectors.
        num_classes: logits of each entity.
        dropout: share of the features that training leaves out.
        hidden: features of a layer ``relu(W_1 dropout(h) + b_1)`` between; null for none.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_classes: int,
        dropout: float = 0.0,
        hidden: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"a head needs at least one class to tell, got {num_classes}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"classifier.dropout needs a share in [0, 1), got {dropout}")
        if hidden is not None and hidden < 1:
            raise ConfigError(f"classifier.hidden needs a positive int or null, got {hidden}")
        self.num_classes = num_classes
        sizes = [dim, num_classes] if hidden is None else [dim, hidden, num_classes]
        parts: list[nn.Module] = []
        for width, out in pairwise(sizes):
            parts += [nn.Dropout(dropout), glorot_linear(width, out, generator), nn.ReLU()]
        self.layers = nn.Sequential(*parts[:-1])

    def forward(self, x: Vectors) -> Float[Tensor, "row class"]:
        logits: Tensor = self.layers(x)
        return logits
