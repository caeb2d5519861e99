"""Attention on the CPU: gather, multiply and reduce in one pass over the edges.

``dot`` and ``total`` own rows. ``scatter`` owns columns, as in ``aggregate``: its sums to sources
and relations collide with nobody's, and their order does not depend on the number of threads.
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
def dot(out, query, key, vector, indptr, source, relation, start, stop):
    dim, heads, last = key.shape[1], out.shape[1], source.shape[0] - 1
    width = dim // heads
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(0, dim, LINE):
                prefetch(key, soon + f)
            for h in range(heads):
                low, high = h * width, (h + 1) * width
                asked, sent = query[i, low:high], key[source[e], low:high]
                turn, inner = vector[relation[e], low:high], np.float32(0)
                for f in range(width):
                    inner += asked[f] * sent[f] * turn[f]
                out[e, h] = inner


@compiled
@typing.no_type_check
def total(out, weight, value, vector, indptr, source, relation, start, stop):
    dim, heads, last = value.shape[1], weight.shape[1], source.shape[0] - 1
    width = dim // heads
    for i in range(start, stop):
        out[i] = 0
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(0, dim, LINE):
                prefetch(value, soon + f)
            for h in range(heads):
                low, high = h * width, (h + 1) * width
                sent, turn = value[source[e], low:high], vector[relation[e], low:high]
                place, w = out[i, low:high], weight[e, h]
                for f in range(width):
                    place[f] += w * sent[f] * turn[f]


@compiled
@typing.no_type_check
def scatter(
    grad_key, grad_vector, weight, query, key, vector, indptr, source, relation, start, stop
):
    dim, heads, last = key.shape[1], weight.shape[1], source.shape[0] - 1
    width = dim // heads
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            soon = np.int64(source[min(e + AHEAD, last)]) * dim
            for f in range(start, stop, LINE):
                prefetch(key, soon + f)
                prefetch(grad_key, soon + f)
            s, r = source[e], relation[e]
            for h in range(start // width, (stop - 1) // width + 1):
                low, high = max(start, h * width), min(stop, (h + 1) * width)
                asked, sent, turn = query[i, low:high], key[s, low:high], vector[r, low:high]
                to_key, to_vector = grad_key[s, low:high], grad_vector[r, low:high]
                w = weight[e, h]
                for f in range(high - low):
                    to_key[f] += w * asked[f] * turn[f]
                    to_vector[f] += w * asked[f] * sent[f]


@compiled
@typing.no_type_check
def softmax(out, logits, indptr, start, stop):
    for i in range(start, stop):
        first, end = indptr[i], indptr[i + 1]
        for h in range(logits.shape[1]):
            highest, normaliser = np.float32(-np.inf), np.float32(0)
            for e in range(first, end):
                # As torch does: a NaN stays, wherever in the row it is.
                if logits[e, h] > highest or logits[e, h] != logits[e, h]:
                    highest = logits[e, h]
            for e in range(first, end):
                out[e, h] = np.exp(logits[e, h] - highest)
                normaliser += out[e, h]
            for e in range(first, end):
                out[e, h] /= normaliser


@compiled
@typing.no_type_check
def softmax_backward(out, grad, share, indptr, start, stop):
    for i in range(start, stop):
        first, end = indptr[i], indptr[i + 1]
        for h in range(share.shape[1]):
            mean = np.float32(0)
            for e in range(first, end):
                mean += grad[e, h] * share[e, h]
            for e in range(first, end):
                out[e, h] = share[e, h] * (grad[e, h] - mean)
