"""Norm, ramp and residual of rows, and their gradient, each row read once."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled

EPSILON = np.float32(1e-5)
ZERO, ONE = np.float32(0), np.float32(1)


@compiled
@typing.no_type_check
def forward(mapped, x, scale, shift, out, mean, rstd, start, stop):
    dim, known = mapped.shape[1], x.shape[0]
    for i in range(start, stop):
        row, place = mapped[i], out[i]
        total = ZERO
        for f in range(dim):
            total += row[f]
        middle, spread = total / np.float32(dim), ZERO
        for f in range(dim):
            spread += (row[f] - middle) * (row[f] - middle)
        inverse = ONE / np.sqrt(spread / np.float32(dim) + EPSILON)
        mean[i], rstd[i] = middle, inverse
        for f in range(dim):
            value = (row[f] - middle) * inverse * scale[f] + shift[f]
            # NaN stays NaN.
            place[f] = ZERO if value < ZERO else value
        if i < known:
            before = x[i]
            for f in range(dim):
                place[f] += before[f]


@compiled
@typing.no_type_check
def backward(grad, mapped, mean, rstd, scale, shift, to_map, to_norm, size, start, stop):
    """Blocks ``start .. stop`` of ``size`` rows, each with its own sums in ``to_norm``."""
    rows, dim = mapped.shape
    for block in range(start, stop):
        to_scale, to_shift = to_norm[block, 0], to_norm[block, 1]
        for i in range(block * size, min(rows, (block + 1) * size)):
            row, arrived, place = mapped[i], grad[i], to_map[i]
            middle, inverse = mean[i], rstd[i]
            total = along = ZERO
            for f in range(dim):
                unit = (row[f] - middle) * inverse
                passed = arrived[f] if unit * scale[f] + shift[f] > ZERO else ZERO
                to_scale[f] += passed * unit
                to_shift[f] += passed
                passed *= scale[f]
                place[f] = passed
                total += passed
                along += passed * unit
            total /= np.float32(dim)
            along /= np.float32(dim)
            for f in range(dim):
                place[f] = (place[f] - total - (row[f] - middle) * inverse * along) * inverse
