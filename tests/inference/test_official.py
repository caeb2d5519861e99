"""OGB's Evaluator and our own metrics agree, ties and all; candidates are scored as one by one."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.asked import Questions
from kgscale.graph.known import KnownFacts
from kgscale.inference.embed import GraphVectors
from kgscale.inference.official import (
    best_tails,
    candidate_scores,
    evaluator,
    measure_links,
    measure_nodes,
    pair_scores,
)
from kgscale.kernels.rank import count_better
from kgscale.metrics.classification import multi_label_sums, single_label_sums, summarize_classes
from kgscale.metrics.given import (
    candidate_counts,
    hits_among,
    mean_roc_auc,
    reciprocal_rank,
    roc_auc,
)
from kgscale.metrics.ranking import rank_sums, summarize
from kgscale.models.decoders import ComplEx, DistMult
from tests.ogb.conftest import ogb

__all__ = ["ogb"]

NONE = torch.zeros(0, dtype=torch.int64)


def coarse(*shape: int, seed: int) -> Tensor:
    """Scores of which many are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, shape, generator=generator).float()


def ours(positive: Tensor, negative: Tensor) -> dict[str, float]:
    """By the kernel and the sums that rank among all entities, and by plain counts."""
    scores = torch.cat([positive[:, None], negative], dim=1)
    target = torch.zeros(len(positive), dtype=torch.int64)
    none = torch.zeros(len(positive) + 1, dtype=torch.int64)
    better, tied = count_better(scores, target, none, NONE)
    plain = candidate_counts(positive, negative)
    assert torch.equal(plain.better, better)
    assert torch.equal(plain.tied, tied)
    return summarize(rank_sums(plain, target, 1)[0])


