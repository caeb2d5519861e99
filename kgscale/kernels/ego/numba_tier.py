"""Subgraphs of single seeds on the CPU: choose the entities, then find the edges among them.

Masses are whole numbers, ``ONE`` in all. Sums of them don't depend on the order of the terms, so
the result is the same to the last bit on every machine, and equal scores are equal.
"""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch
from kgscale.kernels.ego.reference import ONE
from kgscale.kernels.sample.numba_tier import (
    GOLDEN,
    WORD,
    U,
    _draw_marked,
    _draw_sorted,
    _draw_word,
    mix,
)

ENTITY, ESTIMATE, RESIDUAL, THRESHOLD = range(4)
"""Columns of what is kept of an entity, side by side: one cache line has them all."""
AHEAD = 16
"""Edges between asking for a source's label and reading it."""
PATIENCE = 16
"""Edges of a run scanned per entity sought, beyond which it is searched instead."""


@compiled
@typing.no_type_check
def cut(graph, seeds, stop, settings, hidden, scratch, last, found, progress):
    """Cut the seeds up to ``stop``, or until labels exceed ``last`` or edges their room.

    Entities, scores and degrees are written seed after seed; a local source is a position among
    the entities of its seed. Takes and returns the seeds done, entities, edges, and the base.
    """
    by_rank, size, walk, limit, longest, width, fanout, bases = settings
    hidden_indptr, hidden_edge = hidden
    label, state, frontier, upcoming, spread, heap, ids, position, bitmap = scratch
    count, entity, score, degree, room = found
    done, nodes, edges, base = progress
    draws = (bases, position, bitmap)
    queues = (frontier, upcoming, spread)
    while done < stop and base <= last:
        row = min(done, hidden_indptr.shape[0] - 2)
        mask = (hidden_edge, hidden_indptr[row], hidden_indptr[row + 1])
        seed, chosen, rating = np.int64(seeds[done]), entity[nodes:], score[nodes:]
        if by_rank:
            push = (walk, limit, longest, width)
            known = rank(graph, seed, push, mask, label, base, state, queues, draws)
            base += known
            kept = best(state, known, walk, size, heap, chosen, rating)
            for j in range(kept):
                label[chosen[j]] = base + j
        else:
            kept = grow(graph, seed, size, fanout, mask, label, base, draws, chosen, rating)
        end = join(graph, chosen[:kept], mask, label, base, ids, room, edges, degree[nodes:])
        base += kept
        if end < 0:
            break
        count[done] = kept
        done += 1
        nodes += kept
        edges = end
    return done, nodes, edges, base


@compiled
@typing.no_type_check
def rank(graph, seed, push, mask, label, base, state, queues, draws):
    """Push mass in rounds until no residual reaches its threshold; returns the entities touched.

    A round takes the mass of all entities at their threshold and then spreads it. One loop, since
    a call per row would cost more than the row.
    """
    indptr, source, _ = graph
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
            degree = np.int64(width) if drawn else visible(indptr, state[i, ENTITY], mask)
            share = np.int64(np.float64(mass) * walk / np.float64(degree)) if degree else 0
            state[i, ESTIMATE] += mass - share * degree
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
                    before, threshold = state[local, RESIDUAL], state[local, THRESHOLD]
                    state[local, RESIDUAL] = before + share
                    if before < threshold and before + share >= threshold:
                        upcoming[ready] = local
                        ready += 1
                begin = end + 1
        drawn = False
        frontier, upcoming = upcoming, frontier
        waiting = ready
    return known


@compiled
@typing.no_type_check
def set_out(state, local, entity, threshold):
    state[local, ENTITY] = entity
    state[local, ESTIMATE] = 0
    state[local, RESIDUAL] = 0
    state[local, THRESHOLD] = threshold


