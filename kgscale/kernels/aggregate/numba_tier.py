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
    dim, last = x.shape[1], source.shape[0] - 1
    for i in range(start, stop):
        out[i] = 0
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(0, dim, LINE):
                prefetch(x, soon + f)
            r, w = relation[e], weight[e]
            sent, turn, place = x[source[e]], vector[r], out[i, r // per_slot]
            for f in range(dim):
                place[f] += w * sent[f] * turn[f]


@compiled
@typing.no_type_check
def multiply_backward(
    grad_x, grad_r, grad, x, vector, weight, indptr, source, relation, per_slot, start, stop
):
    dim, last = x.shape[1], source.shape[0] - 1
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(start, stop, LINE):
                prefetch(x, soon + f)
                prefetch(grad_x, soon + f)
            s, r, w = source[e], relation[e], weight[e]
            sent, turn = x[s, start:stop], vector[r, start:stop]
            arrived = grad[i, r // per_slot, start:stop]
            to_x, to_r = grad_x[s, start:stop], grad_r[r, start:stop]
            for f in range(stop - start):
                to_x[f] += w * arrived[f] * turn[f]
                to_r[f] += w * arrived[f] * sent[f]


@compiled
@typing.no_type_check
def subtract_forward(out, x, vector, weight, indptr, source, relation, per_slot, start, stop):
    dim, last = x.shape[1], source.shape[0] - 1
    for i in range(start, stop):
        out[i] = 0
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(0, dim, LINE):
                prefetch(x, soon + f)
            r, w = relation[e], weight[e]
            sent, turn, place = x[source[e]], vector[r], out[i, r // per_slot]
            for f in range(dim):
                place[f] += w * (sent[f] - turn[f])


@compiled
@typing.no_type_check
def subtract_backward(
    grad_x, grad_r, grad, x, vector, weight, indptr, source, relation, per_slot, start, stop
):
    dim, last = x.shape[1], source.shape[0] - 1
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(start, stop, LINE):
                prefetch(grad_x, soon + f)
            s, r, w = source[e], relation[e], weight[e]
            arrived = grad[i, r // per_slot, start:stop]
            to_x, to_r = grad_x[s, start:stop], grad_r[r, start:stop]
            for f in range(stop - start):
                to_x[f] += w * arrived[f]
                to_r[f] -= w * arrived[f]


@compiled
@typing.no_type_check
def rotate_forward(out, x, vector, weight, indptr, source, relation, per_slot, start, stop):
    dim, last = x.shape[1], source.shape[0] - 1
    for i in range(start, stop):
        out[i] = 0
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(0, dim, LINE):
                prefetch(x, soon + f)
            r, w = relation[e], weight[e]
            sent, turn, place = x[source[e]], vector[r], out[i, r // per_slot]
            half = dim // 2
            for f in range(half):
                g = f + half
                place[f] += w * (sent[f] * turn[f] - sent[g] * turn[g])
                place[g] += w * (sent[f] * turn[g] + sent[g] * turn[f])


@compiled
@typing.no_type_check
def rotate_backward(
    grad_x, grad_r, grad, x, vector, weight, indptr, source, relation, per_slot, start, stop
):
    """The slice ``start:stop`` is of the real half; its imaginary twin goes with it."""
    dim, last = x.shape[1], source.shape[0] - 1
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(start, stop, LINE):
                prefetch(x, soon + f)
                prefetch(grad_x, soon + f)
                prefetch(x, soon + dim // 2 + f)
                prefetch(grad_x, soon + dim // 2 + f)
            s, r, w = source[e], relation[e], weight[e]
            slot = r // per_slot
            _add_conjugate_product(grad_x, s, w, grad[i, slot], vector[r], start, stop)
            _add_conjugate_product(grad_r, r, w, grad[i, slot], x[s], start, stop)


@compiled
@typing.no_type_check
def _add_conjugate_product(out, row, scale, a, b, start, stop):
    half = a.shape[0] // 2
    out_re, out_im = out[row, start:stop], out[row, half + start : half + stop]
    a_re, a_im = a[start:stop], a[half + start : half + stop]
    b_re, b_im = b[start:stop], b[half + start : half + stop]
    for f in range(stop - start):
        out_re[f] += scale * (a_re[f] * b_re[f] + a_im[f] * b_im[f])
        out_im[f] += scale * (a_im[f] * b_re[f] - a_re[f] * b_im[f])


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
