"""Losses against their textbook form, one answer at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from kgscale.batch import LinkQueries
from kgscale.losses import (
    bce_loss,
    chunked_softmax_loss,
    fused_softmax_loss,
    margin_loss,
    node_bce,
    node_cross_entropy,
    relation_queries,
    softmax,
    softmax_loss,
)

QUERIES, CANDIDATES = 4, 9
ANSWER_QUERY = torch.tensor([0, 0, 1, 2, 3, 3])
ANSWER = torch.tensor([1, 4, 0, 8, 2, 3])


def query(weight: torch.Tensor | None = None) -> LinkQueries:
    return LinkQueries(
        head=torch.zeros(QUERIES, dtype=torch.int64),
        relation=torch.zeros(QUERIES, dtype=torch.int64),
        num_candidates=CANDIDATES,
        answer_query=ANSWER_QUERY,
        answer=ANSWER,
        candidate_weight=weight,
        step_queries=QUERIES,
        step_answers=len(ANSWER),
    )


def test_grouped_softmax_is_one_against_all() -> None:
    scores = torch.randn(QUERIES, CANDIDATES)
    expected = functional.cross_entropy(scores[ANSWER_QUERY], ANSWER)
    torch.testing.assert_close(softmax_loss(scores, query()), expected)


def test_smoothing_is_that_of_torch() -> None:
    scores = torch.randn(QUERIES, CANDIDATES)
    expected = functional.cross_entropy(scores[ANSWER_QUERY], ANSWER, label_smoothing=0.3)
    torch.testing.assert_close(softmax_loss(scores, query(), smoothing=0.3), expected)


def test_relations_are_asked_of_every_triple() -> None:
    asked = replace(query(), relation=torch.tensor([5, 0, 2, 2]))
    scores = torch.randn(len(ANSWER), 6)
    expected = functional.cross_entropy(scores, torch.tensor([5, 5, 0, 2, 2, 2]))
    found = softmax_loss(scores, relation_queries(asked, num_relations=6))
    torch.testing.assert_close(found, expected)


def test_a_weight_of_two_is_a_candidate_listed_twice() -> None:
    scores = torch.randn(QUERIES, CANDIDATES)
    weight = torch.ones(CANDIDATES)
    weight[5] = 2
    twice = torch.cat([scores, scores[:, 5:6]], dim=1)
    torch.testing.assert_close(softmax_loss(scores, query(weight)), softmax_loss(twice, query()))


KNOWN = torch.tensor([[0, 2], [0, 8], [2, 1], [3, 7]])
"""True and not asked."""


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [softmax_loss, bce_loss, margin_loss])
def test_what_is_known_is_as_if_it_were_no_candidate(
    loss: Callable[[torch.Tensor, LinkQueries], torch.Tensor], weighted: bool
) -> None:
    scores, asked = torch.randn(QUERIES, CANDIDATES), query()
    if weighted:
        asked = replace(asked, candidate_weight=torch.rand(CANDIDATES) + 0.5)
    expected = torch.zeros(())
    for row in range(QUERIES):
        left = [c for c in range(CANDIDATES) if [row, c] not in KNOWN.tolist()]
        answer = [left.index(c) for c in ANSWER[row == ANSWER_QUERY].tolist()]
        weight = asked.candidate_weight
        one = replace(
            asked,
            head=asked.head[:1],
            relation=asked.relation[:1],
            num_candidates=len(left),
            answer_query=torch.zeros(len(answer), dtype=torch.int64),
            answer=torch.tensor(answer),
            candidate_weight=None if weight is None else weight[left],
        )
        expected += loss(scores[row, left][None], one)
    torch.testing.assert_close(loss(scores, replace(asked, known=KNOWN)), expected)


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that is made meanwhile."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.bytes = max(self.bytes, found.numel() * found.element_size())
        return found


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_no_more_scores_at_a_time_than_memory_says(dtype: torch.dtype | None) -> None:
    """A MiB of them, of which there would be eight in float32."""
    candidates, queries = 4096, 512
    asked = LinkQueries(
        head=torch.zeros(queries).long(),
        relation=torch.zeros(queries).long(),
        num_candidates=candidates,
        answer_query=torch.arange(queries),
        answer=torch.arange(queries),
        candidate_weight=None,
        step_queries=queries,
        step_answers=queries,
    )
    question, candidate = torch.randn(queries, 2), torch.randn(candidates, 2)
    with Largest() as largest:
        if dtype is not None:
            fused_softmax_loss(question, candidate, asked, dtype=dtype, memory=1)
        else:
            chunked_softmax_loss(
                question, candidate, asked, compare=lambda a, b: a @ b.t(), memory=1
            )
    assert 1 << 19 <= largest.bytes <= 1 << 20


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("known", [None, KNOWN])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("fused", [None, torch.float32, torch.bfloat16])
def test_softmax_in_parts_equals_the_plain_one_with_gradients(
    rows: int,
    weighted: bool,
    known: torch.Tensor | None,
    smoothing: float,
    fused: torch.dtype | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(softmax, "_rows_of", lambda *given: rows)
    asked = replace(query(torch.rand(CANDIDATES) + 0.5 if weighted else None), known=known)
    question = torch.randn(QUERIES, 5, requires_grad=True)
    candidate = torch.randn(CANDIDATES, 5, requires_grad=True)
    plain = 3 * softmax_loss(question @ candidate.t(), asked, smoothing=smoothing)
    expected = torch.autograd.grad(plain, (question, candidate))
    given = (question, candidate, asked)
    near = {"rtol": 0.02, "atol": 0.05} if fused == torch.bfloat16 else {}
    if fused is not None:
        found = fused_softmax_loss(*given, dtype=fused, smoothing=smoothing)
    else:
        found = chunked_softmax_loss(
            *given, compare=lambda left, right: left @ right.t(), smoothing=smoothing
        )
    torch.testing.assert_close(3 * found, plain, **near)
    for actual, wanted in zip(
        torch.autograd.grad(3 * found, (question, candidate)), expected, strict=True
    ):
        torch.testing.assert_close(actual, wanted, **near)


def test_bce_is_the_mean_over_all_entries() -> None:
    scores = torch.randn(QUERIES, CANDIDATES)
    label = torch.zeros(QUERIES, CANDIDATES)
    label[ANSWER_QUERY, ANSWER] = 1
    expected = functional.binary_cross_entropy_with_logits(scores, label)
    torch.testing.assert_close(bce_loss(scores, query()), expected)


def test_margin_looks_at_every_wrong_candidate() -> None:
    scores = torch.randn(QUERIES, CANDIDATES)
    total = 0.0
    for row, column in zip(ANSWER_QUERY.tolist(), ANSWER.tolist(), strict=True):
        right = set(ANSWER[row == ANSWER_QUERY].tolist())
        wrong = [scores[row, c] for c in range(CANDIDATES) if c not in right]
        violations = [max(0.0, float(1 - scores[row, column] + value)) for value in wrong]
        total += sum(violations) / len(violations)
    expected = torch.tensor(total / len(ANSWER))
    torch.testing.assert_close(margin_loss(scores, query()), expected)


def test_losses_of_two_ranks_add_up_to_the_joined_batch() -> None:
    scores = torch.randn(QUERIES, CANDIDATES)
    joined = query()
    parts = []
    for rows in (slice(0, 2), slice(2, 4)):
        mine = (rows.start <= ANSWER_QUERY) & (rows.stop > ANSWER_QUERY)
        part = replace(
            joined,
            head=joined.head[rows],
            relation=joined.relation[rows],
            answer_query=ANSWER_QUERY[mine] - rows.start,
            answer=ANSWER[mine],
        )
        parts.append((scores[rows], part))
    for loss in (softmax_loss, bce_loss, margin_loss):
        total = sum(loss(part_scores, part) for part_scores, part in parts)
        torch.testing.assert_close(total, loss(scores, joined))


def test_node_losses_are_means_over_the_step() -> None:
    logits, label = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    labels = torch.randint(2, (5, 3)).float()
    for loss, truth, plain in (
        (node_cross_entropy, label, functional.cross_entropy),
        (node_bce, labels, functional.binary_cross_entropy_with_logits),
    ):
        parts = [loss(logits[p], truth[p], step_queries=5) for p in (slice(0, 2), slice(2, 5))]
        torch.testing.assert_close(parts[0] + parts[1], plain(logits, truth))
    assert node_cross_entropy(logits[:0], label[:0], step_queries=1) == 0
    assert node_bce(logits[:0], labels[:0], step_queries=1) == 0


@pytest.mark.parametrize("fused", [None, torch.float32, torch.bfloat16])
def test_a_second_pass_over_stored_gradients_is_refused(
    fused: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are scaled in place, and twice would be wrong."""
    monkeypatch.setattr(softmax, "_rows_of", lambda *given: 2)
    question = torch.randn(QUERIES, 5, requires_grad=True)
    candidate = torch.randn(CANDIDATES, 5, requires_grad=True)
    given = (question, candidate, query())
    if fused is None:
        loss = chunked_softmax_loss(*given, compare=lambda left, right: left @ right.t())
    else:
        loss = fused_softmax_loss(*given, dtype=fused)
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]