@compiled
@typing.no_type_check
def best(state, known, walk, size, heap, entity, score):
    """The seed, then the best of the others in order; returns how many."""
    for i in range(known):
        rest = state[i, RESIDUAL]
        state[i, ESTIMATE] += rest - np.int64(np.float64(rest) * walk)
    kept = np.int64(min(size, known))
    entity[0], score[0] = state[0, ENTITY], state[0, ESTIMATE] / ONE
    # A heap with the worst of those kept at its root.
    room = kept - 1
    for i in range(room):
        heap[i] = i + 1
    for at in range(room // 2 - 1, -1, -1):
        sift(state, heap, at, room)
    for i in range(kept, known):
        if room and worse(state, heap[0], i):
            heap[0] = i
            sift(state, heap, 0, room)
    for at in range(room, 0, -1):
        i = heap[0]
        entity[at], score[at] = state[i, ENTITY], state[i, ESTIMATE] / ONE
        heap[0] = heap[at - 1]
        sift(state, heap, 0, at - 1)
    return kept


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


@compiled
@typing.no_type_check
def grow(graph, seed, size, fanout, mask, label, base, draws, entity, score):
    """Breadth first along drawn in-edges; returns the entities found."""
    indptr, source, _ = graph
    bases, position, bitmap = draws
    hidden = mask[0]
    entity[0], score[0] = seed, 0
    label[seed] = base
    low, known = 0, np.int64(1)
    for hop in range(bases.shape[0]):
        high = known
        for i in range(low, high):
            v = entity[i]
            begin, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
            low_hidden, high_hidden = within(mask, begin, stop)
            drawn = 0 <= fanout < stop - begin - (high_hidden - low_hidden)
            if drawn:
                sample_row(indptr, v, fanout, bases[hop], mask, position, bitmap)
                begin, stop = np.int64(0), np.int64(fanout)
            for q in range(begin, stop):
                if known >= size:
                    return known
                if not drawn and low_hidden < high_hidden and hidden[low_hidden] == q:
                    low_hidden += 1
                    continue
                u = np.int64(source[position[q] if drawn else q])
                if label[u] < base:
                    label[u] = base + known
                    entity[known], score[known] = u, -(hop + 1)
                    known += 1
        low = high
    return known


@compiled
@typing.no_type_check
def sample_row(indptr, v, width, base, mask, position, bitmap):
    """As the neighbour sampler draws ``width`` edges of ``v``, from those that are not hidden."""
    start, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
    degree = visible(indptr, v, mask)
    key = mix(base ^ (U(v) * GOLDEN))
    if degree <= WORD:
        _draw_word(key, start, degree, width, position, 0)
    elif width <= WORD or degree > WORD * bitmap.shape[0]:
        _draw_sorted(key, start, degree, width, position, 0)
    else:
        _draw_marked(key, start, degree, width, position, 0, bitmap)
    low, high = within(mask, start, stop)
    at = low
    for q in range(width):
        while at < high and mask[0][at] <= position[q] + (at - low):
            at += 1
        position[q] += at - low


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
def gallop(values, low, high, bound):
    """The first place in ``low .. high`` whose value is at least ``bound``; values ascend."""
    step = 1
    while low + step < high and values[low + step] < bound:
        low += step
        step *= 2
    high = min(high, low + step)
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


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


@compiled
@typing.no_type_check
def within(mask, start, stop):
    """The hidden edges among ``start .. stop``, as a range."""
    hidden, low, high = mask
    if low < high:
        low = gallop(hidden, low, high, start)
        high = gallop(hidden, low, high, stop)
    return low, high


@compiled
@typing.no_type_check
def visible(indptr, v, mask):
    start, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
    low, high = within(mask, start, stop)
    return stop - start - (high - low)


@compiled
@typing.no_type_check
def place(part, node, row, indptr, out):
    """Move the edges of a part to their rows, which ``row`` names entity by entity from ``node``.

    ``source`` says which of its seed's entities an edge is from, and now which of all.
    """
    count, degree, position, source, kind = part
    new_position, new_source, new_kind = out
    at = local = 0
    for entities in count:
        for j in range(entities):
            to = indptr[row[node + j]]
            for e in range(to, to + degree[local + j]):
                new_position[e] = position[at]
                new_source[e] = row[node + source[at]]
                new_kind[e] = kind[at]
                at += 1
        node += entities
        local += entities


@compiled
@typing.no_type_check
def find_edges(indptr, source, relation, triple, found):
    """The place of each (source, relation, target) in its row, or -1."""
    origin, kind, target = triple
    for i in range(found.shape[0]):
        start, stop = np.int64(indptr[target[i]]), np.int64(indptr[target[i] + 1])
        low = gallop(relation, start, stop, kind[i])
        high = gallop(relation, low, stop, kind[i] + 1)
        at = gallop(source, low, high, origin[i])
        found[i] = at if at < high and source[at] == origin[i] else -1
