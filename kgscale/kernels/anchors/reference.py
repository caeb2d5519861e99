"""The same, by a search from every entity."""

from __future__ import annotations

from collections import Counter

import torch
from jaxtyping import Int, Int64
from torch import Tensor

from kgscale.types import EdgeSource, EdgeType, Indptr


def nearest_anchors(
    indptr: Indptr,
    source: EdgeSource,
    anchors: Int64[Tensor, " anchor"],
    *,
    nearest: int,
    hops: int,
) -> tuple[Tensor, Tensor]:
    place = {entity: at for at, entity in enumerate(anchors.tolist())}
    found = []
    for entity in range(len(indptr) - 1):
        distance = {entity: 0}
        ring = [entity]
        for hop in range(1, hops + 1):
            ring = [
                neighbour
                for one in ring
                for neighbour in source[int(indptr[one]) : int(indptr[one + 1])].tolist()
                if distance.setdefault(neighbour, hop) == hop
            ]
        rows = sorted((hop, place[one]) for one, hop in distance.items() if one in place)
        found.append((rows + [(hops + 1, len(anchors))] * nearest)[:nearest])
    table = torch.tensor(found).view(-1, nearest, 2)
    return table[..., 1].int(), table[..., 0].to(torch.uint8)


def frequent_relations(
    indptr: Indptr, relation: EdgeType, *, count: int, num_relations: int
) -> Int[Tensor, "entity relation"]:
    found = []
    for entity in range(len(indptr) - 1):
        here = Counter(relation[int(indptr[entity]) : int(indptr[entity + 1])].tolist())
        ordered = sorted(here, key=lambda one: (-here[one], one))
        found.append((ordered + [num_relations] * count)[:count])
    return torch.tensor(found, dtype=relation.dtype).view(-1, count)
