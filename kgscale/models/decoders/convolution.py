"""A decoder that is a small convolutional network of head and relation."""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from kgscale.errors import ConfigError
from kgscale.models.decoders.base import ProductDecoder

Vectors: TypeAlias = Float[Tensor, "*batch dim"]


class ConvE(ProductDecoder):
    """Score ``f(vec(f([h; r] * w)) W) t + b_t`` (Dettmers et al. 2018).

    The vectors of head and relation are laid out as pictures, one above the other. The last
    number of an entity's vector is its bias. Not symmetric.

    Args:
        dropout: share of the numbers of heads and relations that training leaves out.
        channels: filters of the convolution.
        kernel: their height and width.
        height: rows of a vector's picture, a divisor of ``dim``.
        feature_dropout: share of the convolution's channels that training leaves out.
        hidden_dropout: share of the question's numbers that training leaves out.
    """

    symmetric = False

    def __init__(
        self,
        *,
        dim: int,
        num_relations: int = 0,
        dropout: float = 0.2,
        channels: int = 32,
        kernel: int = 3,
        height: int = 8,
        feature_dropout: float = 0.2,
        hidden_dropout: float = 0.3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim=dim, dropout=dropout)
        for name, share in (("feature", feature_dropout), ("hidden", hidden_dropout)):
            if not 0 <= share < 1:
                raise ConfigError(f"decoder.{name}_dropout needs a share in [0, 1), got {share}")
        if height < 1 or dim % height:
            raise ConfigError(
                f"decoder.height needs a positive divisor of encoder.dim={dim}, got {height}"
            )
        width = dim // height
        if channels < 1 or not 1 <= kernel <= min(2 * height, width):
            raise ConfigError(
                f"decoder.kernel={kernel} and decoder.channels={channels} don't fit a picture of"
                f" {2 * height} by {width}"
            )
        self.height, self.width = height, width
        left = channels * (2 * height - kernel + 1) * (width - kernel + 1)
        self.filters = _uniform(channels, 1, kernel, kernel, fan=kernel**2, generator=generator)
        self.last = _uniform(left, dim - 1, fan=left, generator=generator)
        self.norm_picture, self.norm_maps = nn.BatchNorm2d(1), nn.BatchNorm2d(channels)
        self.norm_question = nn.BatchNorm1d(dim - 1)
        self.drop_maps = nn.Dropout2d(feature_dropout)
        self.drop_question = nn.Dropout(hidden_dropout)

    def query(self, head: Vectors, relation: Vectors) -> Vectors:
        rows = (-1, 1, self.height, self.width)
        picture = torch.cat([head.reshape(rows), relation.reshape(rows)], dim=2)
        maps = functional.conv2d(self.norm_picture(picture), self.filters)
        maps = self.drop_maps(self.norm_maps(maps).relu())
        found = self.drop_question(maps.flatten(1) @ self.last)
        found = self.norm_question(found).relu()
        ones = found.new_ones(found.shape[0], 1)
        return torch.cat([found, ones], dim=1).reshape(head.shape)


def _uniform(*shape: int, fan: int, generator: torch.Generator | None) -> nn.Parameter:
    bound = fan**-0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=generator))
