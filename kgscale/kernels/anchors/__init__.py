"""What describes an entity without a vector of its own: the anchors nearby, and its relations.

Made once, on the CPU: there is no torch tier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int32, Int64, UInt8
from torch import Tensor

from kgscale.kernels.anchors import numba_tier
from kgscale.kernels.threads import run_slices
from kgscale.types import EdgeSource, EdgeType, Indptr

__all__ = ["Nearest", "frequent_relations", "nearest_anchors"]

GRAIN = 1024
"""Entities that are worth a thread."""


class Nearest(NamedTuple):
    """For each entity the nearest anchors, the nearest first; of two as near, the one listed first.

    Where an entity has fewer: ``len(anchors)``, at a distance of one more than was looked.
    """

    anchor: Int32[Tensor, "entity nearest"]
    """Place in the list of anchors."""
    hop: UInt8[Tensor, "entity nearest"]


def nearest_anchors(
    indptr: Indptr,
    source: EdgeSource,
    anchors: Int64[Tensor, " anchor"],
    *,
    nearest: int,
    hops: int,
) -> Nearest:
    """The ``nearest`` anchors of each entity that are at most ``hops`` edges away.

    An anchor that is among the nearest of an entity is among those of the neighbour through which
    it is reached, so that it suffices to merge the lists of neighbours, hop by hop: the work of
    ``hops`` passes over the edges, whatever the number of anchors.

    Args:
        indptr, source: in-edges; with both directions of all triples.
    """
    if not 1 <= hops < np.iinfo(np.uint8).max or nearest < 1:
        raise ValueError(f"nearest and hops must be positive, got {nearest} and {hops}")
    entities = len(indptr) - 1
    anchor = np.full((entities, nearest), len(anchors), np.int32)
    hop = np.full((entities, nearest), hops + 1, np.uint8)
    places = anchors.numpy()
    anchor[places, 0], hop[places, 0] = np.arange(len(places)), 0
    # What each entity has, and where in its list begins what it got at the last hop.
    count, begin = np.zeros((2, entities), np.int32)
    count[places] = 1
    edges = indptr.numpy(), source.numpy()
    for step in range(1, hops + 1):
        before = count.copy()

        def merge(
            start: int,
            stop: int,
            step: int = step,
            known: tuple[np.ndarray, np.ndarray] = (begin.copy(), before),
        ) -> None:
            numba_tier.merge(*edges, anchor, hop, *known, count, step, start, stop)

        run_slices(merge, entities, grain=GRAIN)
        begin = before
    return Nearest(torch.from_numpy(anchor), torch.from_numpy(hop))


def frequent_relations(
    indptr: Indptr, relation: EdgeType, *, count: int, num_relations: int
) -> Int[Tensor, "entity relation"]:
    """The ``count`` relations that most in-edges of each entity have, the most frequent first.

    Of two as frequent, the smaller; ``num_relations`` where there are fewer.

    Args:
        relation: ascending within each row.
    """
    if count < 1:
        raise ValueError(f"count must be positive, got {count}")
    kind = relation.numpy().dtype
    found = np.full((len(indptr) - 1, count), num_relations, kind)
    arrays = indptr.numpy(), relation.numpy(), found

    def fill(start: int, stop: int) -> None:
        numba_tier.frequent(*arrays, start, stop)

    run_slices(fill, len(found), grain=GRAIN)
    return torch.from_numpy(found)