@pytest.mark.parametrize("benchmark", ["ogbl-wikikg2", "ogbl-biokg", "ogbl-citation2"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mrr_among_candidates(ogb: ModuleType, benchmark: str, seed: int) -> None:
    positive, negative = coarse(40, seed=seed), coarse(40, 30, seed=seed + 1)
    judged = evaluator(benchmark).eval({"y_pred_pos": positive, "y_pred_neg": negative})
    own = ours(positive, negative)
    for name in ("mrr", "hits@1", "hits@3", "hits@10"):
        assert own[name] == pytest.approx(float(judged[f"{name}_list"].double().mean()))


@pytest.mark.parametrize(("benchmark", "k"), [("collab", 50), ("ppa", 100), ("ddi", 20)])
def test_hits_among_all_others(ogb: ModuleType, benchmark: str, k: int) -> None:
    """Fewer than ``k`` of the others reach the score."""
    positive, negative = torch.arange(-90.0, 90).repeat(2), torch.arange(-200.0, 80).repeat(2)
    judged = evaluator(f"ogbl-{benchmark}").eval({"y_pred_pos": positive, "y_pred_neg": negative})
    reached = (negative[None] >= positive[:, None]).sum(dim=1)
    assert judged[f"hits@{k}"] == pytest.approx(float((reached < k).double().mean()))
    assert judged[f"hits@{k}"] == pytest.approx(hits_among(positive, negative, k))
    few = negative[: k - 1]
    judged = evaluator(f"ogbl-{benchmark}").eval({"y_pred_pos": positive, "y_pred_neg": few})
    assert judged[f"hits@{k}"] == hits_among(positive, few, k) == 1


@pytest.mark.parametrize(("benchmark", "k"), [("collab", 50), ("ppa", 100), ("ddi", 20)])
@given(seed=st.integers(0, 1000), few=st.booleans())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hits_on_random_scores(
    ogb: ModuleType, benchmark: str, k: int, seed: int, few: bool
) -> None:
    """Many of them equal, also to the one at the bound."""
    positive = coarse(80, seed=seed)
    negative = torch.cat([coarse(k - 5, seed=seed + 1) - 2, coarse(5 + 40 * few, seed=seed + 2)])
    judged = evaluator(f"ogbl-{benchmark}").eval({"y_pred_pos": positive, "y_pred_neg": negative})
    assert judged[f"hits@{k}"] == pytest.approx(hits_among(positive, negative, k))


def test_area_under_the_curve(ogb: ModuleType) -> None:
    """How often a joined pair is before another one; half of a tie."""
    positive, negative = coarse(60, seed=1) + 1, coarse(50, seed=2)
    judged = evaluator("ogbl-vessel").eval({"y_pred_pos": positive, "y_pred_neg": negative})
    before = (positive[:, None] > negative).double() + (positive[:, None] == negative) / 2
    assert judged["rocauc"] == pytest.approx(float(before.mean()))
    assert judged["rocauc"] == pytest.approx(roc_auc(positive, negative))


@pytest.mark.parametrize("benchmark", ["ogbn-arxiv", "ogbn-mag", "mag240m"])
def test_accuracy(ogb: ModuleType, benchmark: str) -> None:
    """Of classes whose numbers have gaps; of equal logits the first counts."""
    logits, label = coarse(200, 5, seed=3), torch.randint(5, (200,))
    names = ["0", "3", "4", "17", "39"]
    judged = measure_nodes(benchmark, logits, label, names)
    own = summarize_classes(single_label_sums(logits, label))
    assert judged == {"acc": pytest.approx(own["accuracy"])}


@pytest.mark.parametrize("ties", [False, True])
def test_tasks_of_proteins(ties: bool, ogb: ModuleType) -> None:
    """A task that no training protein has is no column of ours, and has no answer."""
    logits = coarse(50, 110, seed=4) if ties else torch.randn(50, 110)
    label = torch.randint(2, (50, 110)).float()
    names = [str(number) for number in range(112) if number not in (5, 60)]
    judged = measure_nodes("ogbn-proteins", logits, label, names)
    areas = []
    for score, has in zip(logits.T, label.T, strict=True):
        one, other = score[has == 1][:, None], score[has == 0]
        before = (one > other).double() + (one == other) / 2
        areas.append(float(before.mean()))
    assert judged == {"rocauc": pytest.approx(np.mean(areas))}
    assert judged["rocauc"] == pytest.approx(mean_roc_auc(logits, label))
    assert mean_roc_auc(logits, torch.zeros_like(label)) is None
    assert multi_label_sums(logits, label).shape == (111, 3)


def test_best_ten(ogb: ModuleType) -> None:
    best, tail = torch.arange(40).view(4, 10), torch.tensor([0, 19, 22, 5])
    judged = evaluator("wikikg90mv2").eval({"h,r->t": {"t_pred_top10": best, "t": tail}})
    assert judged["mrr"] == pytest.approx((1 + 1 / 10 + 1 / 3 + 0) / 4)
    assert judged["mrr"] == pytest.approx(float(reciprocal_rank(best, tail).mean()))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ogb", None)
    monkeypatch.delitem(sys.modules, "ogb.linkproppred", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'kgscale\[ogb\]'"):
        evaluator("ogbl-ddi")


ENTITIES, RELATIONS, DIM = 9, 2, 4


def made_vectors() -> GraphVectors:
    generator = torch.Generator().manual_seed(5)
    return GraphVectors(
        torch.randn(ENTITIES, DIM, generator=generator),
        torch.randn(2 * RELATIONS, DIM, generator=generator),
    )


def by_one(vectors: GraphVectors, head: int, relation: int, tail: int) -> float:
    rows = vectors.entity[head], vectors.relation[relation], vectors.entity[tail]
    return float(ComplEx(dim=DIM)(*(row[None] for row in rows)))


def ids(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_candidates_are_scored_on_both_sides(memory: int) -> None:
    vectors = made_vectors()
    asked = Questions(
        head=ids(0, 3, 8),
        relation=ids(1, 0, 1),
        tail=ids(2, 5, 7),
        head_negative=ids(4, 6, 1, 1, 0, 2).view(3, 2),
        tail_negative=ids(1, 3, 6, 8, 4, 5).view(3, 2),
    )
    found = list(candidate_scores(asked, vectors, ComplEx(dim=DIM), memory=memory))
    positive = torch.cat([part for part, _ in found])
    negative = torch.cat([part for _, part in found])
    expected = []
    for back, (left, right) in ((0, ("head", "tail")), (RELATIONS, ("tail", "head"))):
        for row in range(3):
            start = int(getattr(asked, left)[row])
            ends = [getattr(asked, right)[row], *getattr(asked, f"{right}_negative")[row]]
            assert asked.relation is not None
            kind = int(asked.relation[row]) + back
            expected.append([by_one(vectors, start, kind, int(end)) for end in ends])
    torch.testing.assert_close(torch.cat([positive[:, None], negative], 1), torch.tensor(expected))


@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_pairs_have_no_direction(memory: int) -> None:
    vectors = made_vectors()
    asked = Questions(
        head=ids(0, 3), relation=ids(1, 1), tail=ids(2, 5),
        other_head=ids(1, 8, 4), other_tail=ids(6, 0, 7),
    )  # fmt: skip
    turned = Questions(
        head=ids(2, 5), relation=ids(1, 1), tail=ids(0, 3),
        other_head=ids(6, 0, 7), other_tail=ids(1, 8, 4),
    )  # fmt: skip
    positive, negative = pair_scores(asked, vectors, ComplEx(dim=DIM), memory=memory)
    expected = [
        (by_one(vectors, head, 1, tail) + by_one(vectors, tail, 1 + RELATIONS, head)) / 2
        for head, tail in ((0, 2), (3, 5), (1, 6), (8, 0), (4, 7))
    ]
    torch.testing.assert_close(torch.cat([positive, negative]), torch.tensor(expected))
    swapped = vectors.relation.roll(RELATIONS, 0)
    back = GraphVectors(vectors.entity, swapped)
    again = pair_scores(turned, back, ComplEx(dim=DIM), memory=memory)
    torch.testing.assert_close(again, (positive, negative))


@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_best_tails_are_no_facts_of_train(ogb: ModuleType, memory: int) -> None:
    vectors = made_vectors()
    facts = [(0, 1, 2), (0, 1, 3), (4, 0, 4)]
    train = KnownFacts(graph_of(facts))
    asked = Questions(head=ids(0, 4), relation=ids(1, 0), tail=ids(5, 0))
    found = best_tails(asked, vectors, DistMult(dim=DIM), train, memory=memory, count=3)
    for row, (head, relation) in enumerate([(0, 1), (4, 0)]):
        rows = vectors.entity[head] * vectors.relation[relation]
        score = vectors.entity @ rows
        score[[tail for h, r, tail in facts if (h, r) == (head, relation)]] = -torch.inf
        assert found[row].tolist() == score.argsort(descending=True)[:3].tolist()


def graph_of(facts: list[tuple[int, int, int]]) -> Adjacency:
    edges = [(t, r, h) for h, r, t in facts] + [(h, r + RELATIONS, t) for h, r, t in facts]
    edges.sort()
    target, relation, source = torch.tensor(edges).T
    count = torch.bincount(target, minlength=ENTITIES)
    return Adjacency(
        indptr=torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)]).int(),
        source=source.int(),
        relation=relation.int(),
        triple=torch.zeros(len(edges), dtype=torch.int32),
        num_relations=RELATIONS,
    )


def test_measured_whole(ogb: ModuleType) -> None:
    """Some questions at a time: the mean is that of all."""
    vectors, generator = made_vectors(), torch.Generator().manual_seed(1)
    draw = torch.randint(ENTITIES, (20, 9), generator=generator).int()
    asked = Questions(
        head=draw[:, 0], relation=draw[:, 1] % RELATIONS, tail=draw[:, 2],
        head_negative=draw[:, 3:6], tail_negative=draw[:, 6:],
    )  # fmt: skip
    decoder, none = ComplEx(dim=DIM), KnownFacts(graph_of([(0, 0, 1)]))
    whole, parts = (
        measure_links("ogbl-wikikg2", asked, vectors, decoder, none, memory=memory)
        for memory in (1 << 20, 1)
    )
    assert whole == pytest.approx(parts)
    positive, negative = next(candidate_scores(asked, vectors, decoder, memory=1 << 20))
    assert set(whole) == {"mrr", "hits@1", "hits@3", "hits@10"}
    assert len(positive) == len(negative) == 20
