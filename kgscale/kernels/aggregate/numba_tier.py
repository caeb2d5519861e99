"""Relational aggregation on the CPU: gather, compose and reduce in one pass over the edges.

Forward kernels own rows. Backward kernels own columns: a thread sees every edge but writes only
its slice of the features, so the scattered sums to sources and relations need neither atomics nor
a transposed graph, and their order does not depend on the number of threads.
"""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch

AHEAD = 4
"""Edges between asking for a source's features and reading them."""
LINE = 16
"""Numbers of float32 in a cache line."""


@compiled
@typing.no_type_check
def basis_forward(out, x, coefficient, weight, indptr, source, relation, origin, start, stop):
    """The sums of row ``i`` go to ``out[i - origin]``."""
    bases, dim = coefficient.shape[1], x.shape[1]
    last = source.shape[0] - 1
    for i in range(start, stop):
        row = out[i - origin]
        row[:] = 0
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(0, dim, LINE):
                prefetch(x, soon + f)
            sent, r = x[source[e]], relation[e]
            for b in range(bases):
                scale, place = weight[e] * coefficient[r, b], row[b]
                for f in range(dim):
                    place[f] += scale * sent[f]


@compiled
@typing.no_type_check
def basis_backward(
    grad_x,
    grad_coefficient,
    z,
    grad,
    x,
    coefficient,
    weight,
    indptr,
    source,
    relation,
    start,
    stop,
    low,
    high,
):
    """``grad`` is of the rows ``start .. stop`` and columns ``low .. high``; so is ``z``.

    ``z`` gets the forward sums, unless it is empty.
    """
    bases, dim, width = coefficient.shape[1], x.shape[1], high - low
    last = source.shape[0] - 1
    again = z.shape[0] > 0
    for i in range(start, stop):
        if again:
            z[i - start] = 0
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(low, high, LINE):
                prefetch(x, soon + f)
                prefetch(grad_x, soon + f)
            s, r, w = source[e], relation[e], weight[e]
            sent, to_source = x[s, low:high], grad_x[s, low:high]
            for b in range(bases):
                scale, arrived = w * coefficient[r, b], grad[i - start, b]
                inner = np.float32(0)
                if again:
                    place = z[i - start, b]
                    for f in range(width):
                        inner += arrived[f] * sent[f]
                        to_source[f] += scale * arrived[f]
                        place[f] += scale * sent[f]
                else:
                    for f in range(width):
                        inner += arrived[f] * sent[f]
                        to_source[f] += scale * arrived[f]
                grad_coefficient[r, b] += w * inner


@compiled
@typing.no_type_check
def multiply_forward(out, x, vector, weight, indptr, source, relation, per_slot, start, stop):
    dim = x.shape[1]
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            for f in range(dim):
                out[i, slot, f] += w * x[s, f] * vector[r, f]


@compiled
@typing.no_type_check
def multiply_backward(
    grad_x, grad_r, grad, x, vector, weight, indptr, source, relation, per_slot, start, stop
):
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            for f in range(start, stop):
                arrived = w * grad[i, slot, f]
                grad_x[s, f] += arrived * vector[r, f]
                grad_r[r, f] += arrived * x[s, f]


@compiled
@typing.no_type_check
def subtract_forward(out, x, vector, weight, indptr, source, relation, per_slot, start, stop):
    dim = x.shape[1]
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            for f in range(dim):
                out[i, slot, f] += w * (x[s, f] - vector[r, f])


@compiled
@typing.no_type_check
def subtract_backward(
    grad_x, grad_r, grad, x, vector, weight, indptr, source, relation, per_slot, start, stop
):
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            for f in range(start, stop):
                arrived = w * grad[i, slot, f]
                grad_x[s, f] += arrived
                grad_r[r, f] -= arrived


@compiled
@typing.no_type_check
def rotate_forward(out, x, vector, weight, indptr, source, relation, per_slot, start, stop):
    half = x.shape[1] // 2
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            for f in range(half):
                g = f + half
                out[i, slot, f] += w * (x[s, f] * vector[r, f] - x[s, g] * vector[r, g])
                out[i, slot, g] += w * (x[s, f] * vector[r, g] + x[s, g] * vector[r, f])


@compiled
@typing.no_type_check
def rotate_backward(
    grad_x, grad_r, grad, x, vector, weight, indptr, source, relation, per_slot, start, stop
):
    """The slice ``start:stop`` is of the real half; its imaginary twin goes with it."""
    half = x.shape[1] // 2
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            for f in range(start, stop):
                g = f + half
                re, im = w * grad[i, slot, f], w * grad[i, slot, g]
                grad_x[s, f] += re * vector[r, f] + im * vector[r, g]
                grad_x[s, g] += im * vector[r, f] - re * vector[r, g]
                grad_r[r, f] += re * x[s, f] + im * x[s, g]
                grad_r[r, g] += im * x[s, f] - re * x[s, g]


@compiled
@typing.no_type_check
def relation_weight(out, indptr, relation, count, start, stop):
    """``count [R]`` is scratch of zeros, and zeros again afterwards."""
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            count[relation[e]] += 1
        for e in range(indptr[i], indptr[i + 1]):
            out[e] = np.float32(1) / np.float32(count[relation[e]])
        for e in range(indptr[i], indptr[i + 1]):
            count[relation[e]] = 0
