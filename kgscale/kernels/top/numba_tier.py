"""The best candidates on the CPU: a row is only looked through where it beats what was kept."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import as_bits, as_number, compiled
from kgscale.kernels.softmax.numba_tier import C2, C3, C4, C5, C6, HALF, LEAST, LN2, LOG2E, ONE

SIGN = np.int32(0x7FFFFFFF)
INFINITE = np.int32(0x7F800000)
"""The bits of infinity; NaN has higher ones."""


@compiled
@typing.no_type_check
def take(scores, width, offset, known_indptr, known, score, item, most, total):
    """Puts the first ``width`` columns of a block of scores, the candidates from ``offset`` on,
    among the best of their rows; True if it meets NaN or infinity.

    ``most`` and ``total`` are the highest score so far and the sum of powers relative to it, of
    known candidates too.
    """
    invalid = False
    last = score.shape[1] - 1
    for i in range(score.shape[0]):
        row = scores[i]
        # As whole numbers of the same order, whose greatest is found many at a time.
        greatest, ordered = ~SIGN, np.int32(0)
        for c in range(width):
            bits = np.int32(as_bits(row[c]))
            bits ^= (bits >> np.int32(31)) & SIGN
            greatest = max(greatest, bits)
            ordered += np.int32(row[c] == row[c])
        if greatest >= INFINITE or ordered != width:
            invalid = True
            continue
        top = as_number(np.uint32(greatest ^ ((greatest >> np.int32(31)) & SIGN)))
        if top == -np.inf:
            continue
        powers = np.float32(0)
        for c in range(width):
            value = row[c] - top
            usual = value if value > LEAST else LEAST
            twos = np.int32(usual * LOG2E - HALF)
            rest = usual - np.float32(twos) * LN2
            grown = C5 + rest * C6
            grown = C4 + rest * grown
            grown = C3 + rest * grown
            grown = C2 + rest * grown
            grown = ONE + rest * grown
            grown = ONE + rest * grown
            powers += grown * as_number(np.uint32(twos + np.int32(127)) << np.uint32(23))
        if top > most[i]:
            total[i] = total[i] * np.exp(np.float64(most[i]) - np.float64(top)) + powers
            most[i] = top
        else:
            total[i] += powers * np.exp(np.float64(top) - np.float64(most[i]))
        if top <= score[i, last]:
            continue
        for c in range(width):
            if row[c] > score[i, last] and not is_known(
                c + offset, known, known_indptr[i], known_indptr[i + 1]
            ):
                # Behind its equals, which come before it.
                place = last
                while place > 0 and score[i, place - 1] < row[c]:
                    score[i, place], item[i, place] = score[i, place - 1], item[i, place - 1]
                    place -= 1
                score[i, place], item[i, place] = row[c], c + offset
    return invalid


@compiled
@typing.no_type_check
def is_known(candidate, known, low, high):
    while low < high:
        middle = (low + high) // 2
        if known[middle] < candidate:
            low = middle + 1
        elif known[middle] > candidate:
            high = middle
        else:
            return True
    return False
