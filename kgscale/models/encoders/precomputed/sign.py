"""SIGN: one linear map for each hop; SGC and the perceptron of plain features are cases of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kgscale.batch import FeatureRows
from kgscale.models.encoders.base import Activation
from kgscale.models.encoders.precomputed.base import Linear, MapEncoder, Perceptron, spread
from kgscale.types import Vectors


class SIGN(MapEncoder):
    """``MLP(act([x_0 W_0, x_1 W_1, …]))`` over the maps ``x_m`` (Frasca et al. 2020, equation 4).

    With ``last_only`` and ``depth`` 0 it is SGC (Wu et al. 2019): a linear map of the last hop of
    each source. With a propagation of no hops it is a perceptron of the features, which tells
    what the graph adds.

    Args:
        depth: linear maps after the concatenation; 0 adds the maps up instead.
        last_only: leave out all but the last hop of each source and kind.
    """

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        maps: Sequence[Mapping[str, Any]],
        depth: int = 1,
        last_only: bool = False,
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
        self._read(maps, last_hops(maps) if last_only else range(len(maps)))
        self.project = nn.ModuleList(
            Linear(width, dim, generator=generator) for width in self.map_dims
        )
        self.mix = Perceptron(
            width=dim * len(self.project),
            dim=dim,
            depth=depth,
            activation=activation,
            dropout=self.dropout,
            generator=generator,
        )

    def change(self, features: tuple[FeatureRows, ...], entities: int) -> Vectors:
        parts = [
            spread(linear(self.input_dropout(rows.value)), rows, entities)
            for rows, linear in zip(features, self.project, strict=True)
        ]
        out: Vectors = self.mix(torch.cat(parts, dim=1))
        return out


def last_hops(maps: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the maps that went farthest of their kind and source."""
    last: dict[tuple[str, str], int] = {}
    for spec in maps:
        about = spec["kind"], spec["source"]
        last[about] = max(last.get(about, 0), spec["hop"])
    return [at for at, spec in enumerate(maps) if spec["hop"] == last[spec["kind"], spec["source"]]]
