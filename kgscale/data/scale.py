"""Numbers made comparable: what entities that may be learned from say of a column decides how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

SPREAD = 100.0
"""Of a heavy-tailed column: the large magnitudes divided by the small ones."""
FARTHEST = 5.0
"""Standard deviations beyond which a number tells nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How each column of numbers is scaled: ``(s(x) - mean) / deviation``, cut to ±5.

    ``s`` is ``asinh(x / unit)`` for a heavy-tailed column, linear below its unit and logarithmic
    beyond, and ``x`` where ``unit`` is 0. A column of which nothing is known has deviation 0.
    """

    unit: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, values: Numbers) -> Scale:
        """From rows ``[entity, column]``; NaN is a number that is missing.

        Heavy-tailed is a column whose magnitudes (zeros aside) span two orders: the 95th percentile
        is more than 100 times the 5th, which is then the unit.
        """
        columns = [_fit(column[~np.isnan(column)]) for column in values.T]
        unit, mean, deviation = np.array(columns, np.float64).reshape(-1, 3).T
        return cls(unit=unit, mean=mean, deviation=deviation)

    def apply(self, values: Numbers) -> NDArray[np.float32]:
        """Two numbers for each: the scaled one (0 if it is missing), and whether it is there."""
        there = ~np.isnan(values)
        given = np.where(there, values, 0.0)
        known = self.deviation > 0
        scaled = (_shaped(given, self.unit) - self.mean) / np.where(known, self.deviation, 1.0)
        scaled = np.where(there & known, np.clip(scaled, -FARTHEST, FARTHEST), 0.0)
        return np.stack([scaled, there], axis=2).reshape(len(values), -1).astype(np.float32)


def _fit(known: Numbers) -> tuple[float, float, float]:
    """Unit, mean and deviation; numbers that are all the same have deviation 1."""
    if not len(known):
        return 0.0, 0.0, 0.0
    size = np.abs(known[known != 0])
    low, high = np.percentile(size, [5, 95]) if len(size) else (0.0, 0.0)
    unit = float(low) if high > SPREAD * low else 0.0
    shaped = _shaped(known, np.float64(unit))
    deviation = float(shaped.std())
    # Equal numbers differ from their mean by rounding alone.
    same = deviation <= 1e-9 * float(np.abs(shaped).max(initial=0.0))
    return unit, float(shaped.mean()), 1.0 if same or deviation == 0 else deviation


def _shaped(values: Numbers, unit: NDArray[np.float64] | np.float64) -> Numbers:
    heavy = unit > 0
    return np.where(heavy, np.arcsinh(values / np.where(heavy, unit, 1.0)), values)
