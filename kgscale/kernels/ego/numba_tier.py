"""Subgraphs of single seeds on the CPU: choose the entities, then find the edges among them."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled
from kgscale.kernels.ego.join import join
from kgscale.kernels.ego.push import best, rank
from kgscale.kernels.ego.rows import gallop, sample_row, within


@compiled
@typing.no_type_check
def cut(graph, seeds, stop, settings, asked, hidden, scratch, last, found, progress):
    """Cut the seeds up to ``stop``, or until labels exceed ``last`` or edges their room.

    Entities, scores and degrees are written seed after seed; a local source is a position among
    the entities of its seed. Takes and returns the seeds done, entities, edges, and the base.
    """
    by_rank, size, walk, limit, longest, width, fanout, bases = settings
    hidden_indptr, hidden_edge = hidden
    kind, table, reserved = asked
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
            weight = table[kind[done]] if table.shape[0] else table[:1].ravel()
            known = rank(graph, seed, push, weight, mask, label, base, state, queues, draws)
            base += known
            goal = (np.int64(kind[done]), reserved)
            kept = best(graph, state, known, walk, size, goal, mask, heap, chosen, rating)
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
