"""The stored features of a few entities, as a step or a block of rows needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import FeatureRows
from kgscale.graph.catalog import EntityType


class StoredFeatures:
    """Memory-mapped features by storage type: only the rows that are asked for are read.

    Args:
        types: of the store, in the order of ids.
        matrices: a row per entity of a type, by the type's place in ``types``.
    """

    def __init__(self, types: Sequence[EntityType], matrices: Mapping[int, Tensor]) -> None:
        self._parts = [(types[at], matrices[at]) for at in sorted(matrices)]

    def gather(self, entity_id: Int64[Tensor, " entity"]) -> tuple[FeatureRows, ...]:
        """In float32, one item for each type with features."""
        return tuple(_rows(kind, matrix, entity_id) for kind, matrix in self._parts)


def _rows(kind: EntityType, matrix: Tensor, entity_id: Int64[Tensor, " entity"]) -> FeatureRows:
    mine = (entity_id >= kind.start) & (entity_id < kind.stop)
    place = mine.nonzero()[:, 0]
    return FeatureRows(entity=place, value=matrix[entity_id[place] - kind.start].float())
