"""Losses of nodes' classes."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.losses.base import Scalar


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
