"""Losses of queries against candidates: pure functions, and thin shells that settings name.

Each is a sum over this batch divided by the number of answers (or queries) of the whole *step*,
so that the losses of several ranks add up to the loss of the joined batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.batch import LinkQueries, PathQueries
from kgscale.errors import ConfigError
from kgscale.types import Candidates, Questions, Scores

Scalar = Float[Tensor, ""]
MEMORY: Final = 16
"""MiB of scores that a softmax keeps at a time: about a processor's last cache."""


@runtime_checkable
class Compare(Protocol):
    """Scores of all queries against all candidates."""

    def __call__(self, question: Questions, candidate: Candidates) -> Scores: ...


@runtime_checkable
class Loss(Protocol):
    """Anything that turns questions, candidates and answers into a number to minimise."""

    def __call__(
        self,
        question: Questions,
        candidate: Candidates,
        query: LinkQueries,
        *,
        compare: Compare,
        product: torch.dtype | None,
    ) -> Scalar:
        """``product`` is the type of the score product, or None if ``compare`` is no product."""


def softmax_loss(scores: Scores, query: LinkQueries, *, smoothing: float = 0.0) -> Scalar:
    """Cross entropy of each answer against all candidates: ``n logsumexp - sum positive``.

    Grouped by distinct (head, relation) with ``n`` tails this is exactly 1vsAll (Lacroix et al.
    2018). Sampled candidates count for the entities they stand for, so that the normaliser
    stays an estimate of the full one (Jean et al. 2015).

    Args:
        smoothing: share of the label spread evenly over all candidates (Szegedy et al. 2016).
    """
    count = _answers_per_query(query, scores)
    loss = -(1 - smoothing) * scores[query.answer_query, query.answer].sum()
    if smoothing:
        loss = loss - smoothing * (count * (scores * _even(query, scores)).sum(dim=1)).sum()
    if query.candidate_weight is not None:
        scores = scores + query.candidate_weight.log()
    if query.known is not None:
        scores = scores.index_put(tuple(query.known.t()), scores.new_tensor(-torch.inf))
    return (loss + (count * scores.logsumexp(dim=1)).sum()) / query.step_answers


def fused_softmax_loss(
    question: Questions,
    candidate: Candidates,
    query: LinkQueries,
    *,
    dtype: torch.dtype,
    smoothing: float = 0.0,
    memory: int = MEMORY,
) -> Scalar:
    """:func:`softmax_loss` of ``question @ candidate.T`` whose scores never exist whole.

    ``memory`` MiB of scores at a time become their own gradient in place, so that neither scores
    nor a graph of their operations are kept: the backward pass is two stored gradients.
    """
    loss: Tensor = _FusedSoftmax.apply(  # type: ignore[no-untyped-call]
        question, candidate, query, dtype, smoothing, _rows_of(memory, candidate)
    )
    return loss / query.step_answers


def chunked_softmax_loss(
    question: Questions,
    candidate: Candidates,
    query: LinkQueries,
    *,
    compare: Compare,
    smoothing: float = 0.0,
    memory: int = MEMORY,
) -> Scalar:
    """:func:`softmax_loss` of any comparison, ``memory`` MiB of scores at a time.

    The gradient of each part is taken at once, while its scores are there; parameters that
    ``compare`` has of its own get none.
    """
    rows = _rows_of(memory, candidate)
    if rows >= question.shape[0]:
        return softmax_loss(compare(question, candidate), query, smoothing=smoothing)
    loss: Tensor = _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call]
        question, candidate, query, compare, smoothing, rows
    )
    return loss / query.step_answers


