"""Charts: round numbers, and points that lie where they should."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kgscale.tasks.report.svg import (
    HEIGHT,
    POINTS,
    WIDTH,
    Frame,
    curve,
    reliability,
    thinned,
    ticks,
)

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
losses = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(numbers, numbers)
def test_round_numbers_enclose_a_range(one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert found[0] <= low + 1e-9
    assert found[-1] >= high - 1e-9
    assert 2 <= len(found) <= 7
    steps = {round(b - a, 6) for a, b in itertools.pairwise(found)}
    assert len(steps) == 1
    assert f"{steps.pop():e}"[0] in "125"


def test_ticks_by_hand() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(3.1, 4.9, 4) == [3.0, 3.5, 4.0, 4.5, 5.0]
    assert ticks(2.0, 2.0)[0] <= 1.9


def test_corners_by_hand() -> None:
    frame = Frame((0.0, 10.0), (0.0, 1.0))
    assert frame.place((0.0, 0.0)) == (52, HEIGHT - 40)
    assert frame.place((10.0, 1.0)) == (WIDTH - 14, 14)


@given(st.lists(st.tuples(st.integers(0, 99).map(float), losses), min_size=1, max_size=5))
@example([(0.0, 1e-13), (1.0, 2e-13)])
@example([(0.0, 0.1), (1.0, 0.10000000000000003)])
@example([(0.0, 5e-324), (1.0, 0.0)])
def test_losses_of_any_size_have_a_curve(points: list[tuple[float, float]]) -> None:
    found = ET.fromstring(str(curve(points, label="", across="")))
    places = [float(line.attrib["y1"]) for line in found.iter("line")]
    assert 2 <= len(set(places)) == len(places) <= 7
    (line,) = found.iter("polyline")
    heights = [float(pair.split(",")[1]) for pair in line.attrib["points"].split()]
    assert all(min(places) - 0.1 <= y <= max(places) + 0.1 for y in heights)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=50))
def test_a_curve_stays_in_its_picture(points: list[tuple[float, float]]) -> None:
    found = ET.fromstring(str(curve(sorted(points), label="<loss>", across="steps")))
    (line,) = found.iter("polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert len(places) == len(points)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert found.attrib["aria-label"].startswith("<loss>: ")


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3 * POINTS))
def test_thinning_keeps_the_ends_and_the_order(points: list[tuple[float, float]]) -> None:
    points = sorted(set(points))
    found = thinned(points)
    assert len(found) == min(len(points), POINTS)
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert found == sorted(set(found))


def test_a_reliability_diagram_by_hand() -> None:
    rows = [(0.0, 0.0, 100), (0.5, 1.0, 1)]
    found = ET.fromstring(str(reliability({"calibrated": rows, "as scored": rows[:1]})))
    dots = [dot for dot in found.iter("circle") if dot.attrib["class"] == "dot one"]
    assert [float(dot.attrib["cx"]) for dot in dots] == pytest.approx([52, 52 + 354 / 2])
    bars = [float(bar.attrib["height"]) for bar in found.iter("rect")]
    assert bars == pytest.approx([56, 56 * 0.6931 / 4.6151, 56], abs=0.06)
