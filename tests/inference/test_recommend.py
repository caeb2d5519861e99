"""Lists of items: against a loop over users and items."""

from __future__ import annotations

import pytest
import torch

from kgscale.errors import ScoreError
from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors
from kgscale.inference.recommend import (
    Recommender,
    best_items,
    cold_items,
    evaluate_items,
    item_metrics,
    item_neighbors,
    popular_items,
)
from kgscale.models.decoders import DistMult
from tests.sampling.test_interest import GRAPH, INTEREST, LIKES, liked

ITEMS = list(INTEREST.items)


def recommender(memory: int = 1 << 20, seed: int = 0) -> Recommender:
    table = torch.rand(100, len(ITEMS), generator=torch.Generator().manual_seed(seed))
    return Recommender(
        scores=lambda user: table[user].clone(),
        interest=INTEREST,
        seen=KnownFacts(GRAPH),
        memory=memory,
    )


def test_the_best_that_a_user_has_not() -> None:
    users = torch.arange(6)
    found = recommender().best(users, 3)
    table = torch.rand(100, len(ITEMS), generator=torch.Generator().manual_seed(0))
    for user in range(6):
        new = [i for i in ITEMS if (user, i) not in liked(GRAPH)]
        best = sorted(new, key=lambda i, user=user: -table[user, i - ITEMS[0]])[:3]  # type: ignore[misc]
        listed = found.item[user][found.score[user].isfinite()].tolist()
        assert listed == best[: len(listed)]
        assert len(listed) == min(3, len(new))


@pytest.mark.parametrize("known", [False, True])
def test_the_best_by_a_decoder(known: bool) -> None:
    """In blocks, as a sort of all scores has them; nobody is an item of its own."""
    draw = torch.Generator().manual_seed(0)
    size = len(GRAPH.indptr) - 1
    vectors = GraphVectors(
        entity=torch.randn(size, 4, generator=draw),
        relation=torch.randn(2 * GRAPH.num_relations, 4, generator=draw),
    )
    users, seen = torch.tensor([3, 0, 3, ITEMS[0]]), KnownFacts(GRAPH)
    found = best_items(vectors, DistMult(dim=4), INTEREST, seen, users, 50, known=known)
    for row, user in enumerate(users.tolist()):
        query = vectors.entity[user] * vectors.relation[INTEREST.relation]
        new = [i for i in ITEMS if i != user and (known or (user, i) not in liked(GRAPH))]
        score = {item: float(query @ vectors.entity[item]) for item in new}
        listed = found.item[row][found.score[row].isfinite()].tolist()
        assert listed == sorted(new, key=lambda item, score=score: -score[item])  # type: ignore[misc]


def test_metrics_against_a_loop() -> None:
    held = torch.tensor(
        [[u, LIKES, i] for u in range(6) for i in ITEMS if (u + i) % 3 == 0 and u != 2]
        + [[ITEMS[0], 1, 0]]
    )
    held = held[[tuple(row)[::2] not in liked(GRAPH) for row in held.tolist()]]
    cuts = (1, 4)
    found = item_metrics(evaluate_items(recommender(), held, cuts), cuts, len(ITEMS))
    relevant = {u: {i for h, r, i in held.tolist() if h == u and r == LIKES} for u in range(6)}
    relevant = {u: items for u, items in relevant.items() if items}
    recall, shown = 0.0, set()
    for user, items in relevant.items():
        best = recommender().best(torch.tensor([user]), 4)
        listed = best.item[0][best.score[0].isfinite()].tolist()
        shown |= set(listed)
        recall += len(items & set(listed)) / len(items)
    assert found["users"] == len(relevant)
    assert found["recall@4"] == pytest.approx(recall / len(relevant))
    assert found["coverage@4"] == pytest.approx(len(shown) / len(ITEMS))
    small = evaluate_items(recommender(memory=1), held, cuts)
    torch.testing.assert_close(small, evaluate_items(recommender(), held, cuts))
    parts = [evaluate_items(recommender(), held, cuts, part=slice(n, None, 2)) for n in (0, 1)]
    torch.testing.assert_close(sum(parts)[:-2], small[:-2])  # type: ignore[index]


def test_popularity() -> None:
    scores = popular_items(GRAPH, INTEREST)(torch.tensor([0, 3]))
    count = [float(sum(i == item for _, item in liked(GRAPH))) for i in ITEMS]
    assert scores.tolist() == [count, count]


def test_items_of_few_users() -> None:
    cold = cold_items(GRAPH, INTEREST, 0.34)
    count = popular_items(GRAPH, INTEREST)(torch.tensor([0]))[0]
    assert int(cold.sum()) == 3
    assert count[cold].max() <= count[~cold].min()
    some = recommender()
    few = Recommender(scores=some.scores, interest=INTEREST, seen=some.seen, among=cold)
    found = few.best(torch.arange(6), 9)
    listed = found.item[found.score.isfinite()] - ITEMS[0]
    assert cold[listed].all()


@pytest.mark.parametrize("neighbors", [2, 100])
def test_item_neighbors_against_a_loop(neighbors: int) -> None:
    users = {i: {u for u, item in liked(GRAPH) if item == i} for i in ITEMS}
    likeness = {
        i: {
            j: len(users[i] & users[j]) / max(1, len(users[i]) * len(users[j])) ** 0.5
            for j in ITEMS
            if j != i
        }
        for i in ITEMS
    }
    found = item_neighbors(GRAPH, INTEREST, neighbors=neighbors)(torch.arange(6))
    if neighbors >= len(ITEMS):
        for u in range(6):
            has = [i for i in ITEMS if u in users[i]]
            expected = [sum(likeness[i].get(j, 0.0) for j in has) for i in ITEMS]
            torch.testing.assert_close(found[u], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    else:
        for i in ITEMS:
            best = sum(sorted(likeness[i].values())[-neighbors:])
            assert float(found[:, i - ITEMS[0]].max()) <= best + 1e-5


def test_nan_is_refused() -> None:
    bad = Recommender(
        scores=lambda user: torch.full((len(user), len(ITEMS)), torch.nan),
        interest=INTEREST,
        seen=KnownFacts(GRAPH),
    )
    with pytest.raises(ScoreError, match="diverged"):
        bad.best(torch.tensor([0]), 2)


def test_less_memory_is_fewer_users_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    one = recommender()

    def scores(user: torch.Tensor) -> torch.Tensor:
        asked.append(len(user))
        if len(user) > 2:
            raise MemoryError
        return one.scores(user)

    poor = Recommender(scores=scores, interest=INTEREST, seen=KnownFacts(GRAPH))
    lists = list(poor.lists(torch.arange(6), 2))
    assert max(len(user) for user, _ in lists) <= 2
    whole = one.best(torch.arange(6), 2)
    assert torch.equal(torch.cat([found.item for _, found in lists]), whole.item)
