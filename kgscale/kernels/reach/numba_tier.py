"""Breadth-first order of a union of subgraphs, and the edges of its steps."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled


@compiled
@typing.no_type_check
def order_by_hop(indptr, source, seeds, order, place, size):
    """Fill ``order`` with the entities reached, ``place`` with their positions in it (or none)."""
    far = np.int32(np.iinfo(np.int32).max)
    place[:] = far
    for i in range(seeds):
        order[i] = place[i] = i
    size[0] = known = seeds
    begin = np.int64(0)
    for hop in range(1, size.shape[0]):
        end = known
        for at in range(begin, end):
            v = order[at]
            for e in range(indptr[v], indptr[v + 1]):
                u = source[e]
                if place[u] == far:
                    order[known] = u
                    place[u] = known
                    known += 1
        size[hop] = known
        begin = end


@compiled
@typing.no_type_check
def count_edges(indptr, source, order, place, size, bounds):
    """Row by row, the edges of each step, and in the last row of ``bounds`` all; their sum."""
    steps = size.shape[0] - 1
    total = np.int64(0)
    for step in range(steps + 1):
        limit, rows = size[step], size[min(step + 1, steps)]
        for i in range(rows):
            v, found = order[i], np.int64(0)
            for e in range(indptr[v], indptr[v + 1]):
                found += place[source[e]] < limit
            bounds[step, i + 1] = bounds[step, i] + found
        total += bounds[step, rows]
    return total


@compiled
@typing.no_type_check
def place_edges(graph, order, place, size, relations, sources, kinds, edge):
    """The edges in the order in which ``count_edges`` counts them."""
    indptr, source, relation, owner, position = graph
    steps = size.shape[0] - 1
    at = kept = np.int64(0)
    for step in range(steps + 1):
        limit, whole = size[step], step == steps
        for i in range(size[min(step + 1, steps)]):
            v = order[i]
            base = 0 if whole else owner[v] * relations
            for e in range(indptr[v], indptr[v + 1]):
                local = place[source[e]]
                if local < limit:
                    sources[at] = local
                    kinds[at] = base + relation[e]
                    at += 1
                    if whole:
                        edge[kept] = position[e]
                        kept += 1
