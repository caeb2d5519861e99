"""One making of all maps: from all triples, or without those of a fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from kgscale.data.audit import Tell
from kgscale.graph.catalog import EntityType
from kgscale.graph.propagate.hop import Rows, copy_rows, mean_hop, symmetric_hop, write_rows
from kgscale.graph.propagate.maps import MapSpec, map_file
from kgscale.graph.propagate.profile import write_profile
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

    def copy(self, path: Path, x: Rows, rows: EntityType, *, normalize: bool = False) -> Rows:
        return copy_rows(path, x, rows, normalize=normalize)

    def profile(self, path: Path, columns: int) -> Rows:
        """Of all entities."""
        given, keep = self.given, self.keep(self.every)
        seed = self.settings.seed
        return write_profile(path, given.graph, keep, given.everything, columns=columns, seed=seed)

    def write(
        self, path: Path, rows: EntityType, dim: int, kind: torch.dtype, found: Iterable[Tensor]
    ) -> Rows:
        return write_rows(path, rows, dim, kind, found)

    def part_of(self, x: Rows, rows: EntityType, **about: Any) -> None:
        """A map that is a part of what is there already."""
        self.copy(self.new_map(rows, dim=x.dim, **about), x, rows)

    def drop(self, path: Path) -> None:
        """What was aside is needed no more."""
        path.unlink()


class Naming(Making):
    """The same steps without their rows: what the maps would be, at no cost."""

    def hop(self, path: Path, x: Rows, keep: Keep, to: EntityType) -> Rows:
        return _no_rows(to, x.dim)

    def copy(self, path: Path, x: Rows, rows: EntityType, *, normalize: bool = False) -> Rows:
        return _no_rows(rows, x.dim)

    def profile(self, path: Path, columns: int) -> Rows:
        return _no_rows(self.given.everything, columns)

    def write(
        self, path: Path, rows: EntityType, dim: int, kind: torch.dtype, found: Iterable[Tensor]
    ) -> Rows:
        return _no_rows(rows, dim)

    def drop(self, path: Path) -> None:
        pass


def _no_rows(rows: EntityType, dim: int) -> Rows:
    """Of the right shape, and of no memory."""
    return Rows(rows.start, torch.empty(1, 1).expand(rows.stop - rows.start, dim))
