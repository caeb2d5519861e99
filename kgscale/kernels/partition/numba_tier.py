"""Streaming partitioning on the CPU: time per edge, and per node the logarithm of the parts.

Only parts that hold a neighbour can beat the smallest part, and a tournament tree of part sizes
knows that one.
"""

from __future__ import annotations

import math
import typing

import numpy as np

from kgscale.kernels.compile import compiled
from kgscale.kernels.partition.reference import ONE

BITS = 64


@compiled
@typing.no_type_check
def degree_classes(indptr):
    """How many nodes have a degree of ``k`` bits, for each ``k``."""
    found = np.zeros(BITS, np.int64)
    for v in range(indptr.shape[0] - 1):
        degree, bits = np.int64(indptr[v + 1]) - np.int64(indptr[v]), 0
        while degree:
            degree >>= 1
            bits += 1
        found[bits] += 1
    return found


@compiled
@typing.no_type_check
def _score(count, size, room, weight):
    """LDG's for a negative weight."""
    if weight < 0:
        return count * (room - size)
    return count * ONE - np.int64(weight * math.sqrt(size))


@compiled
@typing.no_type_check
def _smaller(size, one, other):
    if size[other] < size[one] or (size[other] == size[one] and other < one):
        return other
    return one


@compiled
@typing.no_type_check
def _lift(size, tree, part):
    """Let a part whose size has changed play its games again."""
    node = (size.shape[0] + part) >> 1
    while node:
        tree[node] = _smaller(size, tree[2 * node], tree[2 * node + 1])
        node >>= 1


@compiled
@typing.no_type_check
def sweep(indptr, source, part, size, room, weight, low, high, start, move, scratch):
    """Assign the nodes of degree ``low .. high - 1``, from ``start`` on and around.

    ``move``: every node has a part that counts it, and leaves it first.
    """
    count, touched, tree = scratch
    nodes, parts = part.shape[0], size.shape[0]
    for p in range(parts):
        tree[parts + p] = p
    for node in range(parts - 1, 0, -1):
        tree[node] = _smaller(size, tree[2 * node], tree[2 * node + 1])
    for step in range(nodes):
        v = start + step
        if v >= nodes:
            v -= nodes
        first, last = np.int64(indptr[v]), np.int64(indptr[v + 1])
        if last - first < low or last - first >= high:
            continue
        if move:
            size[part[v]] -= 1
            _lift(size, tree, np.int64(part[v]))
        found = 0
        for e in range(first, last):
            p = np.int64(part[source[e]])
            if p >= 0 and source[e] != v:
                touched[found] = p
                found += count[p] == 0
                count[p] += 1
        best = tree[1]
        highest = _score(count[best], size[best], room, weight)
        for i in range(found):
            p = touched[i]
            if size[p] < room:
                score = _score(count[p], size[p], room, weight)
                if score > highest or (score == highest and _smaller(size, best, p) == p):
                    best, highest = p, score
        for i in range(found):
            count[touched[i]] = 0
        part[v] = best
        size[best] += 1
        _lift(size, tree, best)


@compiled
@typing.no_type_check
def merge(indptr, source, bounds, neighbor, count):
    """Rows without self-loops, each neighbour once; returns how much of the room was used."""
    end = 0
    bounds[0] = 0
    for v in range(indptr.shape[0] - 1):
        stop = end
        for e in range(np.int64(indptr[v]), np.int64(indptr[v + 1])):
            neighbor[stop] = source[e]
            stop += source[e] != v
        neighbor[end:stop].sort()
        at = end
        for i in range(end, stop):
            if at > end and neighbor[at - 1] == neighbor[i]:
                count[at - 1] += 1
            else:
                neighbor[at] = neighbor[i]
                count[at] = 1
                at += 1
        bounds[v + 1] = end = at
    return end


@compiled
@typing.no_type_check
def count_inside(indptr, source, relation, part, inside, edges):
    for v in range(indptr.shape[0] - 1):
        for e in range(np.int64(indptr[v]), np.int64(indptr[v + 1])):
            r = np.int64(relation[e])
            if r < edges.shape[0]:
                edges[r] += 1
                inside[r] += part[v] == part[source[e]]


@compiled
@typing.no_type_check
def group(part, bounds, member):
    """``bounds`` is of zeros, and two longer than there are parts; its last becomes useless."""
    for v in range(part.shape[0]):
        bounds[np.int64(part[v]) + 2] += 1
    for p in range(1, bounds.shape[0]):
        bounds[p] += bounds[p - 1]
    for v in range(part.shape[0]):
        p = np.int64(part[v]) + 1
        member[bounds[p]] = v
        bounds[p] += 1
