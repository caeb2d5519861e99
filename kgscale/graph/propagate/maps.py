"""Propagated features, opened: matrices of rows and what each of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import FeatureRows
from kgscale.graph.integrity import read_json, write_json

SPECS = "maps.json"
WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """What a map holds; the model that reads it is built from this."""

    name: str
    """For people: ``paper<-writes<-author``."""
    kind: Literal["feature", "label"]
    source: str
    """The type whose rows were propagated."""
    hop: int
    dim: int
    start: int
    """First entity that has a row."""
    stop: int
    """The entity after the last that has one."""
    subset: int | None = None
    """Which subset of the relations it was propagated over, where there are several."""
    given: int | None = None
    """The place of the type whose features are the map as they are."""


class Propagated:
    """Maps of entities; of links, once for each fold of triples that they know nothing of.

    Args:
        maps: what the maps are.
        whole: their rows, from all triples.
        folds: their rows without each fold's triples.
    """

    def __init__(
        self,
        maps: Sequence[MapSpec],
        whole: Sequence[Tensor],
        folds: Sequence[Sequence[Tensor]] = (),
    ) -> None:
        self.maps, self._whole, self._folds = list(maps), whole, folds

    @classmethod
    def open(cls, directory: Path, features: Mapping[int, Tensor]) -> Propagated:
        """Copy-on-write maps: nothing is read before it is used."""
        told = read_json(directory / SPECS)
        maps = [MapSpec(**spec) for spec in told["maps"]]
        whole, *folds = (
            [_rows(directory / part, at, spec, features) for at, spec in enumerate(maps)]
            for part in parts(told["folds"])
        )
        return cls(maps, whole, folds)

    @property
    def num_folds(self) -> int:
        return len(self._folds)

    def only(self, places: Sequence[int]) -> Propagated:
        """Some of the maps, in this order."""
        whole, *folds = (
            [matrices[at] for at in places] for matrices in (self._whole, *self._folds)
        )
        return Propagated([self.maps[at] for at in places], whole, folds)

    def specs(self) -> list[dict[str, Any]]:
        """What the maps are, as a setting of an encoder."""
        return [asdict(spec) for spec in self.maps]

    def gather(
        self, entity_id: Int64[Tensor, " entity"], *, fold: int | None = None
    ) -> tuple[FeatureRows, ...]:
        """The rows of these entities in each map, those that it has; without a fold's triples."""
        matrices = self._whole if fold is None else self._folds[fold]
        found = []
        for spec, matrix in zip(self.maps, matrices, strict=True):
            local = ((spec.start <= entity_id) & (entity_id < spec.stop)).nonzero()[:, 0]
            value = matrix[entity_id[local] - spec.start].float()
            found.append(FeatureRows(entity=local, value=value))
        return tuple(found)


def parts(folds: int) -> list[str]:
    """The directories of the maps: from all triples, then without each fold's."""
    return [WHOLE, *(f"fold-{fold}" for fold in range(folds))]


def map_file(number: int) -> str:
    return f"{number}.npy"


def write_specs(directory: Path, maps: Sequence[MapSpec], folds: int) -> None:
    write_json(directory / SPECS, {"maps": [asdict(spec) for spec in maps], "folds": folds})


def _rows(part: Path, number: int, spec: MapSpec, features: Mapping[int, Tensor]) -> Tensor:
    return open_rows(part / map_file(number)) if spec.given is None else features[spec.given]


def open_rows(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
