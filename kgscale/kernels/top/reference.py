"""The best candidates by sorting them all: the oracle of the tests."""

from __future__ import annotations

import math

from torch import Tensor


def top(
    scores: Tensor, known_indptr: Tensor, known: Tensor, k: int
) -> tuple[list[list[float]], list[list[int]], list[float]]:
    """Scores and columns of each row, the best first, and the logarithm of the sum of powers."""
    best, columns, logsum = [], [], []
    for query, row in enumerate(scores.double().tolist()):
        left_out = set(known[known_indptr[query] : known_indptr[query + 1]].tolist())
        order = sorted(
            (c for c, score in enumerate(row) if c not in left_out and score > -math.inf),
            key=lambda column: (-row[column], column),
        )
        columns.append(order[:k])
        best.append([row[column] for column in order[:k]])
        most = max(row)
        logsum.append(most + math.log(sum(math.exp(score - most) for score in row)))
    return best, columns, logsum
