"""Ranks and their sums, by hand."""

from __future__ import annotations

import pytest
import torch

from kgscale.metrics.ranking import RankCounts, rank_sums, summarize


def test_a_rank_is_the_mean_of_best_and_worst_case() -> None:
    counts = RankCounts(better=torch.tensor([0, 2]), tied=torch.tensor([3, 0]))
    assert counts.optimistic.tolist() == [1, 3]
    assert counts.pessimistic.tolist() == [4, 3]
    assert counts.realistic.tolist() == [2.5, 3]


def test_metrics_by_hand() -> None:
    counts = RankCounts(better=torch.tensor([0, 1, 9, 19]), tied=torch.zeros(4, dtype=torch.int64))
    found = summarize(rank_sums(counts, torch.zeros(4, dtype=torch.int64), 1)[0])
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 10 + 1 / 20) / 4)
    assert (found["hits@1"], found["hits@3"], found["hits@10"]) == (0.25, 0.5, 0.75)
    assert found["mean_rank"] == 8.25


def test_sums_of_parts_are_sums_of_the_whole() -> None:
    better = torch.randint(0, 50, (40,))
    tied = torch.randint(0, 3, (40,))
    group = torch.randint(0, 4, (40,))
    whole = rank_sums(RankCounts(better, tied), group, 4)
    parts = sum(
        rank_sums(RankCounts(better[part], tied[part]), group[part], 4)
        for part in (slice(0, 7), slice(7, 40))
    )
    torch.testing.assert_close(whole, parts)


def test_no_query_has_no_metrics() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert summarize(rank_sums(RankCounts(nothing, nothing), nothing, 1)[0]) == {}
