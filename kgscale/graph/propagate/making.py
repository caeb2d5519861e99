"""One making of all maps: from all triples, or without those of a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from kgscale.data.audit import Tell
from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.hop import Rows, copy_rows, mean_hop, symmetric_hop
from kgscale.graph.propagate.maps import MapSpec, map_file
from kgscale.graph.propagate.settings import Ingredients, Propagation
from kgscale.kernels.propagate import Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """Where maps are written and what they are, in the order in which they are begun."""

    given: Ingredients
    settings: Propagation
    targets: Sequence[EntityType]
    """The entities that get rows."""
    fold: int | None
    directory: Path
    """Of the maps."""
    scratch: Path
    """For what is no map but on the way to one."""
    tell: Tell
    maps: list[MapSpec] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    @property
    def every(self) -> Bool[Tensor, " relations"]:
        """All relations and reciprocal ones."""
        return torch.ones(2 * self.given.graph.num_relations, dtype=torch.bool)

    def only(self, relation: int) -> Bool[Tensor, " relations"]:
        return torch.arange(2 * self.given.graph.num_relations) == relation

    def keep(self, relations: Bool[Tensor, " relations"]) -> Keep:
        """The edges of some relations, without the fold's triples."""
        if self.fold is None:
            return Keep(relation=relations)
        folds, seed = self.settings.folds, self.settings.seed
        return Keep(relation=relations, folds=folds, hidden=self.fold, seed=seed)

    def new_map(self, rows: EntityType, **about: Any) -> Path:
        """Begin a map of these rows: where to write it."""
        spec = MapSpec(start=rows.start, stop=rows.stop, **about)
        self.maps.append(spec)
        without = "" if self.fold is None else f", without fold {self.fold + 1} of the triples"
        self.tell(f"propagating: {spec.name}{without}")
        return self.directory / map_file(len(self.maps) - 1)

    def aside(self) -> Path:
        """Begin something that is no map: where to write it."""
        return self.scratch / f"{next(self._numbers)}.npy"

    def hop(self, path: Path, x: Rows, keep: Keep, to: EntityType) -> Rows:
        if self.settings.normalize == "symmetric":
            return symmetric_hop(path, self.given.graph, x, keep, to)
        return mean_hop(path, self.given.graph, x, keep, to)

    def copy(self, x: Rows, rows: EntityType, **about: Any) -> None:
        """A map that is a part of what is there already."""
        copy_rows(self.new_map(rows, dim=x.dim, **about), x, rows)
