"""Probabilities from scores: laws of both maps, and the error by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgscale.errors import DataError
from kgscale.metrics.calibration import (
    FEW,
    Calibration,
    Isotonic,
    Platt,
    fitted,
    from_settings,
    log_odds,
    reliability,
    to_settings,
)

ANSWERS = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40)


def columns(answers: list[tuple[int, bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    score, right = zip(*answers, strict=True)
    return torch.tensor(score).float(), torch.tensor(right)


def drawn(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Answers that are right as often as twice their log odds say, less one."""
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(number, generator=generator)
    return score, torch.rand(number, generator=generator) < (2 * score - 1).sigmoid()


def test_the_error_by_hand() -> None:
    """Of 4 bins: two answers said to be 0.1 and 0.2 likely, of which one is right, and two of 0.9,
    both right: (2 * |0.15 - 0.5| + 2 * |0.9 - 1|) / 4."""
    said, right = torch.tensor([0.1, 0.2, 0.9, 0.9]), torch.tensor([True, False, True, True])
    found = reliability(said, right, bins=4)
    assert found.error == pytest.approx(0.225)
    assert [row["answers"] for row in found.rows()] == [2, 2]
    assert reliability(torch.ones(3), torch.ones(3, dtype=torch.bool)).error == 0
    assert reliability(torch.ones(3), torch.zeros(3, dtype=torch.bool)).error == 1
    assert reliability(torch.empty(0), torch.empty(0, dtype=torch.bool)).error == 0


def test_isotonic_by_hand() -> None:
    """Violators are pooled: right, wrong becomes a half twice; each step has half an answer of one
    more that is right."""
    found = Isotonic.fit(torch.arange(4.0), torch.tensor([False, True, False, True]))
    assert found(torch.arange(4.0)).tolist() == pytest.approx([0.25, 0.5, 0.5, 0.75])
    assert found(torch.tensor([-9.0, 0.5, 9.0])).tolist() == pytest.approx([0.25, 0.375, 0.75])


@given(ANSWERS)
def test_isotonic_is_monotone_and_nobody_is_certain(answers: list[tuple[int, bool]]) -> None:
    score, right = columns(answers)
    found = Isotonic.fit(score, right)(score)
    assert (found[score.argsort()].diff() >= 0).all()
    if right.any() and not right.all():
        assert found.min() > 0
        assert found.max() < 1


def pooled(pools: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Neighbours that descend become one, until none do: (value, weight, places)."""
    at = 0
    while at + 1 < len(pools):
        (low, first, wide), (high, second, wider) = pools[at : at + 2]
        # Equal ones stay apart, as they are of one value anyhow.
        if low <= high:
            at += 1
            continue
        mean = (low * first + high * second) / (first + second)
        pools[at : at + 2] = [(mean, first + second, wide + wider)]
        at = max(0, at - 1)
    return pools


@given(ANSWERS)
def test_isotonic_is_the_nearest_monotone_map(answers: list[tuple[int, bool]]) -> None:
    """Pooling by hand, one pair after the other."""
    score, right = columns(answers)
    base = float(right.double().mean())
    places = [right[score == place].double() for place in torch.unique(score)]
    steps = pooled([(float(own.mean()), float(len(own)), 1) for own in places])
    joined: list[tuple[float, float, int]] = []
    for value, weight, wide in steps:
        if joined and abs(joined[-1][0] - value) < 1e-12:
            joined[-1] = (value, joined[-1][1] + weight, joined[-1][2] + wide)
        else:
            joined.append((value, weight, wide))
    steps = pooled([((v * n + base) / (n + 1), n, wide) for v, n, wide in joined])
    slow = torch.tensor([value for value, _, wide in steps for _ in range(wide)])
    fast = Isotonic.fit(score, right)(torch.unique(score))
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=0)


@given(ANSWERS)
def test_no_other_line_of_log_odds_is_likelier(answers: list[tuple[int, bool]]) -> None:
    score, right = columns(answers)
    hits = int(right.sum())
    target = torch.where(right, (hits + 1) / (hits + 2), 1 / (len(score) - hits + 2)).double()

    def loss(slope: float, intercept: float) -> float:
        odds = slope * score.double() + intercept
        return float(torch.nn.functional.binary_cross_entropy_with_logits(odds, target))

    found = Platt.fit(score, right)
    assert found.slope >= 0
    best = loss(found.slope, found.intercept)
    for more in (0.01, 0.1):
        for slope, intercept in ((more, 0), (-more, 0), (0, more), (0, -more)):
            if found.slope + slope >= 0:
                assert best <= loss(found.slope + slope, found.intercept + intercept) + 1e-6


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_what_is_drawn_is_found(kind: type[Platt] | type[Isotonic]) -> None:
    calibration = kind.fit(*drawn(20_000))
    score, right = drawn(40_000)
    score, right = score[20_000:], right[20_000:]
    assert reliability(score.sigmoid(), right).error > 0.1
    assert reliability(calibration(score), right).error < 0.02
    middle = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(calibration(middle), (2 * middle - 1).sigmoid(), atol=0.05, rtol=0)


def test_few_answers_get_two_numbers() -> None:
    assert isinstance(fitted(*drawn(FEW), "auto"), Platt)
    assert isinstance(fitted(*drawn(4 * FEW), "auto"), Isotonic)
    assert isinstance(fitted(*drawn(FEW), "isotonic"), Isotonic)
    assert fitted(*drawn(FEW), "none") is None
    assert fitted(torch.ones(3), torch.ones(3, dtype=torch.bool), "platt") is None


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_written_and_read(kind: type[Calibration]) -> None:
    calibration = kind.fit(*drawn(500))
    assert from_settings(json.loads(json.dumps(to_settings(calibration)))) == calibration


@pytest.mark.parametrize(
    "other",
    [
        None,
        [],
        {"method": "platt", "slope": 1.0},
        {"method": "platt", "slope": -1.0, "intercept": 0.0},
        {"method": "platt", "slope": float("nan"), "intercept": 0.0},
        {"method": "platt", "slope": True, "intercept": 0.0},
        {"method": "isotonic", "knots": [], "values": []},
        {"method": "isotonic", "knots": [0.0, 0.0], "values": [0.1, 0.2]},
        {"method": "isotonic", "knots": [0.0, 1.0], "values": [0.2, 0.1]},
        {"method": "isotonic", "knots": [0.0, 1.0], "values": [0.5, 1.5]},
        {"method": "isotonic", "knots": [0.0, 1.0], "values": [0.5]},
        {"method": "isotonic", "knots": 3, "values": [0.5]},
        {"method": "isotonic", "knots": ["a"], "values": [0.5]},
        {"method": "other", "slope": 1.0, "intercept": 0.0},
    ],
)
def test_something_else_is_refused(other: Any) -> None:
    with pytest.raises(DataError, match="no map"):
        from_settings(other)


def test_log_odds_of_what_is_certain() -> None:
    found = log_odds(torch.tensor([0.0, 0.5, 1.0]))
    assert found.isfinite().all()
    assert found[1] == 0
