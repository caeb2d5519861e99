"""Listed answers: against loops over what is known before a split, in it, and after it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kgscale.graph.known import KnownFacts
from kgscale.inference.calibrate import Listed, list_classes, list_items, list_links
from kgscale.inference.recommend import Recommender
from kgscale.metrics.calibration import Platt
from tests.graphs import adjacency, random_triples
from tests.sampling.test_interest import GRAPH, INTEREST, LIKES, liked

ENTITIES, RELATIONS = 12, 2
TRIPLES = random_triples(60, num_entities=ENTITIES, num_relations=RELATIONS, seed=1)
TRIPLES = TRIPLES[torch.randperm(len(TRIPLES), generator=torch.Generator().manual_seed(0))]
SPLITS = (30, 45)
"""Of these triples, the first 30 are known, and the next 15 are asked for."""
KNOWN = adjacency(TRIPLES, num_entities=ENTITIES, num_relations=RELATIONS)


def probability(entity: Tensor, relation: Tensor) -> Tensor:
    table = torch.randn(
        2 * RELATIONS, ENTITIES, ENTITIES, generator=torch.Generator().manual_seed(0)
    )
    return table[relation, entity].softmax(dim=1)


def facts(first: int, last: int) -> set[tuple[int, int, int]]:
    """Both ways."""
    rows = TRIPLES[first:last].tolist()
    return {(h, r, t) for h, r, t in rows} | {(t, r + RELATIONS, h) for h, r, t in rows}


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_links_by_a_loop(rows: int) -> None:
    asked = TRIPLES[SPLITS[0] : SPLITS[0] + 8]
    found = list_links(probability, asked, KnownFacts(KNOWN), SPLITS, rows=rows, listed=5)
    before, held = facts(0, SPLITS[0]), facts(*SPLITS)
    questions = sorted({(h, r) for h, r, _ in facts(SPLITS[0], SPLITS[0] + 8)})
    assert len(found.score) == len(questions)
    for row, (head, relation) in enumerate(questions):
        p = probability(torch.tensor([head]), torch.tensor([relation]))[0]
        new = [t for t in range(ENTITIES) if (head, relation, t) not in before]
        best = sorted(new, key=lambda t: -float(p[t]))[:5]
        there = int(found.score[row].isfinite().sum())
        assert there == len(best)
        torch.testing.assert_close(found.score[row, :there].sigmoid(), p[best])
        right = [(head, relation, t) in held for t in best]
        assert found.right[row, :there].tolist() == right


def test_items_by_a_loop() -> None:
    items = list(INTEREST.items)
    table = torch.rand(100, len(items), generator=torch.Generator().manual_seed(0))
    recommender = Recommender(
        scores=lambda user: table[user].clone(), interest=INTEREST, seen=KnownFacts(GRAPH)
    )
    held = {(u, i) for u in range(6) for i in items if (u + i) % 3 == 0} - liked(GRAPH)
    found = list_items(recommender, torch.tensor([[u, LIKES, i] for u, i in sorted(held)]))
    for row, user in enumerate(sorted({u for u, _ in held})):
        new = [i for i in items if (user, i) not in liked(GRAPH)]
        best = sorted(new, key=lambda i, user=user: -table[user, i - items[0]])  # type: ignore[misc]
        assert found.right[row, : len(best)].tolist() == [(user, i) in held for i in best]
        assert int(found.score[row].isfinite().sum()) == len(best)


def test_classes_by_hand() -> None:
    """Of one class each or of several, the best is measured."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    one = list_classes(logits, torch.tensor([0, 0]))
    assert one.right.tolist() == [[True, False], [False, True]]
    assert (one.shown, one.one) == (1, True)
    torch.testing.assert_close(one.score[:, 0], torch.tensor([2.0, 1.0]))
    # 0.881 and 0.731 were said, and one of two is right.
    assert one.reliability(None).error == pytest.approx((0.8808 - 1 + 0.7311) / 2, abs=0.2)
    flat = one.reliability(Platt(slope=0.0, intercept=-9.0))
    assert flat.error == 0  # both classes alike, so one half of each
    several = list_classes(logits, torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    assert (several.shown, several.one) == (1, False)
    assert several.right.tolist() == [[True, True], [True, False]]
    assert int(several.reliability(None).count.sum()) == 2


def test_a_half_knows_only_the_other() -> None:
    """Scores that say nothing: a map learned from the other half is as good as chance."""
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(400, 4, generator=generator)
    right = torch.rand(400, 4, generator=generator) < 0.2
    listed = Listed(score=score, right=right)
    halves = listed.held_out("isotonic")
    own = listed.reliability(listed.fit("isotonic"))
    assert halves is not None
    assert own.error < halves.error < 0.1
    assert int(halves.count.sum()) == 1600
    assert listed.held_out("none") is None
