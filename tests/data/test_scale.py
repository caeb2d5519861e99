"""Scaled numbers: comparable, masked where missing, and heavy tails tamed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kgscale.data.scale import FARTHEST, Scale

NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan"))


@given(arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=NUMBERS))
def test_numbers_are_bounded_and_bits_tell_what_is_missing(values: np.ndarray) -> None:
    found = Scale.fit(values).apply(values)
    assert found.shape == (len(values), 2 * values.shape[1])
    number, there = found[:, 0::2], found[:, 1::2]
    assert (there == ~np.isnan(values)).all()
    assert (number[there == 0] == 0).all()
    assert (np.abs(number) <= FARTHEST).all()


def test_by_hand() -> None:
    values = np.array([[1.0], [3.0], [np.nan]])
    scale = Scale.fit(values)
    assert (scale.mean[0], scale.deviation[0], scale.unit[0]) == (2.0, 1.0, 0.0)
    np.testing.assert_array_equal(scale.apply(values), [[-1, 1], [1, 1], [0, 0]])
    np.testing.assert_array_equal(scale.apply(np.array([[100.0]])), [[5, 1]])


def test_known_numbers_have_mean_0_and_deviation_1() -> None:
    values = np.random.default_rng(0).uniform(10, 20, (500, 2))
    number = Scale.fit(values).apply(values)[:, 0::2]
    np.testing.assert_allclose(number.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(number.std(axis=0), 1, atol=1e-6)


@given(st.permutations(range(40)))
def test_a_heavy_tail_keeps_its_order_and_uses_its_room(order: list[int]) -> None:
    values = 10.0 ** (np.array(order) / 5)[:, None]
    scale = Scale.fit(values)
    assert scale.unit[0] > 0
    number = scale.apply(values)[:, 0]
    assert (np.argsort(number) == np.argsort(order)).all()
    # A straight line would leave all but the largest within a hundredth of each other.
    assert np.diff(np.sort(number)).min() > 0.02


@pytest.mark.parametrize("values", [[[7.0], [7.0]], [[1e9 + 0.1]] * 3, [[0.0]], [[-3e38], [3e38]]])
def test_equal_and_extreme_numbers_stay_finite(values: list[list[float]]) -> None:
    found = Scale.fit(np.array(values)).apply(np.array(values))
    assert np.isfinite(found).all()
    if len(set(map(tuple, values))) == 1:
        np.testing.assert_array_equal(found[:, 0], 0)


def test_a_column_of_which_nothing_is_known_has_its_bit_alone() -> None:
    scale = Scale.fit(np.array([[np.nan], [np.nan]]))
    np.testing.assert_array_equal(scale.apply(np.array([[5.0], [np.nan]])), [[0, 1], [0, 0]])
