"""Personalised PageRank by push, on the CPU: the entities of most mass.

Masses are whole numbers, ``ONE`` in all. Sums of them don't depend on the order of the terms, so
the result is the same to the last bit on every machine, and equal scores are equal.
"""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch
from kgscale.kernels.ego.reference import ONE
from kgscale.kernels.ego.rows import AHEAD, gallop, sample_row, visible, within

ENTITY, ESTIMATE, RESIDUAL, THRESHOLD = range(4)
"""Columns of what is kept of an entity, side by side: one cache line has them all."""


@compiled
@typing.no_type_check
def rank(graph, seed, push, weight, mask, label, base, state, queues, draws):
    """Push mass in rounds until no residual reaches its threshold; returns the entities touched.

    A round takes the mass of all entities at their threshold and then spreads it, over their edges
    in proportion to the weights of these edges' relations, or equally if there are none. One loop,
    since a call per row would cost more than the row.
    """
    indptr, source, relation = graph
    weighted = weight.shape[0] > 0
    walk, limit, longest, width = push
    frontier, upcoming, spread = queues
    bases, position, bitmap = draws
    hidden = mask[0]
    highest = ONE // limit + 1  # an entity of that degree is never at its threshold
    label[seed] = base
    degree = visible(indptr, seed, mask)
    drawn = degree > longest
    if drawn:
        sample_row(indptr, seed, width, bases[0], mask, position, bitmap)
    set_out(state, 0, seed, limit * min(max(1, degree), highest))
    state[0, RESIDUAL] = ONE
    frontier[0] = 0
    known = waiting = np.int64(1)
    while waiting:
        for k in range(waiting):
            i = np.int64(frontier[k])
            mass = state[i, RESIDUAL]
            whole = np.int64(width) if drawn else visible(indptr, state[i, ENTITY], mask)
            if weighted:
                row = (indptr, relation, state[i, ENTITY])
                whole = weigh(row, weight, mask, position[: width if drawn else 0])
            share = np.int64(np.float64(mass) * walk / np.float64(whole)) if whole else 0
            state[i, ESTIMATE] += mass - share * whole
            state[i, RESIDUAL] = 0
            spread[k] = share
        ready = np.int64(0)
        for k in range(waiting):
            share = spread[k]
            v = state[np.int64(frontier[k]), ENTITY]
            begin, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
            low, high = within(mask, begin, stop)
            pieces = width if drawn else high - low + 1
            for piece in range(pieces if share else 0):
                if drawn:
                    begin = position[piece]
                    end = begin + 1
                else:
                    end = hidden[low + piece] if low + piece < high else stop
                for e in range(begin, end):
                    prefetch(label, np.int64(source[min(e + AHEAD, end - 1)]))
                    u = np.int64(source[e])
                    local = np.int64(label[u]) - base
                    if local < 0:
                        local = known
                        label[u] = base + local
                        degree = visible(indptr, u, mask)
                        set_out(state, local, u, limit * min(max(1, degree), highest))
                        known += 1
                    more = share * weight[relation[e]] if weighted else share
                    before, threshold = state[local, RESIDUAL], state[local, THRESHOLD]
                    state[local, RESIDUAL] = before + more
                    if before < threshold and before + more >= threshold:
                        upcoming[ready] = local
                        ready += 1
                begin = end + 1
        drawn = False
        frontier, upcoming = upcoming, frontier
        waiting = ready
    return known


@compiled
@typing.no_type_check
def weigh(row, weight, mask, drawn):
    """The weights of all edges that mass spreads over: those drawn, or all that can be seen."""
    indptr, relation, v = row
    total = np.int64(0)
    if drawn.shape[0]:
        for e in drawn:
            total += weight[relation[e]]
        return total
    begin, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
    low, high = within(mask, begin, stop)
    for e in range(begin, stop):
        total += weight[relation[e]]
    for at in range(low, high):
        total -= weight[relation[mask[0][at]]]
    return total


@compiled
@typing.no_type_check
def set_out(state, local, entity, threshold):
    state[local, ENTITY] = entity
    state[local, ESTIMATE] = 0
    state[local, RESIDUAL] = 0
    state[local, THRESHOLD] = threshold


@compiled
@typing.no_type_check
def best(graph, state, known, walk, size, asked, mask, heap, entity, score):
    """The seed, then the best of the others in order; returns how many.

    Of these, ``reserved`` places are for the best that an edge of the asked relation leads to.
    """
    kind, reserved = asked
    for i in range(known):
        rest = state[i, RESIDUAL]
        state[i, ESTIMATE] += rest - np.int64(np.float64(rest) * walk)
    kept = np.int64(min(size, known))
    entity[0], score[0] = state[0, ENTITY], state[0, ESTIMATE] / ONE
    room = kept - 1
    some = np.int64(0)
    if reserved:
        some = select(graph, state, known, heap[: min(reserved, room)], kind, mask)
        for at in range(some):
            # A negative one is not chosen again.
            state[heap[at], ESTIMATE] = ~state[heap[at], ESTIMATE]
    select(graph, state, known, heap[some:room], np.int64(-1), mask)
    for at in range(some):
        state[heap[at], ESTIMATE] = ~state[heap[at], ESTIMATE]
    arrange(state, heap, room)
    for at in range(room, 0, -1):
        i = heap[0]
        entity[at], score[at] = state[i, ENTITY], state[i, ESTIMATE] / ONE
        heap[0] = heap[at - 1]
        sift(state, heap, 0, at - 1)
    return kept


@compiled
@typing.no_type_check
def select(graph, state, known, heap, kind, mask):
    """The best that an edge of the kind leads to, or of all if that is -1; returns how many.

    Until there are enough the heap is a list; then it has the worst of them at its root.
    """
    room, count = heap.shape[0], np.int64(0)
    for i in range(1, known if room else 0):
        if state[i, ESTIMATE] < 0 or (count == room and not worse(state, heap[0], i)):
            continue
        if kind >= 0 and not led_to(graph, state[i, ENTITY], kind, mask):
            continue
        if count < room:
            heap[count] = i
            count += 1
            if count == room:
                arrange(state, heap, room)
        else:
            heap[0] = i
            sift(state, heap, 0, room)
    return count


@compiled
@typing.no_type_check
def led_to(graph, v, kind, mask):
    """Whether an edge of the kind that is not hidden ends at ``v``."""
    indptr, _, relation = graph
    stop = np.int64(indptr[v + 1])
    first = gallop(relation, np.int64(indptr[v]), stop, kind)
    if first == stop or relation[first] != kind:
        return False
    low, high = within(mask, first, stop)
    while low < high and mask[0][low] == first:
        first += 1
        low += 1
    return first < stop and relation[first] == kind


@compiled
@typing.no_type_check
def arrange(state, heap, size):
    """Make a heap of it, with the worst at its root."""
    for at in range(size // 2 - 1, -1, -1):
        sift(state, heap, at, size)


@compiled
@typing.no_type_check
def worse(state, i, j):
    """Whether ``i`` has a lower score than ``j``, or the same and a higher id."""
    mine, other = state[i, ESTIMATE], state[j, ESTIMATE]
    return mine < other or (mine == other and state[i, ENTITY] > state[j, ENTITY])


@compiled
@typing.no_type_check
def sift(state, heap, at, size):
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and worse(state, heap[child + 1], heap[child]):
            child += 1
        if not worse(state, heap[child], heap[at]):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child
