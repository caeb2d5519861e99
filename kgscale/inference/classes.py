"""Which entities fit a relation: those of a class seen on its side in train."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from kgscale.graph.store import GraphStore


class EntityClasses:
    """Entities by the classes that train shows at the two ends of each relation."""

    def __init__(self, store: GraphStore) -> None:
        indptr, self._class = store.entity_classes()
        self._num_entities = store.num_entities
        self._entity = torch.arange(store.num_entities).repeat_interleave(indptr.long().diff())
        self._pairs = store.relation_classes()
        self._num_classes = len(store.class_names)

    def heads(self, relation: int) -> Bool[Tensor, " entity"]:
        return self._of({head for head, _ in self._pairs[relation]})

    def tails(self, relation: int) -> Bool[Tensor, " entity"]:
        return self._of({tail for _, tail in self._pairs[relation]})

    def _of(self, classes: set[int]) -> Bool[Tensor, " entity"]:
        wanted = torch.zeros(self._num_classes, dtype=torch.bool)
        wanted[sorted(classes)] = True
        found = torch.zeros(self._num_entities, dtype=torch.bool)
        found[self._entity[wanted[self._class.long()]]] = True
        return found
