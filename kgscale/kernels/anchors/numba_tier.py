"""Lists of anchors merged along edges, and runs of relations counted."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled


@compiled
@typing.no_type_check
def merge(indptr, source, anchor, hop, begin, end, count, step, start, stop):
    """Append to each list the smallest anchors that a neighbour got at the hop before."""
    width = anchor.shape[1]
    for v in range(start, stop):
        have = end[v]
        if have == width:
            continue
        size = have
        for e in range(indptr[v], indptr[v + 1]):
            u = source[e]
            # The first that doesn't fit ends the list of a neighbour: it is ascending.
            for at in range(begin[u], end[u]):
                new = anchor[u, at]
                if size == width and new >= anchor[v, width - 1]:
                    break
                place = size
                for i in range(size):
                    if anchor[v, i] == new:
                        place = -1
                        break
                if place < 0:
                    continue
                place = min(size, width - 1)
                size = min(size + 1, width)
                while place > have and anchor[v, place - 1] > new:
                    anchor[v, place] = anchor[v, place - 1]
                    place -= 1
                anchor[v, place] = new
        for i in range(have, size):
            hop[v, i] = step
        count[v] = size


@compiled
@typing.no_type_check
def frequent(indptr, relation, found, start, stop):
    """An insertion into a short list, for each run of equal relations."""
    width = found.shape[1]
    often = np.empty(width, np.int64)
    for v in range(start, stop):
        size = 0
        first = indptr[v]
        while first < indptr[v + 1]:
            last = first + 1
            while last < indptr[v + 1] and relation[last] == relation[first]:
                last += 1
            length = last - first
            if size < width or length > often[width - 1]:
                place = min(size, width - 1)
                size = min(size + 1, width)
                while place > 0 and often[place - 1] < length:
                    often[place] = often[place - 1]
                    found[v, place] = found[v, place - 1]
                    place -= 1
                often[place] = length
                found[v, place] = relation[first]
            first = last
