"""Graph partitioning by streaming, and what is done with parts.

Preprocessing on the CPU, on arrays that may be memory-mapped: edges are only read, in rows. So
there is no torch tier. Row ``v`` of the adjacency holds an edge for each neighbour of ``v``, in
both directions.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Int32, Int64
from torch import Tensor

from kgscale.kernels.partition import numba_tier
from kgscale.kernels.partition.reference import RESTREAMS, capacity, fennel_weight
from kgscale.kernels.sample.reference import mix
from kgscale.types import EdgeSource, EdgeType, Indptr

__all__ = ["PASSES", "Part", "capacity", "count_inside", "group", "merge_edges", "stream_partition"]

Part = Int32[Tensor, " node"]

PASSES = 20


def stream_partition(
    indptr: Indptr,
    source: EdgeSource,
    *,
    parts: int,
    method: Literal["ldg", "fennel"],
    balance: float = 1.05,
    passes: int = PASSES,
    seed: int = 0,
) -> Part:
    """Give each node the part, of at most ``capacity``, that holds most of its neighbours.

    With ``n`` neighbours (counted once per edge) among the ``s`` nodes of a part, its score is

    - ``ldg``: ``n (1 - s / capacity)`` (Stanton & Kliot 2012);
    - ``fennel``: ``n - 3/2 alpha sqrt(s)``, ``alpha = sqrt(parts) E / N ** (3/2)``, ``E``
      undirected edges (Tsourakakis et al. 2014, with the derivative for the difference).

    Nodes of high degree come first. Later passes see the assignment of the pass before: the first
    three fill empty parts (Nishimura & Ugander 2013), the others move nodes one by one. Moving
    pays late: LDG may be worse after 4 to 10 passes than after 3. ``seed`` chooses the node of
    each class of degree to begin with. Memory: 4 bytes a node and 40 a part.
    """
    nodes = indptr.shape[0] - 1
    part, size = np.full(nodes, -1, np.int32), np.zeros(parts, np.int64)
    if not nodes:
        return torch.from_numpy(part)
    weight = fennel_weight(nodes, source.shape[0] // 2, parts) if method == "fennel" else -1.0
    scratch = tuple(np.zeros(length, np.int64) for length in (parts, parts + 1, 2 * parts))
    graph = (indptr.numpy(), source.numpy(), part, size)
    room = capacity(nodes, parts, balance)
    classes = np.flatnonzero(numba_tier.degree_classes(graph[0]))[::-1].tolist()
    for number in range(passes):
        if number < RESTREAMS:
            size[:] = 0
        for bits in classes:
            degrees = (1 << bits >> 1, 1 << bits)
            order = (*degrees, mix(seed) % nodes, number >= RESTREAMS)
            numba_tier.sweep(*graph, room, weight, *order, scratch)
    return torch.from_numpy(part)


def merge_edges(
    indptr: Indptr, source: EdgeSource
) -> tuple[
    Int64[Tensor, " target_plus_one"], Int64[Tensor, " neighbor"], Int64[Tensor, " neighbor"]
]:
    """The simple graph: rows, ascending neighbours but for the node itself, edges to each.

    Takes 16 bytes an edge.
    """
    bounds = np.empty(indptr.shape[0], np.int64)
    neighbor, count = (np.empty(source.shape[0], np.int64) for _ in range(2))
    used = numba_tier.merge(indptr.numpy(), source.numpy(), bounds, neighbor, count)
    return tuple(map(torch.from_numpy, (bounds, neighbor[:used], count[:used])))  # type: ignore[return-value]


def count_inside(
    indptr: Indptr, source: EdgeSource, relation: EdgeType, part: Part, *, num_relations: int
) -> tuple[Int64[Tensor, " relation"], Int64[Tensor, " relation"]]:
    """Edges whose ends share a part, and all edges, of each relation below ``num_relations``."""
    inside, edges = torch.zeros(2, num_relations, dtype=torch.int64).unbind()
    arrays = (indptr, source, relation, part, inside, edges)
    numba_tier.count_inside(*(tensor.numpy() for tensor in arrays))
    return inside, edges


def group(part: Part, parts: int) -> tuple[Int64[Tensor, " part_plus_one"], Int[Tensor, " node"]]:
    """The nodes of part ``p``, ascending, are ``member[indptr[p] : indptr[p + 1]]``."""
    nodes = part.shape[0]
    member = np.empty(nodes, np.int32 if nodes < 1 << 31 else np.int64)
    bounds = np.zeros(parts + 2, np.int64)
    numba_tier.group(part.numpy(), bounds, member)
    return torch.from_numpy(bounds[:-1]), torch.from_numpy(member)
