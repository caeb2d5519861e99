"""Losses of nodes' classes."""

from __future__ import annotations

import torch
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


def node_gaussian(
    output: Float[Tensor, "query 2"], number: Float[Tensor, "query 1"], *, step_queries: int
) -> Scalar:
    """Minus the log likelihood of a number under the normal distribution of each node, whose mean
    and log standard deviation are given; a mean over the step.

    Weighted by the standard deviation, of which no gradient is taken, so that what is badly known
    is still learned (Seitzer et al. 2022, equation 5 with beta = 1/2).
    """
    mean, scale = number_and_scale(output)
    entry = scale.log() + ((number[:, 0] - mean) / scale).square() / 2
    weighted: Tensor = (scale.detach() * entry).sum() / step_queries
    return weighted


def number_and_scale(
    output: Float[Tensor, "query 2"],
) -> tuple[Float[Tensor, " query"], Float[Tensor, " query"]]:
    """Mean and standard deviation from what a head gives; the latter from exp(-5) to exp(3)."""
    mean, scale = output.unbind(dim=1)
    return mean, torch.exp(scale.clamp(-5, 3))
