"""What encoders share that read rows of precomputed maps, and no edges."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kgscale.batch import Block, FeatureRows, Given, SubgraphBatch
from kgscale.errors import ConfigError
from kgscale.models.encoders.base import (
    ACTIVATIONS,
    FLOAT,
    Activation,
    Encoder,
    LayerBytes,
    glorot,
)
from kgscale.types import RelationVectors, Vectors


class MapEncoder(Encoder):
    """``out = x + gain * change(maps)``, or the change alone.

    The gain starts at zero, so that a model of links starts as the embedding-only one.

    Args:
        maps: what each map is that there is: ``kind``, ``source``, ``hop``, ``dim``, ``start`` and
            ``subset`` of the propagation's specifications. Those at ``places`` are read.
        dropout: share of the hidden features that training leaves out.
        input_dropout: the same of the maps' own.
        residual: add the change to the entities' own vectors.
    """

    reads: ClassVar[str] = "maps"

    def __init__(
        self,
        *,
        num_relations: int,
        dim: int,
        maps: Sequence[Mapping[str, Any]],
        dropout: float,
        input_dropout: float,
        residual: bool,
        scale: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(
            num_relations=num_relations, dim=dim, num_layers=0, scale=scale, generator=generator
        )
        if not maps:
            raise ConfigError("encoder.maps is empty: use strategy=precomputed, which makes maps")
        for name, share in (("dropout", dropout), ("input_dropout", input_dropout)):
            if not 0 <= share < 1:
                raise ConfigError(f"encoder.{name} needs a share in [0, 1), got {share}")
        self._read(maps, range(len(maps)))
        self.dropout, self.input_dropout = nn.Dropout(dropout), nn.Dropout(input_dropout)
        self.gain = nn.Parameter(torch.zeros(dim)) if residual else None

    def _read(self, maps: Sequence[Mapping[str, Any]], places: Sequence[int]) -> None:
        """Settle which maps a batch has to bring, in this order."""
        self.places: list[int] = list(places)
        self.num_maps = len(self.places)
        self.map_dims = [int(maps[at]["dim"]) for at in self.places]

    hidden_copies: ClassVar[float] = 2.0
    """Vectors of ``dim`` that an entity's row of a map leaves for the gradient, mapped and
    activated; dropout leaves one more."""

    def rows_bytes(self, entities: float) -> LayerBytes:
        """An estimate of what a step keeps of the rows of so many entities, and its peak.

        Rows are copied where ``input_dropout`` leaves some of them out; the backward pass has the
        gradients of two vectors of ``dim`` for each map at a time.
        """
        row, given = FLOAT * self.dim, FLOAT * float(sum(self.map_dims))
        copied = 2 * given if self.input_dropout.p else 0.0
        copies = self.hidden_copies + bool(self.dropout.p)
        kept = entities * (copied + copies * self.mapped * row)
        return LayerBytes(kept, kept + 2 * entities * self.mapped * row)

    @property
    def mapped(self) -> int:
        """How many rows of an entity are mapped."""
        return self.num_maps

    @abstractmethod
    def change(self, features: tuple[FeatureRows, ...], entities: int) -> Vectors:
        """What the maps say of each of so many entities."""

    def rows(self, x: Float[Tensor, "entity dim"], features: tuple[FeatureRows, ...]) -> Vectors:
        """New vectors of some entities, each from its own rows alone.

        Args:
            x: the entities' own vectors.
            features: their rows of each map at ``places``; zeros stand for a map without a row.
        """
        if len(features) != self.num_maps:
            raise ValueError(f"the encoder reads {self.num_maps} maps, got {len(features)}")
        change = self.change(features, x.shape[0])
        return change if self.gain is None else x + self.gain * change

    def forward(
        self, x: Float[Tensor, "entity dim"], batch: SubgraphBatch
    ) -> tuple[Vectors, RelationVectors]:
        return self.rows(x, only_features(batch.features)), self.relation

    def layer(
        self,
        index: int,
        x: Float[Tensor, "entity dim"],
        relation: Float[Tensor, "relation dim"],
        block: Block,
    ) -> Float[Tensor, "target dim"]:
        raise AssertionError("an encoder without layers was asked for one")


class Linear(nn.Module):
    """``x W + b``, from a generator of our own."""

    def __init__(self, width: int, out: int, *, generator: torch.Generator | None) -> None:
        super().__init__()
        self.weight = glorot(width, out, generator=generator)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Vectors) -> Float[Tensor, "row out"]:
        return torch.addmm(self.bias, x, self.weight)


class Perceptron(nn.Module):
    """``depth`` linear maps, the first from ``width`` columns, each after activation and dropout.

    Without any, columns are summed in groups of ``dim``.
    """

    def __init__(
        self,
        *,
        width: int,
        dim: int,
        depth: int,
        activation: Activation,
        dropout: nn.Dropout,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        if depth < 0:
            raise ConfigError(f"encoder.depth needs an int of at least 0, got {depth}")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ConfigError(f"encoder.activation is one of {known}; got {activation!r}")
        self.dim, self.dropout = dim, dropout
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation]
        sizes = [width, *[dim] * (depth - 1)] if depth else []
        self.layers = nn.ModuleList(Linear(size, dim, generator=generator) for size in sizes)

    def forward(self, x: Float[Tensor, "row width"]) -> Vectors:
        if not self.layers:
            return x.view(x.shape[0], -1, self.dim).sum(dim=1)
        for layer in self.layers:
            x = layer(self.dropout(self.activation(x)))
        return x


def only_features(given: Given) -> tuple[FeatureRows, ...]:
    """Without tokens, which such an encoder doesn't read."""
    return tuple(rows for rows in given if isinstance(rows, FeatureRows))


def spread(value: Vectors, rows: FeatureRows, entities: int) -> Float[Tensor, "entity dim"]:
    """The vectors of a map's rows at their entities, zeros elsewhere."""
    if value.shape[0] == entities:
        return value
    return value.new_zeros(entities, value.shape[1]).index_copy(0, rows.entity, value)
