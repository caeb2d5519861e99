"""The losses that settings name."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from kgscale.batch import LinkQueries
from kgscale.errors import ConfigError
from kgscale.losses.base import Compare, Scalar
from kgscale.losses.entries import bce_loss, bpr_loss, margin_loss
from kgscale.losses.softmax import (
    MEMORY,
    chunked_softmax_loss,
    fused_softmax_loss,
    softmax_loss,
)
from kgscale.types import Candidates, Questions, Scores


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


class BPRLoss(ScoreLoss):
    """See :func:`bpr_loss`."""

    def of(self, scores: Scores, query: LinkQueries) -> Scalar:
        return bpr_loss(scores, query)


class MarginLoss(ScoreLoss):
    """See :func:`margin_loss`."""

    def __init__(self, *, margin: float = 1.0) -> None:
        if margin <= 0:
            raise ConfigError(f"loss.margin needs a positive number, got {margin}")
        self.margin = margin

    def of(self, scores: Scores, query: LinkQueries) -> Scalar:
        return margin_loss(scores, query, margin=self.margin)


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ConfigError(f"loss.smoothing needs a share in [0, 1), got {smoothing}")
