"""Friends and strangers: against sets and loops."""

from __future__ import annotations

import math

import pytest
import torch

from kgscale.graph.adjacency import both_ways
from kgscale.inference.friends import (
    draw_strangers,
    friend_baselines,
    pair_metrics,
    score_pairs,
)
from kgscale.sampling.interest import Interest
from tests.graphs import adjacency

FIRST, LAST = 2, 22
"""Entities 0 and 1 are no people."""
PEOPLE = range(FIRST, LAST)
INTEREST = Interest(relation=1, users=PEOPLE, items=PEOPLE)


def friendships() -> set[tuple[int, int]]:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(FIRST, LAST, (60, 2), generator=generator).tolist()
    # Few know many.
    return {tuple(sorted((a, b // 2 + FIRST // 2))) for a, b in drawn if a != b // 2 + FIRST // 2}  # type: ignore[misc]


PAIRS = {(a, b) for a, b in friendships() if a >= FIRST}
ROWS = [[a, 1, b] for a, b in sorted(PAIRS)] + [[0, 0, 5], [1, 0, 3]]
GRAPH = both_ways(adjacency(torch.tensor(ROWS), num_entities=LAST, num_relations=2))
FRIENDS = {one: {a + b - one for a, b in PAIRS if one in (a, b)} for one in PEOPLE}


def test_baselines_by_sets() -> None:
    found = friend_baselines(GRAPH, INTEREST)
    people = torch.tensor(PEOPLE)
    scores = {name: of(people) for name, of in found.items()}
    for a in PEOPLE:
        for b in PEOPLE:
            common = FRIENDS[a] & FRIENDS[b]
            place = a - FIRST, b - FIRST
            assert scores["common neighbours"][place] == len(common)
            weights = [1 / math.log(len(FRIENDS[one])) for one in common if len(FRIENDS[one]) > 1]
            assert scores["Adamic-Adar"][place] == pytest.approx(sum(weights), rel=1e-5)
            assert scores["degrees"][place] == len(FRIENDS[a]) * len(FRIENDS[b])


@pytest.mark.parametrize("memory", [1, 200, 1 << 20])
def test_pairs_have_the_mean_of_both_ways(memory: int) -> None:
    table = torch.randn(LAST, len(PEOPLE), generator=torch.Generator().manual_seed(0))
    pairs = torch.randint(FIRST, LAST, (50, 2), generator=torch.Generator().manual_seed(1))
    found = score_pairs(lambda one: table[one], INTEREST, pairs, memory=memory)
    for (a, b), score in zip(pairs.tolist(), found.tolist(), strict=True):
        assert score == pytest.approx(float(table[a, b - FIRST] + table[b, a - FIRST]) / 2)
    swapped = score_pairs(lambda one: table[one], INTEREST, pairs.flip(1), memory=memory)
    torch.testing.assert_close(swapped, found)


@pytest.mark.parametrize("matched", [False, True])
def test_strangers_are_distinct_and_strange(matched: bool) -> None:
    found = draw_strangers(GRAPH, INTEREST, 40, matched=matched, seed=3)
    pairs = [tuple(row) for row in found.tolist()]
    assert len({*pairs}) == len(pairs) == 40
    assert all(FIRST <= a < b < LAST for a, b in pairs)
    assert not {*pairs} & PAIRS
    again = draw_strangers(GRAPH, INTEREST, 40, matched=matched, seed=3)
    assert torch.equal(found, again)
    # A tenth of all pairs at most: of nearly all, the popular would be as frequent as any.
    many = draw_strangers(GRAPH, INTEREST, 10**4, matched=matched, seed=0)
    assert len(many) == max(50, len(PEOPLE) * (len(PEOPLE) - 1) // 20)


def test_matched_strangers_are_as_popular() -> None:
    def degree(pairs: torch.Tensor) -> float:
        return sum(len(FRIENDS[one]) for one in pairs.flatten().tolist()) / pairs.numel()

    means = [
        degree(draw_strangers(GRAPH, INTEREST, 30, matched=matched, seed=seed))
        for matched in (False, True)
        for seed in range(10)
    ]
    assert sum(means[10:]) > sum(means[:10]) * 1.1


def test_metrics_by_hand() -> None:
    """Of four strangers at 0, 1, 1 and 2; friends at 1.5 and at 1, which ties with two."""
    found = pair_metrics(torch.tensor([1.5, 1.0]), torch.tensor([0.0, 1.0, 1.0, 2.0]), (1, 2, 9))
    assert found["auc"] == pytest.approx((3 + 2) / 8)
    assert found["hits@1"] == 0
    assert found["hits@2"] == 0.5
    assert found["hits@9"] == 1
    assert found["strangers"] == 4
    assert pair_metrics(torch.empty(0), torch.ones(2), (1,)) == {}
