"""Friends and strangers: against sets and loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
import torch

from kgscale.graph.adjacency import both_ways, only
from kgscale.graph.known import KnownFacts
from kgscale.inference.friends import (
    draw_strangers,
    friend_baselines,
    pair_metrics,
    score_pairs,
    with_shared,
)
from kgscale.inference.reasons import Fact, Judge, SharedJudge
from kgscale.inference.reasons.ways import PathStep
from kgscale.inference.recommend import best_scored
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
PAIRS_AT = {pair: at for at, pair in enumerate(sorted(PAIRS))}
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


def adamic_adar(pairs: set[tuple[int, int]], a: int, b: int) -> float:
    friends = {one: {x + y - one for x, y in pairs if one in (x, y)} for one in PEOPLE}
    common = [len(friends[one]) for one in friends[a] & friends[b]]
    return sum(1 / math.log(number) for number in common if number > 1)


def table(seed: int) -> torch.Tensor:
    return torch.randn(LAST, len(PEOPLE), generator=torch.Generator().manual_seed(seed))


def test_friends_in_common_add_to_scores() -> None:
    own = table(0)
    both = with_shared(lambda one: own[one], GRAPH, INTEREST, 2.0)(torch.tensor([5, 3]))
    for row, a in enumerate((5, 3)):
        for b in PEOPLE:
            more = 2 * math.log1p(adamic_adar(PAIRS, a, b))
            assert float(both[row, b - FIRST]) == pytest.approx(float(own[a, b - FIRST]) + more)

    def alone(one: torch.Tensor) -> torch.Tensor:
        return own[one]

    assert with_shared(alone, GRAPH, INTEREST, 0.0) is alone


@pytest.mark.parametrize("known", [False, True])
def test_the_best_by_any_scores(known: bool) -> None:
    """The first of equal ones; nobody's self, and no friends unless known ones are wanted."""
    own = table(1).round()
    users = torch.tensor([7, 3, 7, *PEOPLE])
    seen = KnownFacts(GRAPH)
    found = best_scored(lambda one: own[one], INTEREST, seen, users, 30, known=known)
    for row, user in enumerate(users.tolist()):
        left = [b for b in PEOPLE if b != user and (known or b not in FRIENDS[user])]
        expected = sorted(left, key=lambda b: (-float(own[user, b - FIRST]), b))
        place = found.score[row].isfinite()
        assert found.item[row][place].tolist() == expected
        scores = [float(own[user, b - FIRST]) for b in expected]
        assert found.score[row][place].tolist() == scores


class Nothing(Judge):
    """Of a model that looks at no fact."""

    score = 0.25

    def losses(self, facts: Sequence[Fact]) -> Iterator[float]:
        yield from (0.0 for _ in facts)


def test_what_a_pair_of_friends_adds() -> None:
    """For each pair of friends: the score with all, less the score of a graph that lacks it."""
    pairs = sorted(PAIRS)
    for a, b in [(2, 9), (4, 5), (3, 8)]:
        judge = SharedJudge(Nothing(), GRAPH, 1, (a, b), 3.0)
        assert judge.score == pytest.approx(0.25 + 3 * math.log1p(adamic_adar(PAIRS, a, b)))
        others = [pair for pair in pairs if pair != (a, b)]
        facts = [Fact(PathStep(x, 1, y), PAIRS_AT[x, y]) for x, y in others]
        facts += [Fact(PathStep(y, 3, x), PAIRS_AT[x, y]) for x, y in others]
        facts.append(Fact(PathStep(0, 0, 5), len(pairs)))
        for fact, loss in zip(facts, judge.losses(facts), strict=True):
            left = only(GRAPH, GRAPH.triple != fact.triple)
            again = SharedJudge(Nothing(), left, 1, (a, b), 3.0)
            assert loss == pytest.approx(judge.score - again.score, abs=1e-6)
