"""Subgraphs put in the order in which messages from their seeds reach them, hop by hop.

Cut on the CPU in prefetch threads, as the subgraphs are: there is no torch tier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from kgscale.kernels.ego import EgoSample
from kgscale.kernels.reach import numba_tier
from kgscale.types import Indptr

__all__ = ["Reach", "Step", "reach"]


class Step(NamedTuple):
    """The edges along which one step of messages goes further."""

    indptr: Indptr
    """One row for each entity reached after the step."""
    source: Int32[Tensor, " edge"]
    """Entities reached before the step."""
    relation: Int32[Tensor, " edge"]
    """``owner * relations + relation``: every seed has relations of its own."""


class Reach(NamedTuple):
    """A disjoint union of subgraphs, its entities by their distance from their seed."""

    sample: EgoSample
    """Without the entities that are further away than all steps."""
    size: tuple[int, ...]
    """Entities within 0, 1, … hops: the first so many."""
    steps: tuple[Step, ...]


def reach(sample: EgoSample, *, seeds: int, steps: int, relations: int) -> Reach:
    """Order the entities by hops from their seeds, and find the edges that each step needs.

    What is not reached yet sends nothing, so that step ``k`` has only the edges from entities
    within ``k`` hops to those within ``k + 1``: in sparse graphs a third of what all steps over
    all edges would cost. Costs a look at each edge for each step.

    Args:
        sample: subgraphs that hold both directions of all triples, whose first ``seeds`` entities
            are the seeds.
        steps: of message passing.
        relations: of the graph, both directions.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    indptr, source, relation = (
        tensor.numpy() for tensor in (sample.indptr, sample.source, sample.relation)
    )
    order = np.empty(len(indptr) - 1, np.int32)
    place = np.empty(len(indptr) - 1, np.int32)
    size = np.zeros(steps + 1, np.int64)
    numba_tier.order_by_hop(indptr, source, seeds, order, place, size)
    order = order[: size[-1]]
    # The last row of edges is all that joins the entities kept, in the graph's own numbers.
    bounds = np.zeros((steps + 1, len(order) + 1), np.int64)
    total = numba_tier.count_edges(indptr, source, order, place, size, bounds)
    sources, kinds = np.empty((2, total), np.int32)
    edge = np.empty(bounds[-1, -1], sample.edge.numpy().dtype)
    arrays = (indptr, source, relation, sample.owner.numpy(), sample.edge.numpy())
    numba_tier.place_edges(arrays, order, place, size, relations, sources, kinds, edge)
    found, first = [], 0
    for step in range(steps + 1):
        rows = size[min(step + 1, steps)]
        last = first + bounds[step, rows]
        part = (bounds[step, : rows + 1], sources[first:last], kinds[first:last])
        found.append(Step(*map(torch.from_numpy, part)))
        first = last
    *path, whole = found
    kept = torch.from_numpy(order).long()
    return Reach(
        sample=EgoSample(
            entity_id=sample.entity_id[kept],
            indptr=whole.indptr,
            source=whole.source,
            relation=whole.relation,
            edge=torch.from_numpy(edge),
            owner=sample.owner[kept],
            score=sample.score[kept],
        ),
        size=tuple(size.tolist()),
        steps=tuple(path),
    )
