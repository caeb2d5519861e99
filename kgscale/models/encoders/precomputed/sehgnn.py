"""SeHGNN: maps along meta-paths, which attend to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import FeatureRows
from kgscale.models.encoders.base import Activation, glorot
from kgscale.models.encoders.precomputed.base import Linear, MapEncoder, Perceptron, spread
from kgscale.types import Vectors

SHARE = 4
"""Queries and keys have a fourth of the features, as in the authors' code."""


class Projection(nn.Module):
    """``PReLU(LayerNorm(x W + b))``."""

    def __init__(self, width: int, dim: int, *, generator: torch.Generator | None) -> None:
        super().__init__()
        self.linear = Linear(width, dim, generator=generator)
        self.norm, self.activation = nn.LayerNorm(dim), nn.PReLU()

    def forward(self, x: Vectors) -> Float[Tensor, "row out"]:
        out: Tensor = self.activation(self.norm(self.linear(x)))
        return out


class Fusion(nn.Module):
    """``h_m + beta * sum over maps n of softmax_n(q_m · k_n / sqrt(width)) v_n``.

    Yang et al. 2023, section 4.3; ``beta`` starts at zero.
    """

    def __init__(self, dim: int, *, generator: torch.Generator | None) -> None:
        super().__init__()
        width = max(1, dim // SHARE)
        self.query = glorot(dim, width, generator=generator)
        self.key = glorot(dim, width, generator=generator)
        self.value = glorot(dim, dim, generator=generator)
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, h: Float[Tensor, "entity map dim"]) -> Float[Tensor, "entity map dim"]:
        query, key = h @ self.query, h @ self.key
        logits = query @ key.transpose(1, 2) / self.query.shape[1] ** 0.5
        heard: Tensor = logits.softmax(dim=2) @ (h @ self.value)
        return h + self.beta * heard


class SeHGNN(MapEncoder):
    """``MLP([f_1, f_2, …])`` of the maps' projections ``f = Fusion(h)`` (Yang et al. 2023).

    A step costs ``entities × maps × dim`` numbers in memory, and their attention
    ``entities × maps²``.

    Args:
        depth: linear maps after the concatenation; 0 adds the maps up instead.
    """

    hidden_copies = 8.0

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        maps: Sequence[Mapping[str, Any]],
        depth: int = 1,
        dropout: float = 0.1,
        input_dropout: float = 0.0,
        residual: bool = True,
        activation: Activation = "relu",
        scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            num_relations=num_relations,
            dim=dim,
            maps=maps,
            dropout=dropout,
            input_dropout=input_dropout,
            residual=residual,
            scale=scale,
            generator=generator,
        )
        self.project = nn.ModuleList(
            Projection(spec["dim"], dim, generator=generator) for spec in maps
        )
        self.fusion = Fusion(dim, generator=generator)
        self.mix = Perceptron(
            width=dim * len(maps),
            dim=dim,
            depth=depth,
            activation=activation,
            dropout=self.dropout,
            generator=generator,
        )

    def change(self, features: tuple[FeatureRows, ...], entities: int) -> Vectors:
        parts = [
            spread(self.dropout(project(self.input_dropout(rows.value))), rows, entities)
            for project, rows in zip(self.project, features, strict=True)
        ]
        out: Vectors = self.mix(self.fusion(torch.stack(parts, dim=1)).flatten(1))
        return out
