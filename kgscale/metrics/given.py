"""Metrics among candidates that a benchmark gives; OGB's Evaluator finds the same."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kgscale.metrics.ranking import RankCounts


def candidate_counts(
    positive: Float[Tensor, " question"], negative: Float[Tensor, "question rival"]
) -> RankCounts:
    """How many of its own rivals are before each answer, and beside it."""
    return RankCounts(
        better=(negative > positive[:, None]).sum(dim=1),
        tied=(negative == positive[:, None]).sum(dim=1),
    )


def hits_among(
    positive: Float[Tensor, " pair"], negative: Float[Tensor, " other"], k: int
) -> float:
    """The share of joined pairs that fewer than ``k`` of all others reach."""
    if len(negative) < k:
        return 1.0
    return float((positive > negative.topk(k).values[-1]).double().mean())


def roc_auc(positive: Float[Tensor, " pair"], negative: Float[Tensor, " other"]) -> float:
    """How often a joined pair is before another one; a tie is half of that."""
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive).double()
    not_above = torch.searchsorted(ordered, positive, right=True).double()
    return float((below + not_above).mean() / 2 / len(negative))


def mean_roc_auc(
    scores: Float[Tensor, "node task"], labels: Float[Tensor, "node task"]
) -> float | None:
    """Over tasks that have both answers; None if there is no other."""
    found = [
        roc_auc(score[has], score[~has])
        for score, has in zip(scores.T, (labels > 0.5).T, strict=True)
        if has.any() and not has.all()
    ]
    return sum(found) / len(found) if found else None


def reciprocal_rank(
    best: Int[Tensor, "question place"], tail: Int[Tensor, " question"]
) -> Float[Tensor, " question"]:
    """Of the answer among the best, 0 where it is none of them."""
    hit = best == tail[:, None]
    place = torch.arange(1, best.shape[1] + 1, device=best.device)
    return (hit / place).sum(dim=1).double()
