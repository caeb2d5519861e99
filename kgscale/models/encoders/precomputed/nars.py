"""NARS: maps over random subsets of the relations, mixed by learned weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kgscale.batch import FeatureRows
from kgscale.models.encoders.base import Activation
from kgscale.models.encoders.precomputed.sign import SIGN
from kgscale.types import Vectors


class NARS(SIGN):
    """SIGN of ``h_k = sum over subsets s of a_ks ⊙ x_ks`` for each hop ``k`` (Yu et al. 2020).

    The weights ``a_ks`` are of every feature apart (section 4.2), and start as a mean.
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
        groups = alike(maps)
        super().__init__(
            num_relations=num_relations,
            dim=dim,
            maps=[maps[group[0]] for group in groups],
            depth=depth,
            last_only=last_only,
            dropout=dropout,
            input_dropout=input_dropout,
            residual=residual,
            activation=activation,
            scale=scale,
            generator=generator,
        )
        groups = [groups[at] for at in self.places]
        self._read(maps, sorted(at for group in groups for at in group))
        self.groups = [[self.places.index(at) for at in group] for group in groups]
        self.weight = nn.ParameterDict(
            {
                str(number): torch.full((len(group), self.map_dims[group[0]]), 1 / len(group))
                for number, group in enumerate(self.groups)
                if len(group) > 1
            }
        )

    @property
    def mapped(self) -> int:
        """Those of a hop are mixed before."""
        return len(self.groups)

    def change(self, features: tuple[FeatureRows, ...], entities: int) -> Vectors:
        return super().change(self.mixed(features), entities)

    def mixed(self, features: tuple[FeatureRows, ...]) -> tuple[FeatureRows, ...]:
        """One map for all subsets, of each hop."""
        found = []
        for number, group in enumerate(self.groups):
            rows = features[group[0]]
            if len(group) > 1:
                parts = zip(self.weight[str(number)], group, strict=True)
                value = torch.stack([weight * features[at].value for weight, at in parts]).sum(0)
                rows = FeatureRows(entity=rows.entity, value=value)
            found.append(rows)
        return tuple(found)


def alike(maps: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Places of the maps that differ in nothing but their subset."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for at, spec in enumerate(maps):
        apart = at if spec.get("subset") is None else None
        about = (spec["kind"], spec["source"], spec["hop"], spec["start"], apart)
        groups.setdefault(about, []).append(at)
    return list(groups.values())
