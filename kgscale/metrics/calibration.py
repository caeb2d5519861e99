"""From scores to probabilities: maps fitted on answers of validation, and how far off they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kgscale.errors import DataError

BINS: Final = 15
FEW: Final = 250
"""Right (or wrong) answers below which steps are fitted to chance, and two numbers are safer
(Niculescu-Mizil & Caruana 2005, who saw it below some 1,000 of both kinds)."""
LEAST: Final = 1e-12
Method = Literal["auto", "isotonic", "platt", "none"]


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """The monotone map that is nearest in squares (Zadrozny & Elkan 2002): between ``knots``,
    which ascend, straight lines; beyond them, the last value."""

    knots: tuple[float, ...]
    values: tuple[float, ...]
    method: Literal["isotonic"] = field(default="isotonic", init=False)

    def __call__(self, score: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        found = np.interp(score.double().numpy(), self.knots, self.values)
        return torch.from_numpy(np.asarray(found)).float()

    @classmethod
    def fit(cls, score: Float[Tensor, " answer"], right: Bool[Tensor, " answer"]) -> Isotonic:
        """A step's share counts one answer more, right as often as all are (Cestnik 1990): none is
        impossible or certain, least of all by a few."""
        # Late, since importing it takes half a second.
        from scipy.optimize import isotonic_regression

        place, which = torch.unique(score.double(), return_inverse=True)
        count = torch.bincount(which).double()
        share = torch.bincount(which, weights=right.double()) / count
        found = isotonic_regression(share.numpy(), weights=count.numpy())
        first, last = found.blocks[:-1], found.blocks[1:] - 1
        base, size = float(right.double().mean()), found.weights
        steps = (found.x[first] * size + base) / (size + 1)
        steps = isotonic_regression(steps, weights=size).x
        value = np.repeat(steps, last - first + 1)
        ends = np.unique(np.concatenate([first, last]))
        return cls(knots=tuple(place.numpy()[ends].tolist()), values=tuple(value[ends].tolist()))


@dataclass(frozen=True, kw_only=True)
class Platt:
    """``1 / (1 + exp(-(slope * score + intercept)))`` (Platt 1999)."""

    slope: float
    intercept: float
    method: Literal["platt"] = field(default="platt", init=False)

    def __call__(self, score: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return (self.slope * score.double() + self.intercept).sigmoid().float()

    @classmethod
    def fit(cls, score: Float[Tensor, " answer"], right: Bool[Tensor, " answer"]) -> Platt:
        """Greatest likelihood, of answers that are right or wrong but for Platt's one more of
        each: the best of a separable sample is finite."""
        from scipy.optimize import minimize

        # Of a common size, where the search is at home.
        middle, width = score.double().mean(), score.double().std(correction=0).clamp(min=1e-6)
        at, hits = ((score.double() - middle) / width).numpy(), int(right.sum())
        high, low = (hits + 1) / (hits + 2), 1 / (len(score) - hits + 2)
        target = np.where(right.numpy(), high, low)

        def cost(given: np.ndarray) -> tuple[float, np.ndarray]:
            odds = given[0] * at + given[1]
            off = 1 / (1 + np.exp(-odds.clip(-700, 700))) - target
            loss = np.logaddexp(0, odds) - target * odds
            return float(loss.mean()), np.array([(off * at).mean(), off.mean()])

        start = np.array([1.0, math.log((hits + 1) / (len(score) - hits + 1))])
        bounds = [(0.0, None), (None, None)]
        slope, intercept = minimize(cost, start, jac=True, bounds=bounds, method="L-BFGS-B").x
        slope /= float(width)
        return cls(slope=float(slope), intercept=float(intercept - slope * float(middle)))


Calibration: TypeAlias = Isotonic | Platt


def fitted(
    score: Float[Tensor, " answer"], right: Bool[Tensor, " answer"], method: Method
) -> Calibration | None:
    """The map of a method; None of "none", and where all answers or none are right."""
    if method == "none" or right.all() or not right.any():
        return None
    if method == "auto":
        method = "platt" if min(int(right.sum()), int((~right).sum())) < FEW else "isotonic"
    kind = Platt if method == "platt" else Isotonic
    return kind.fit(score, right)


def to_settings(calibration: Calibration) -> dict[str, Any]:
    return asdict(calibration)


def from_settings(given: Any) -> Calibration:
    """What :func:`to_settings` wrote.

    Raises:
        DataError: it is something else.
    """
    if isinstance(given, Mapping):
        numbers = {name: value for name, value in given.items() if name != "method"}
        if given.get("method") == "platt" and numbers.keys() == {"slope", "intercept"}:
            if all(map(_finite, numbers.values())) and numbers["slope"] >= 0:
                return Platt(**{name: float(value) for name, value in numbers.items()})
        elif given.get("method") == "isotonic" and numbers.keys() == {"knots", "values"}:
            knots, values = numbers["knots"], numbers["values"]
            both = _ascends(knots, strictly=True) and _ascends(values)
            if both and len(knots) == len(values) and values[0] >= 0 and values[-1] <= 1:
                return Isotonic(knots=tuple(map(float, knots)), values=tuple(map(float, values)))
    raise DataError("no map from scores to probabilities")


def _ascends(numbers: Any, *, strictly: bool = False) -> bool:
    if not isinstance(numbers, list) or not numbers or not all(map(_finite, numbers)):
        return False
    least = 0.0 if not strictly else math.ulp(0.0)
    return all(after - before >= least for before, after in pairwise(numbers))


def _finite(number: Any) -> bool:
    return type(number) in (int, float) and abs(number) < 1e300


def log_odds(probability: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """Finite also of what is certain in single precision."""
    return torch.logit(probability.double().clamp(LEAST, 1 - 1e-9)).float()


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Answers by the probability that they were said to have, in bins of equal width."""

    count: Float[Tensor, " bin"]
    said: Float[Tensor, " bin"]
    """Mean probability; 0 where there is no answer."""
    right: Float[Tensor, " bin"]
    """Share of right ones."""

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, equation 3): the mean
        over answers of how far the share of a bin lies from what was said."""
        off = self.count * (self.said - self.right).abs()
        return float(off.sum() / self.count.sum().clamp(min=1))

    def rows(self) -> list[dict[str, float]]:
        """Bins that have answers."""
        columns = zip(self.count.tolist(), self.said.tolist(), self.right.tolist(), strict=True)
        return [{"answers": n, "said": p, "right": q} for n, p, q in columns if n]


def reliability(
    probability: Float[Tensor, " answer"], right: Bool[Tensor, " answer"], *, bins: int = BINS
) -> Reliability:
    place = (probability.double() * bins).long().clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins).double()
    sums = [
        torch.bincount(place, weights=value.double(), minlength=bins) / count.clamp(min=1)
        for value in (probability, right)
    ]
    return Reliability(count=count, said=sums[0], right=sums[1])
