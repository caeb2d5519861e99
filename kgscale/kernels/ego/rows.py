"""The in-edges of an entity without those that are hidden, on the CPU."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled
from kgscale.kernels.sample.numba_tier import (
    GOLDEN,
    WORD,
    U,
    _draw_marked,
    _draw_sorted,
    _draw_word,
    mix,
)

AHEAD = 16
"""Edges between asking for a source's label and reading it."""


@compiled
@typing.no_type_check
def visible(indptr, v, mask):
    start, stop = np.int64(indptr[v]), np.int64(indptr[v + 1])
    low, high = within(mask, start, stop)
    return stop - start - (high - low)


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