def _rows_of(memory: int, candidate: Candidates) -> int:
    return max(1, (memory << 20) // (4 * max(1, candidate.shape[0])))


class _TwoGradients(torch.autograd.Function):
    """A loss whose forward pass leaves the gradients of questions and candidates."""

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        question, candidate = ctx.saved_tensors
        return question * grad[0], candidate * grad[0], None, None, None, None


class _FusedSoftmax(_TwoGradients):
    @staticmethod
    def forward(
        ctx: Any,
        question: Tensor,
        candidate: Tensor,
        query: LinkQueries,
        dtype: torch.dtype,
        smoothing: float,
        rows: int,
    ) -> Tensor:
        factor = candidate.to(dtype)
        grad_question, grad_candidate = torch.empty_like(question), torch.zeros_like(candidate)
        loss = question.new_zeros(())
        for chunk, part in _parts(query, rows):
            count = _answers_per_query(part, question)[:, None]
            left = question[chunk].to(dtype)
            scores = (left @ factor.t()).float()
            loss -= (1 - smoothing) * scores[part.answer_query, part.answer].sum()
            if smoothing:
                even = smoothing * count * _even(part, scores)
                loss -= (even * scores).sum()
            if part.candidate_weight is not None:
                scores += part.candidate_weight.log()
            if part.known is not None:
                scores[tuple(part.known.t())] = -torch.inf
            normaliser = scores.logsumexp(dim=1, keepdim=True)
            loss += (count * normaliser).sum()
            share = scores.sub_(normaliser).exp_().mul_(count)
            share[part.answer_query, part.answer] -= 1 - smoothing
            if smoothing:
                share -= even
            share = share.to(dtype)
            grad_question[chunk] = share @ factor
            grad_candidate += share.t() @ left
        ctx.save_for_backward(grad_question, grad_candidate)
        return loss


class _ChunkedSoftmax(_TwoGradients):
    @staticmethod
    def forward(
        ctx: Any,
        question: Tensor,
        candidate: Tensor,
        query: LinkQueries,
        compare: Compare,
        smoothing: float,
        rows: int,
    ) -> Tensor:
        grad_question, grad_candidate = torch.empty_like(question), torch.zeros_like(candidate)
        loss = question.new_zeros(())
        for chunk, part in _parts(query, rows):
            with torch.enable_grad():
                left = question[chunk].detach().requires_grad_()
                right = candidate.detach().requires_grad_()
                found = query.step_answers * softmax_loss(
                    compare(left, right), part, smoothing=smoothing
                )
                grad = torch.autograd.grad(found, (left, right))
            loss += found.detach()
            grad_question[chunk] = grad[0]
            grad_candidate += grad[1]
        ctx.save_for_backward(grad_question, grad_candidate)
        return loss


def _parts(query: LinkQueries, rows: int) -> Iterator[tuple[slice, LinkQueries]]:
    """So many queries at a time, with their answers and what is known of them."""
    answers = torch.stack([query.answer_query, query.answer], dim=1)
    for start in range(0, query.head.shape[0], rows):
        chunk = slice(start, start + rows)
        row, answer = _places(answers, start, rows)
        known = query.known
        part = replace(
            query,
            head=query.head[chunk],
            relation=query.relation[chunk],
            answer_query=row,
            answer=answer,
            known=None if known is None else torch.stack(_places(known, start, rows), dim=1),
        )
        yield chunk, part


def _even(query: LinkQueries, scores: Scores) -> Float[Tensor, "#query candidate"]:
    """The mean over the candidates, as weights."""
    weight = _weights(query, scores)
    return weight / weight.sum(dim=-1, keepdim=True)


def _places(
    pairs: Int64[Tensor, "pair 2"], start: int, rows: int
) -> tuple[Int64[Tensor, " mine"], Int64[Tensor, " mine"]]:
    """Those pairs of ascending queries that are in ``rows`` of them from ``start`` on."""
    ends = pairs.new_tensor([start, start + rows])
    first, last = torch.searchsorted(pairs[:, 0].contiguous(), ends).tolist()
    return pairs[first:last, 0] - start, pairs[first:last, 1]


def bce_loss(scores: Scores, query: LinkQueries, *, smoothing: float = 0.0) -> Scalar:
    """Binary cross entropy of every (query, candidate), mean over candidates (ConvE's 1-N).

    Args:
        smoothing: share of the label spread evenly over all candidates.
    """
    label = _marked(scores, query.answer_query, query.answer).to(scores.dtype)
    if smoothing:
        label = label * (1 - smoothing) + smoothing / scores.shape[1]
    entry = functional.binary_cross_entropy_with_logits(scores, label, reduction="none")
    weight = _weights(query, scores)
    return (entry * (weight / weight.sum(dim=-1, keepdim=True))).sum() / query.step_queries


def margin_loss(scores: Scores, query: LinkQueries, *, margin: float = 1.0) -> Scalar:
    """``max(0, margin - positive + negative)``, mean over negatives (Bordes et al. 2013)."""
    answer = _marked(scores, query.answer_query, query.answer)
    negative = (~answer).to(scores.dtype) * _weights(query, scores)
    weight = negative / negative.sum(dim=1, keepdim=True).clamp(min=1e-12)
    positive = scores[query.answer_query, query.answer]
    violation = (margin - positive[:, None] + scores[query.answer_query]).relu()
    return (violation * weight[query.answer_query]).sum() / query.step_answers


def path_softmax_loss(scores: Float[Tensor, " entity"], query: PathQueries) -> Scalar:
    """Cross entropy of each answer against the entities of its subgraph.

    What is known to be true and not asked is left out. Answers outside their subgraph count for
    nothing: no path leads to them.
    """
    scores = scores.index_fill(0, query.known, -torch.inf)
    queries, owner = query.relation.shape[0], query.owner
    highest = scores.detach().new_full((queries,), -torch.inf)
    highest = highest.scatter_reduce(0, owner, scores.detach(), "amax")
    share = scores.new_zeros(queries).index_add(0, owner, (scores - highest[owner]).exp())
    row = owner[query.answer]
    return (share.log() + highest)[row].sub(scores[query.answer]).sum() / query.step_answers


def mean_penalty(
    question: Float[Tensor, " query"], tail: Float[Tensor, " answer"], query: LinkQueries
) -> Scalar:
    """Mean over asked triples of what head, relation and tail are penalised by.

    Weighted by the triples as asked, as the nuclear 3-norm of Lacroix et al. 2018.

    Args:
        question: per query, the sum over head and relation.
        tail: per answer.
    """
    return (question[query.answer_query] + tail).sum() / query.step_answers


def relation_queries(query: LinkQueries, *, num_relations: int) -> LinkQueries:
    """Of every asked triple, which of all relations joins its two entities (Chen et al. 2021)."""
    row = query.answer_query
    every = torch.arange(row.shape[0], device=row.device)
    return replace(
        query,
        head=every,
        relation=every,
        num_candidates=num_relations,
        answer_query=every,
        answer=query.relation[row],
        candidate_weight=None,
        known=None,
    )


def _marked(
    scores: Scores, row: Int64[Tensor, " pair"], candidate: Int64[Tensor, " pair"]
) -> Bool[Tensor, "query candidate"]:
    """True at the pairs."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.index_put((row, candidate), torch.ones_like(row, dtype=torch.bool))


def _answers_per_query(query: LinkQueries, like: Tensor) -> Float[Tensor, " query"]:
    ones = torch.ones_like(query.answer, dtype=like.dtype)
    return like.new_zeros(query.head.shape[0]).index_add(0, query.answer_query, ones)


def _weights(query: LinkQueries, scores: Scores) -> Float[Tensor, "#query candidate"]:
    """How much a candidate counts, for every query alike unless some are known to be true."""
    weight = query.candidate_weight
    found = scores.new_ones(1, scores.shape[1]) if weight is None else weight[None]
    if query.known is None:
        return found
    return found * ~_marked(scores, *query.known.unbind(dim=1))


class ScoreLoss(ABC):
    """A loss that needs nothing but the scores."""

    @abstractmethod
    def of(self, scores: Scores, query: LinkQueries) -> Scalar: ...

    def __call__(
        self,
        question: Questions,
        candidate: Candidates,
        query: LinkQueries,
        *,
        compare: Compare,
        product: torch.dtype | None,
    ) -> Scalar:
        return self.of(compare(question, candidate), query)


class SoftmaxLoss(ScoreLoss):
    """See :func:`softmax_loss`; fused where the decoder is a matrix product.

    Args:
        smoothing: share of the label spread evenly over all candidates.
        memory: MiB of scores that exist at a time.
    """

    def __init__(self, *, smoothing: float = 0.0, memory: int = MEMORY) -> None:
        _check_smoothing(smoothing)
        if memory < 1:
            raise ConfigError(f"loss.memory needs an int of at least 1 (MiB), got {memory}")
        self.smoothing, self.memory = smoothing, memory

    def of(self, scores: Scores, query: LinkQueries) -> Scalar:
        return softmax_loss(scores, query, smoothing=self.smoothing)

    def __call__(
        self,
        question: Questions,
        candidate: Candidates,
        query: LinkQueries,
        *,
        compare: Compare,
        product: torch.dtype | None,
    ) -> Scalar:
        given, smoothing, memory = (question, candidate, query), self.smoothing, self.memory
        if product is not None:
            return fused_softmax_loss(*given, dtype=product, smoothing=smoothing, memory=memory)
        return chunked_softmax_loss(*given, compare=compare, smoothing=smoothing, memory=memory)


class BCELoss(ScoreLoss):
    """See :func:`bce_loss`."""

    def __init__(self, *, smoothing: float = 0.0) -> None:
        _check_smoothing(smoothing)
        self.smoothing = smoothing

    def of(self, scores: Scores, query: LinkQueries) -> Scalar:
        return bce_loss(scores, query, smoothing=self.smoothing)


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ConfigError(f"loss.smoothing needs a share in [0, 1), got {smoothing}")


class MarginLoss(ScoreLoss):
    """See :func:`margin_loss`."""

    def __init__(self, *, margin: float = 1.0) -> None:
        if margin <= 0:
            raise ConfigError(f"loss.margin needs a positive number, got {margin}")
        self.margin = margin

    def of(self, scores: Scores, query: LinkQueries) -> Scalar:
        return margin_loss(scores, query, margin=self.margin)


def node_cross_entropy(
    logits: Float[Tensor, "query class"], label: Int64[Tensor, " query"], *, step_queries: int
) -> Scalar:
    """``logsumexp - logit of the label``, for nodes with one class; a mean over the step."""
    return functional.cross_entropy(logits, label, reduction="sum") / step_queries


def node_bce(
    logits: Float[Tensor, "query class"],
    labels: Float[Tensor, "query class"],
    *,
    step_queries: int,
) -> Scalar:
    """Binary cross entropy of every (node, class); a mean over classes, and over the step."""
    entry = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return entry.mean(dim=1).sum() / step_queries
