"""Softmaxes of bfloat16 numbers, a row at a time in float32: read once, written once.

A bfloat16 number is the upper half of a float32 one.
"""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import as_bits, as_number, compiled

LEAST = np.float32(-87.0)
"""Below it, a power of e counts as 0: float32 has no usual number for it."""
LOG2E, LN2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
C2, C3, C4, C5, C6 = (np.float32(1 / product) for product in (2, 6, 24, 120, 720))
"""Taylor's coefficients: up to ``ln 2 / 2`` from 0, they leave less than float32 rounds."""


@compiled
@typing.no_type_check
def softmax(scores, shift, weight, most, out, start, stop):
    columns = len(shift)
    power = np.empty(columns, np.float32)
    for i in range(start, stop):
        row, top, total = scores[i], most[i], ZERO
        for j in range(columns):
            value = as_number(np.uint32(np.uint16(row[j])) << np.uint32(16)) + shift[j] - top
            # NaN stays NaN.
            usual = value if value > LEAST else LEAST
            twos = np.int32(usual * LOG2E - HALF)
            rest = value - np.float32(twos) * LN2
            grown = C5 + rest * C6
            grown = C4 + rest * grown
            grown = C3 + rest * grown
            grown = C2 + rest * grown
            grown = ONE + rest * grown
            grown = ONE + rest * grown
            grown *= as_number(np.uint32(twos + np.int32(127)) << np.uint32(23))
            grown = ZERO if value < LEAST else grown
            power[j] = grown
            total += grown
        scale = weight[i] / total
        for j in range(columns):
            bits = as_bits(power[j] * scale)
            # To the nearest, and to the even one of two.
            even = (bits >> np.uint32(16)) & np.uint32(1)
            row[j] = np.int16((bits + np.uint32(0x7FFF) + even) >> np.uint32(16))
        out[i] = top + np.log(total)
