"""Losses of single scores."""

from __future__ import annotations

from torch.nn import functional

from kgscale.batch import LinkQueries
from kgscale.losses.base import Scalar, marked, weights
from kgscale.types import Scores


def bce_loss(scores: Scores, query: LinkQueries, *, smoothing: float = 0.0) -> Scalar:
    """Binary cross entropy of every (query, candidate), mean over candidates (ConvE's 1-N).

    Args:
        smoothing: share of the label spread evenly over all candidates.
    """
    label = marked(scores, query.answer_query, query.answer).to(scores.dtype)
    if smoothing:
        label = label * (1 - smoothing) + smoothing / scores.shape[1]
    entry = functional.binary_cross_entropy_with_logits(scores, label, reduction="none")
    weight = weights(query, scores)
    return (entry * (weight / weight.sum(dim=-1, keepdim=True))).sum() / query.step_queries


def bpr_loss(scores: Scores, query: LinkQueries) -> Scalar:
    """``-log sigmoid(positive - negative)``, mean over negatives (Rendle et al. 2009)."""
    weight = _negatives(scores, query)
    positive = scores[query.answer_query, query.answer]
    worse = functional.softplus(scores[query.answer_query] - positive[:, None])
    return (worse * weight[query.answer_query]).sum() / query.step_answers


def margin_loss(scores: Scores, query: LinkQueries, *, margin: float = 1.0) -> Scalar:
    """``max(0, margin - positive + negative)``, mean over negatives (Bordes et al. 2013)."""
    weight = _negatives(scores, query)
    positive = scores[query.answer_query, query.answer]
    violation = (margin - positive[:, None] + scores[query.answer_query]).relu()
    return (violation * weight[query.answer_query]).sum() / query.step_answers


def _negatives(scores: Scores, query: LinkQueries) -> Scores:
    """Candidates that are no answers of a query, as weights of a mean over them."""
    answer = marked(scores, query.answer_query, query.answer)
    negative = (~answer).to(scores.dtype) * weights(query, scores)
    return negative / negative.sum(dim=1, keepdim=True).clamp(min=1e-12)
