"""Numbers, their intervals, and how they are learned: by hand and by law."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.inference.numbers import NumberScale
from kgscale.losses import node_gaussian, number_and_scale
from kgscale.metrics.regression import conformal_factor, interval_metrics, number_metrics


def test_metrics_by_hand() -> None:
    number = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    found = number_metrics(number + torch.tensor([1.0, 0.0, 1.0]), number)
    assert found["mae"] == pytest.approx(2 / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(2 / 3))
    assert found["r2"] == pytest.approx(0.0)
    assert number_metrics(number.mean().expand(3), number)["r2"] == 0
    assert number_metrics(number[:0], number[:0]) == {}
    held = interval_metrics(number - 1, number + torch.tensor([1.0, 1.0, -0.5]), number)
    assert held == {"covered": pytest.approx(2 / 3), "width": 2.0}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0.05, 0.95))
def test_a_factor_holds_what_it_says(distances: list[float], coverage: float) -> None:
    """Of n and one more, at least the share lies within, wherever the one more stands."""
    factor = conformal_factor(torch.tensor(distances, dtype=torch.float64), coverage)
    inside = sum(one <= factor for one in distances)
    assert inside >= coverage * (len(distances) + 1) - 1e-9 or math.isinf(factor)


def test_the_loss_by_hand() -> None:
    """Mean 1 and deviation e: e * (1 + (3 - 1)² / (2 e²))."""
    output = torch.tensor([[1.0, 1.0]], requires_grad=True)
    loss = node_gaussian(output, torch.tensor([[3.0]]), step_queries=1)
    assert float(loss.detach()) == pytest.approx(math.e * (1 + 4 / (2 * math.e**2)))
    loss.backward()
    assert output.grad is not None
    # The weight, e, is no part of what is derived.
    expected = [math.e * (1 - 3) / math.e**2, math.e * (1 - 4 / math.e**2)]
    assert output.grad[0].tolist() == pytest.approx(expected)
    _, scale = number_and_scale(torch.tensor([[0.0, 99.0], [0.0, -99.0]]))
    assert scale.tolist() == pytest.approx([math.exp(3), math.exp(-5)])


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20), st.booleans())
def test_there_and_back(numbers: list[float], logarithm: bool) -> None:
    number = torch.tensor(numbers, dtype=torch.float64)
    scale = NumberScale.fit(number, logarithm=logarithm)
    torch.testing.assert_close(scale.given(scale.learned(number)), number, atol=1e-6, rtol=1e-6)
