"""What losses have in common."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from kgscale.batch import LinkQueries
from kgscale.types import Candidates, Questions, Scores

Scalar = Float[Tensor, ""]


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


def marked(
    scores: Scores, row: Int64[Tensor, " pair"], candidate: Int64[Tensor, " pair"]
) -> Bool[Tensor, "query candidate"]:
    """True at the pairs."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.index_put((row, candidate), torch.ones_like(row, dtype=torch.bool))


def answers_per_query(query: LinkQueries, like: Tensor) -> Float[Tensor, " query"]:
    ones = torch.ones_like(query.answer, dtype=like.dtype)
    return like.new_zeros(query.head.shape[0]).index_add(0, query.answer_query, ones)


def weights(query: LinkQueries, scores: Scores) -> Float[Tensor, "#query candidate"]:
    """How much a candidate counts, for every query alike unless some are known to be true."""
    weight = query.candidate_weight
    found = scores.new_ones(1, scores.shape[1]) if weight is None else weight[None]
    if query.known is None:
        return found
    return found * ~marked(scores, *query.known.unbind(dim=1))


def even(query: LinkQueries, scores: Scores) -> Float[Tensor, "#query candidate"]:
    """The mean over the candidates, as weights."""
    weight = weights(query, scores)
    return weight / weight.sum(dim=-1, keepdim=True)
