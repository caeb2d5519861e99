"""Rank counting by comparing one candidate at a time: the oracle of the tests."""

from __future__ import annotations

from torch import Tensor


def count_better(
    scores: Tensor, target: Tensor, known_indptr: Tensor, known: Tensor
) -> tuple[list[int], list[int]]:
    better, tied = [], []
    for query, at in enumerate(target.tolist()):
        left_out = {at, *known[known_indptr[query] : known_indptr[query + 1]].tolist()}
        row = scores[query].tolist()
        rivals = [score for column, score in enumerate(row) if column not in left_out]
        better.append(sum(score > row[at] for score in rivals))
        tied.append(sum(score == row[at] for score in rivals))
    return better, tied
