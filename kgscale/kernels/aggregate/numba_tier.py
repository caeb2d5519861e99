"""Relational aggregation on the CPU: gather, compose and reduce in one pass over the edges.

Forward kernels own rows. Backward kernels own columns: a thread sees every edge but writes only
its slice of the features, so the scattered sums to sources and relations need neither atomics nor
a transposed graph, and their order does not depend on the number of threads.
"""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled


@compiled
@typing.no_type_check
def basis_forward(out, x, coefficient, weight, indptr, source, relation, start, stop):
    bases, dim = coefficient.shape[1], x.shape[1]
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            s, r = source[e], relation[e]
            for b in range(bases):
                scale = weight[e] * coefficient[r, b]
                for f in range(dim):
                    out[i, b, f] += scale * x[s, f]


@compiled
@typing.no_type_check
def basis_backward(
    grad_x, partial, grad, x, coefficient, weight, indptr, source, relation, start, stop, width
):
    """``partial [chunks, R, B]`` holds the coefficient's gradient by chunk of ``width`` columns."""
    bases = coefficient.shape[1]
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            s, r, w = source[e], relation[e], weight[e]
            for low in range(start, stop, width):
                high = min(low + width, stop)
                for b in range(bases):
                    scale = w * coefficient[r, b]
                    inner = np.float32(0)
                    for f in range(low, high):
                        grad_x[s, f] += scale * grad[i, b, f]
                        inner += grad[i, b, f] * x[s, f]
                    partial[low // width, r, b] += w * inner


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
