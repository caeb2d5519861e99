"""Neighbour sampling on the CPU, one hop in phases.

Sampling is bound by cache misses, so each phase walks the whole frontier making independent reads
that the processor can overlap: row bounds, then draws, then sources and relations, then
relabelling. Nothing is allocated in here.
"""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch, trailing_zeros
from kgscale.kernels.sample.reference import FIRST, SECOND, STEP

U = np.uint64
GOLDEN, MIX_FIRST, MIX_SECOND = U(STEP), U(FIRST), U(SECOND)
WORD = 64
TILE = 64
"""Runs in flight: their cache lines fit into the first-level cache."""
AHEAD = 32
"""Rows between asking for their bounds and reading them."""


@compiled
@typing.no_type_check
def mix(z):
    z = (z ^ (z >> U(30))) * MIX_FIRST
    z = (z ^ (z >> U(27))) * MIX_SECOND
    return z ^ (z >> U(31))


@compiled
@typing.no_type_check
def below(bits, bound):
    if bound < 16777216:
        return np.int64(((bits >> U(24)) * U(bound)) >> U(40))
    return np.int64((bits >> U(1)) % U(bound))


@compiled
@typing.no_type_check
def open_rows(indptr, entity, low, high, width, base, run_start, run_degree, run_key, bounds):
    """One run per entity ``low .. high``; extends ``bounds`` and returns the last."""
    total = np.int64(bounds[low])
    limit = np.int64(width) if width >= 0 else np.int64(9223372036854775807)
    for i in range(low, high):
        v = entity[i]
        prefetch(indptr, entity[min(i + AHEAD, high - 1)])
        start = np.int64(indptr[v])
        degree = np.int64(indptr[v + 1]) - start
        run_start[i - low] = start
        run_degree[i - low] = degree
        run_key[i - low] = mix(base ^ (U(v) * GOLDEN))
        total += min(degree, limit)
        bounds[i + 1] = total
    return total


@compiled
@typing.no_type_check
def count_relation_runs(indptr, relation, entity, low, high):
    """How many runs of one relation the rows of the entities hold."""
    runs = 0
    for i in range(low, high):
        before = np.int64(-1)
        for e in range(np.int64(indptr[entity[i]]), np.int64(indptr[entity[i] + 1])):
            r = np.int64(relation[e])
            runs += r != before
            before = r
    return runs


@compiled
@typing.no_type_check
def open_relation_runs(
    indptr, relation, entity, low, high, width, base, run_start, run_degree, run_key, bounds
):
    """As ``open_rows``, with one run per entity and relation."""
    total, run = np.int64(bounds[low]), 0
    for i in range(low, high):
        v = entity[i]
        key = mix(base ^ (U(v) * GOLDEN))
        e, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
        while e < stop:
            start, r = e, relation[e]
            while e < stop and relation[e] == r:
                e += 1
            run_start[run] = start
            run_degree[run] = e - start
            run_key[run] = mix(key + U(np.int64(r) + 1) * GOLDEN)
            run += 1
            total += min(e - start, np.int64(width))
        bounds[i + 1] = total
    return total


