"""Propagation on the CPU: one pass over the edges, sums in float32, no temporary per edge."""

from __future__ import annotations

import typing
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from kgscale.kernels.compile import compiled, prefetch
from kgscale.kernels.sample.numba_tier import mix

U = np.uint64
AHEAD = 6
"""Edges between asking for a source's row and reading it."""
CACHE_LINE, NEAR = 64, 1024
"""Bytes; so much of a row is asked for, what follows the processor guesses by itself."""


@intrinsic
def as_float(_context: Any, number: Any) -> Any:
    """A float32 from itself, or from the bits of a float16 held as ``uint16``.

    numba has no half precision on CPUs. A half's exponent and fraction, moved to the places of a
    float's, are its value times ``2 ** -112``, subnormal or not (infinity and NaN are not kept).
    """

    def same(_context: Any, _builder: Any, _signature: Any, arguments: Any) -> Any:
        return arguments[0]

    def widen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word, single = ir.IntType(32), ir.FloatType()
        bits = builder.zext(arguments[0], word)
        size = builder.shl(builder.and_(bits, word(0x7FFF)), word(13))
        value = builder.fmul(builder.bitcast(size, single), single(2.0**112))
        sign = builder.shl(builder.and_(bits, word(0x8000)), word(16))
        return builder.bitcast(builder.or_(builder.bitcast(value, word), sign), single)

    return types.float32(number), same if number == types.float32 else widen


@compiled
@typing.no_type_check
def propagate(
    total,
    count,
    x,
    first,
    indptr,
    source,
    relation,
    triple,
    mask,
    folds,
    hidden,
    key,
    scale,
    times,
    own,
    start,
    stop,
):
    """Rows ``start .. stop``; empty ``scale`` and ``times`` stand for ones and zeros."""
    rows, dim = x.shape
    last = source.shape[0] - 1
    line, near = CACHE_LINE // x.itemsize, min(dim, NEAR // x.itemsize)
    for i in range(start, stop):
        total[i] = 0
        kept = 0
        for e in range(indptr[i], indptr[i + 1]):
            k = min(max(np.int64(source[min(e + AHEAD, last)]) - first, 0), rows - 1)
            for c in range(0, near, line):
                prefetch(x, k * dim + c)
            j = np.int64(source[e]) - first
            if not mask[relation[e]] or j < 0 or j >= rows:
                continue
            if folds > 0 and np.int64(mix(U(triple[e]) ^ key) >> U(1)) % folds == hidden:
                continue
            kept += 1
            weight = scale[j] if scale.shape[0] > 0 else np.float32(1)
            if times.shape[0] > 0 and times[e] > 0:
                back = np.float32(times[e])
                for c in range(dim):
                    total[i, c] += weight * (as_float(x[j, c]) - back * own[i, c])
            else:
                for c in range(dim):
                    total[i, c] += weight * as_float(x[j, c])
        count[i] = kept
