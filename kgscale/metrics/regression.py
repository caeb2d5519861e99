"""Metrics of numbers and of the intervals that should hold them."""

from __future__ import annotations

import math

from jaxtyping import Float64
from torch import Tensor

from kgscale.errors import ScoreError

Numbers = Float64[Tensor, " node"]


def number_metrics(estimate: Numbers, number: Numbers) -> dict[str, float]:
    """Mean absolute error, root of the mean squared error, and R² = 1 - squared error / variance,
    which is 0 where numbers don't vary; empty without a number.

    Raises:
        ScoreError: an estimate isn't finite.
    """
    if not len(number):
        return {}
    if not estimate.isfinite().all():
        raise ScoreError("an estimate isn't finite: training has diverged; lower optimizer.lr")
    off = estimate - number
    squared, spread = off.square().mean(), (number - number.mean()).square().mean()
    return {
        "mae": float(off.abs().mean()),
        "rmse": math.sqrt(float(squared)),
        "r2": 1 - float(squared / spread) if spread > 0 else 0.0,
        "nodes": float(len(number)),
    }


def interval_metrics(low: Numbers, high: Numbers, number: Numbers) -> dict[str, float]:
    """The share of numbers that their interval holds, and the middle of the intervals' widths."""
    if not len(number):
        return {}
    inside = (low <= number) & (number <= high)
    return {"covered": float(inside.double().mean()), "width": float((high - low).median())}


def conformal_factor(distance: Numbers, coverage: float) -> float:
    """How many times its own scale an interval reaches to either side, by how far the numbers of
    entities that were not learned lie from their estimates, each in its own scale.

    Another entity of the kind lies within with at least this probability, whatever the model
    (split conformal prediction: Lei et al. 2018, theorem 2.2; with scales, section 5.2).
    Infinite, where too few entities are known to say so.
    """
    place = math.ceil((len(distance) + 1) * coverage)
    return math.inf if place > len(distance) else float(distance.sort().values[place - 1])
