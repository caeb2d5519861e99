"""Induced subgraphs on the CPU: one pass over the rows, a label lookup per edge."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled, prefetch

AHEAD = 16
"""Edges between asking for a source's label and reading it."""


@compiled
@typing.no_type_check
def mark(entity, label, base):
    """Label the entities ``base``, ``base + 1``, …; the position of a repeated one, or -1."""
    for i in range(entity.shape[0]):
        if label[entity[i]] >= base:
            return i
        label[entity[i]] = base + i
    return -1


@compiled
@typing.no_type_check
def induce(indptr, source, relation, entity, label, base, bounds, out, kind, position):
    """Every edge is written, and stays if its source has a label of this call."""
    at, last = 0, source.shape[0] - 1
    for i in range(entity.shape[0]):
        for e in range(np.int64(indptr[entity[i]]), np.int64(indptr[entity[i] + 1])):
            prefetch(label, np.int64(source[min(e + AHEAD, last)]))
            local = label[source[e]] - base
            out[at] = local
            kind[at] = relation[e]
            position[at] = e
            at += local >= 0
        bounds[i + 1] = at
