"""Rank counting on the CPU: compare a whole row, then take the known candidates back out."""

from __future__ import annotations

import typing

import numpy as np

from kgscale.kernels.compile import compiled


@compiled
@typing.no_type_check
def count_rows(
    scores, width, row, target_score, target, offset, known_indptr, known, better, tied, start, stop
):
    """Adds to ``better`` and ``tied`` of the targets ``start .. stop``; True if it meets NaN.

    The first ``width`` columns of ``scores`` are the candidates ``offset .. offset + width``.
    """
    invalid = False
    for i in range(start, stop):
        r, score = row[i], target_score[i]
        above, equal, ordered = np.int32(0), np.int32(0), np.int32(0)
        for c in range(width):
            above += np.int32(scores[r, c] > score)
            equal += np.int32(scores[r, c] == score)
            ordered += np.int32(scores[r, c] == scores[r, c])
        invalid |= ordered != width or score != score
        c = target[i] - offset
        if 0 <= c < width:
            above -= np.int32(scores[r, c] > score)
            equal -= np.int32(scores[r, c] == score)
        for k in range(known_indptr[r], known_indptr[r + 1]):
            c = known[k] - offset
            if 0 <= c < width and known[k] != target[i]:
                above -= np.int32(scores[r, c] > score)
                equal -= np.int32(scores[r, c] == score)
        better[i] += above
        tied[i] += equal
    return invalid


@compiled
@typing.no_type_check
def pick_targets(scores, width, row, target, offset, target_score):
    for i in range(row.shape[0]):
        c = target[i] - offset
        if 0 <= c < width:
            target_score[i] = scores[row[i], c]
