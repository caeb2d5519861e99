"""Softmax over all candidates, whole, fused or in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import LinkQueries
from kgscale.kernels.products import ROWS, factor
from kgscale.kernels.softmax import softmax_
from kgscale.losses.base import Compare, Scalar, answers_per_query, even
from kgscale.types import Candidates, Questions, Scores

MEMORY: Final = 16
"""MiB of scores that a softmax keeps at a time: about a processor's last cache."""


def softmax_loss(scores: Scores, query: LinkQueries, *, smoothing: float = 0.0) -> Scalar:
    """Cross entropy of each answer against all candidates: ``n logsumexp - sum positive``.

    Grouped by distinct (head, relation) with ``n`` tails this is exactly 1vsAll (Lacroix et al.
    2018). Sampled candidates count for the entities they stand for, so that the normaliser
    stays an estimate of the full one (Jean et al. 2015).

    Args:
        smoothing: share of the label spread evenly over all candidates (Szegedy et al. 2016).
    """
    count = answers_per_query(query, scores)
    loss = -(1 - smoothing) * scores[query.answer_query, query.answer].sum()
    if smoothing:
        loss = loss - smoothing * (count * (scores * even(query, scores)).sum(dim=1)).sum()
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
        question, candidate, query, dtype, smoothing, _rows_of(memory, candidate, dtype)
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


def _rows_of(memory: int, candidate: Candidates, dtype: torch.dtype = torch.float32) -> int:
    rows = (memory << 20) // (dtype.itemsize * max(1, candidate.shape[0]))
    # Of few sizes, as narrow factors want it: whole blocks, or a power of two below one.
    return rows // ROWS * ROWS if rows >= ROWS else 1 << max(0, rows.bit_length() - 1)


class _TwoGradients(torch.autograd.Function):
    """A loss whose forward pass leaves the gradients of questions and candidates."""

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        # In place, for they are as large as all vectors; a second pass is refused by torch.
        question, candidate = ctx.saved_tensors
        return question.mul_(grad[0]), candidate.mul_(grad[0]), None, None, None, None


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
        right, number = factor(candidate, dtype), candidate.shape[0]
        grad_question, grad_candidate = torch.empty_like(question), None
        loss, no_shift = question.new_zeros(()), question.new_zeros(number)
        for chunk, part in _parts(query, rows):
            count = answers_per_query(part, question)
            left, size = factor(question[chunk], dtype, min(rows, ROWS)), part.head.shape[0]
            # Where factors are rows of zeros, it stays zero.
            product = left @ right.t()
            scores, asked = product[:size, :number], (part.answer_query, part.answer)
            shift = no_shift if part.candidate_weight is None else part.candidate_weight.log()
            score, spread = scores[asked].float(), None
            loss -= (1 - smoothing) * score.sum()
            if smoothing:
                spread = smoothing * count[:, None] * even(part, scores.float())
                loss -= (spread * scores).sum()
            if part.known is not None:
                scores[tuple(part.known.t())] = -torch.inf
            total = softmax_(product, shift, count)
            loss += (count * total).sum()
            # Not from the narrow share: that of a certain answer is nearly what is taken off.
            share = (score + shift[part.answer] - total[part.answer_query]).exp()
            grad = count[part.answer_query] * share - (1 - smoothing)
            if spread is not None:
                scores -= spread
                grad -= spread[asked]
            scores[asked] = grad.to(dtype)
            grad_question[chunk] = (product @ right)[:size]
            found = (product.t() @ left)[:number]
            # The first is the sum: one pass less over numbers as many as all vectors.
            if grad_candidate is None:
                grad_candidate = found.to(candidate.dtype)
            else:
                grad_candidate += found
        if grad_candidate is None:
            grad_candidate = torch.zeros_like(candidate)
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


def _places(
    pairs: Int64[Tensor, "pair 2"], start: int, rows: int
) -> tuple[Int64[Tensor, " mine"], Int64[Tensor, " mine"]]:
    """Those pairs of ascending queries that are in ``rows`` of them from ``start`` on."""
    ends = pairs.new_tensor([start, start + rows])
    first, last = torch.searchsorted(pairs[:, 0].contiguous(), ends).tolist()
    return pairs[first:last, 0] - start, pairs[first:last, 1]