@compiled
@typing.no_type_check
def expand(
    source, relation, runs, width, low, label, base, entity, known, position, out, kind, bitmap
):
    """Draw from each run, and find local sources and relations; returns the entities known.

    The edges go to ``position``, ``out`` and ``kind`` from ``low`` on. ``label[v]`` is ``base``
    plus the local id where ``v`` is known to this sample, and less than ``base`` where not: labels
    of earlier samples expire by a greater ``base``. Tiles of runs pass through three stages at
    once, so that what one stage asks the memory for arrives while another computes.
    """
    run_start, run_degree, run_key, num_runs = runs
    drawn = gathered = done = low
    for first in range(0, num_runs + 2 * TILE, TILE):
        at = drawn
        for run in range(first, min(first + TILE, num_runs)):
            start, degree = run_start[run], run_degree[run]
            if width < 0 or degree <= width:
                for i in range(degree):
                    position[at + i] = start + i
                    prefetch(source, start + i)
                    prefetch(relation, start + i)
                at += degree
                continue
            if degree <= WORD:
                _draw_word(run_key[run], start, degree, width, position, at)
            elif width <= WORD or degree > WORD * bitmap.shape[0]:
                _draw_sorted(run_key[run], start, degree, width, position, at)
            else:
                _draw_marked(run_key[run], start, degree, width, position, at, bitmap)
            for i in range(at, at + width):
                prefetch(source, np.int64(position[i]))
                prefetch(relation, np.int64(position[i]))
            at += width
        for e in range(gathered, drawn):
            p = position[e]
            v = source[p]
            out[e] = v
            kind[e] = relation[p]
            prefetch(label, np.int64(v))
        for e in range(done, gathered):
            v = out[e]
            local = label[v] - base
            new = local < 0
            local = known if new else local
            label[v] = base + local
            entity[known] = v
            known += new
            out[e] = local
        done, gathered, drawn = gathered, drawn, at
    return known


@compiled
@typing.no_type_check
def _draw_word(key, start, degree, width, position, at):
    """Floyd's algorithm with the chosen as the bits of a word."""
    word = U(0)
    for last in range(degree - width, degree):
        pick = below(mix(key), last + 1)
        key += GOLDEN
        taken = (word >> U(pick)) & U(1)
        word |= U(1) << U(last if taken else pick)
    for i in range(at, at + width):
        position[i] = start + trailing_zeros(word)
        word &= word - U(1)


@compiled
@typing.no_type_check
def _draw_sorted(key, start, degree, width, position, at):
    """Floyd's algorithm by insertion, without branches that depend on the draw."""
    for i in range(width):
        last = start + degree - width + i
        pick = start + below(mix(key), last - start + 1)
        key += GOLDEN
        taken = False
        for q in range(at, at + i):
            taken |= position[q] == pick
        pick = last if taken else pick
        for q in range(at, at + i):
            other = np.int64(position[q])
            position[q] = min(other, pick)
            pick = max(other, pick)
        position[at + i] = pick


@compiled
@typing.no_type_check
def _draw_marked(key, start, degree, width, position, at, bitmap):
    """Floyd's algorithm with a bitmap of zeros, and zeros again afterwards."""
    for last in range(degree - width, degree):
        pick = below(mix(key), last + 1)
        key += GOLDEN
        if (bitmap[pick // WORD] >> U(pick % WORD)) & U(1):
            pick = last
        bitmap[pick // WORD] |= U(1) << U(pick % WORD)
    for index in range((degree + WORD - 1) // WORD):
        word = bitmap[index]
        bitmap[index] = U(0)
        while word:
            position[at] = start + index * WORD + trailing_zeros(word)
            at += 1
            word &= word - U(1)


@compiled
@typing.no_type_check
def relabel_seeds(seeds, label, base, entity):
    """Returns the position of a repeated seed, or -1."""
    for i in range(seeds.shape[0]):
        if label[seeds[i]] >= base:
            return i
        label[seeds[i]] = base + i
        entity[i] = seeds[i]
    return -1


@compiled
@typing.no_type_check
def hide(indptr, source, relation, triple, hidden, table, out):
    """Drop the edges whose triple is hidden; ``table`` is a power of two long, and of -1."""
    new_indptr, new_source, new_relation, new_triple = out
    room = np.int64(table.shape[0] - 1)
    for h in hidden:
        slot = np.int64(mix(U(h))) & room
        while table[slot] >= 0 and table[slot] != h:
            slot = (slot + 1) & room
        table[slot] = h
    at = 0
    new_indptr[0] = 0
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            slot = np.int64(mix(U(triple[e]))) & room
            while table[slot] >= 0 and table[slot] != triple[e]:
                slot = (slot + 1) & room
            new_source[at] = source[e]
            new_relation[at] = relation[e]
            new_triple[at] = triple[e]
            at += table[slot] < 0
        new_indptr[i + 1] = at
    return at
