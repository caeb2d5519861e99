"""The edges among the entities of a subgraph, on the CPU."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch
from kgscale.kernels.ego.rows import AHEAD, gallop, within

PATIENCE = 16
"""Edges of a run scanned per entity sought, beyond which it is searched instead."""


@compiled
@typing.no_type_check
def join(graph, entity, mask, label, base, ids, room, at, degree):
    """All edges among the entities, row by row; where they end, or -1 if the room ends first.

    A row costs a look at each of its edges, or at most ``PATIENCE`` looks an entity for each of
    its relations and a few more to find where these end.
    """
    indptr, source, relation = graph
    position, out, kind = room
    size = entity.shape[0]
    patience = PATIENCE * size
    arranged = False
    for j in range(size):
        begin, stop = np.int64(indptr[entity[j]]), np.int64(indptr[entity[j] + 1])
        low, high = within(mask, begin, stop)
        row = at
        while begin < stop:
            end = stop
            if stop - begin > patience:
                end = gallop(relation, begin, stop, np.int64(relation[begin]) + 1)
            if end - begin > patience:
                if not arranged:
                    arrange(entity, ids)
                    arranged = True
                at = search(graph, begin, end, ids, size, label, base, room, at)
                if at < 0:
                    return at
            elif at + end - begin > position.shape[0]:
                return np.int64(-1)
            else:
                for e in range(begin, end):
                    prefetch(label, np.int64(source[min(e + AHEAD, end - 1)]))
                    local = label[source[e]] - base
                    position[at] = e
                    out[at] = local
                    kind[at] = relation[e]
                    at += local >= 0
            begin = end
        if low < high:
            at = drop(room, row, at, mask[0], low, high)
        degree[j] = at - row
    return at


@compiled
@typing.no_type_check
def search(graph, start, end, ids, size, label, base, room, at):
    """The edges from any of the ids in a run of one relation; sources and ids ascend."""
    _, source, relation = graph
    position, out, kind = room
    for i in range(size):
        u = ids[i]
        start = gallop(source, start, end, u)
        while start < end and source[start] == u:
            if at == position.shape[0]:
                return np.int64(-1)
            position[at] = start
            out[at] = label[u] - base
            kind[at] = relation[start]
            at += 1
            start += 1
    return at


@compiled
@typing.no_type_check
def arrange(values, out):
    """Shell's sort; numba's own takes seconds to compile."""
    size = values.shape[0]
    for i in range(size):
        out[i] = values[i]
    gap = size // 2
    while gap:
        for i in range(gap, size):
            value = out[i]
            while i >= gap and out[i - gap] > value:
                out[i] = out[i - gap]
                i -= gap
            out[i] = value
        gap //= 2


@compiled
@typing.no_type_check
def drop(room, row, at, hidden, low, high):
    """Close the gaps that hidden edges leave."""
    position, out, kind = room
    end = row
    for e in range(row, at):
        while low < high and hidden[low] < position[e]:
            low += 1
        if low < high and hidden[low] == position[e]:
            continue
        position[end], out[end], kind[end] = position[e], out[e], kind[e]
        end += 1
    return end
