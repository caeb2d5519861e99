"""Expected metrics among random negatives against drawing them."""

from __future__ import annotations

import itertools

import pytest
import torch

from kgscale.metrics.negatives import among_negatives
from kgscale.metrics.ranking import HITS, RankCounts


@pytest.mark.parametrize(("better", "tied", "rivals"), [(0, 0, 6), (2, 0, 6), (1, 3, 6), (6, 0, 6)])
def test_the_mean_over_all_draws(better: int, tied: int, rivals: int) -> None:
    """All subsets of three rivals, and every place among the tied."""
    ranks = [
        1 + sum(rival < worse for rival in drawn)
        for worse in range(better, better + tied + 1)
        for drawn in itertools.combinations(range(rivals), 3)
    ]
    counts = RankCounts(better=torch.tensor([better]), tied=torch.tensor([tied]))
    found = among_negatives(counts, torch.tensor([rivals]), negatives=3)
    assert found["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    for k in HITS:
        expected = sum(rank <= k for rank in ranks) / len(ranks)
        assert found[f"hits@{k}"] == pytest.approx(expected)


def test_all_rivals_are_the_full_ranking() -> None:
    better = torch.tensor([0, 3, 7, 12])
    counts = RankCounts(better=better, tied=torch.zeros(4, dtype=torch.int64))
    found = among_negatives(counts, torch.full((4,), 20), negatives=50)
    assert found["mrr"] == pytest.approx(float((1 / (1.0 + better)).mean()))
    assert found["hits@10"] == pytest.approx(0.75)


def test_queries_count_alike_whatever_their_rivals() -> None:
    counts = RankCounts(better=torch.tensor([0, 9]), tied=torch.tensor([0, 0]))
    found = among_negatives(counts, torch.tensor([5, 9]), negatives=4)
    assert found["mrr"] == pytest.approx((1 + 1 / 5) / 2)
    assert found["queries"] == 2
