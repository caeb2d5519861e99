"""Lists of items, by hand and against the definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.metrics.top import no_sums, top_means, top_sums


def test_by_hand() -> None:
    """Two relevant items at places 1 and 3 of a list of 4, and one that isn't in it."""
    hit = torch.tensor([[True, False, True, False]])
    found = top_means(top_sums(hit, torch.tensor([3]), (2, 4)), (2, 4))
    assert found["users"] == 1
    assert found["recall@2"] == pytest.approx(1 / 3)
    assert found["recall@4"] == pytest.approx(2 / 3)
    assert found["precision@4"] == 0.5
    assert found["hit@2"] == found["mrr@2"] == found["mrr@4"] == 1
    ideal = 1 + 1 / math.log2(3)
    assert found["ndcg@2"] == pytest.approx(1 / ideal)
    assert found["ndcg@4"] == pytest.approx((1 + 0.5) / (ideal + 0.5))


def test_no_users() -> None:
    assert top_means(no_sums((5,)), (5,)) == {}
    nobody = top_sums(torch.zeros(0, 5, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), (5,))
    assert nobody.tolist() == no_sums((5,)).tolist()


lists = st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5)


@given(lists, st.integers(0, 3))
def test_against_the_definitions(hits: list[list[bool]], missed: int) -> None:
    relevant = [max(1, sum(row) + missed) for row in hits]
    found = top_means(top_sums(torch.tensor(hits), torch.tensor(relevant), (1, 3, 6)), (1, 3, 6))
    for cut in (1, 3, 6):
        recall = ndcg = mrr = 0.0
        for row, count in zip(hits, relevant, strict=True):
            part = row[:cut]
            recall += sum(part) / count
            gain = sum(1 / math.log2(at + 2) for at, is_hit in enumerate(part) if is_hit)
            ndcg += gain / sum(1 / math.log2(at + 2) for at in range(min(cut, count)))
            mrr += 1 / (part.index(True) + 1) if True in part else 0.0
        assert found[f"recall@{cut}"] == pytest.approx(recall / len(hits))
        assert found[f"ndcg@{cut}"] == pytest.approx(ndcg / len(hits))
        assert found[f"mrr@{cut}"] == pytest.approx(mrr / len(hits))


@given(lists, lists)
def test_sums_add_up(left: list[list[bool]], right: list[list[bool]]) -> None:
    def of(hits: list[list[bool]]) -> torch.Tensor:
        relevant = torch.tensor([max(1, sum(row)) for row in hits])
        return top_sums(torch.tensor(hits), relevant, (2, 5))

    torch.testing.assert_close(of(left) + of(right), of(left + right))
