"""Charts as SVG, in a page's own colours: numbers in, markup out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

WIDTH: Final = 420
HEIGHT: Final = 240
LEFT: Final = 52
RIGHT: Final = 14
TOP: Final = 14
BOTTOM: Final = 40
COUNTS: Final = 56
"""Height of the bars below a reliability diagram."""
POINTS: Final = 300
"""Of a curve; of more, an even choice with the first and the last."""
NOTHING: Final = 1e-300
"""Less is drawn as 0."""
Point = tuple[float, float]
Bin = tuple[float, float, int]
"""What was said, the share that was right, and of how many answers."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where numbers come to lie."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = HEIGHT

    def place(self, point: Point) -> Point:
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        width, height = WIDTH - LEFT - RIGHT, self.height - TOP - BOTTOM
        return LEFT + width * across, TOP + height * (1 - up)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that enclose a range, ``most`` and a few more at most: 1, 2 or 5 times a power
    of ten apart."""
    size = max(abs(low), abs(high))
    # What differs by rounding alone is one number.
    if size < NOTHING or high - low <= 1e-9 * size:
        room = 1.0 if size < NOTHING else 0.1 * size
        low, high = low - room, high + room
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 1 - math.floor(math.log10(step))
    return [round(n * step, digits) for n in range(first, last + 1)]


def thinned(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    if len(points) <= most:
        return list(points)
    return [points[round(n * (len(points) - 1) / (most - 1))] for n in range(most)]


def curve(points: Sequence[Point], *, label: str, across: str) -> Markup:
    """A line through points that are finite, at least one."""
    x = [point[0] for point in points]
    y = [point[1] for point in points]
    beside, below = ticks(min(y), max(y), 4), ticks(min(x), max(x))
    frame = Frame(_range(min(x), max(x)), (beside[0], beside[-1]))
    inside = [n for n in below if frame.x[0] <= n <= frame.x[1]]
    last = frame.place(points[-1])
    parts = [
        *_axes(frame, inside, beside, across),
        _line(frame, thinned(points), "one"),
        Markup('<circle class="dot one" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(*last),
    ]
    return _picture(parts, HEIGHT, f"{label}: {figure(y[0])} at first, {figure(y[-1])} at the end")


def reliability(curves: Mapping[str, Sequence[Bin]]) -> Markup:
    """The share of right answers against what was said, and how many answers there are.

    Args:
        curves: of at most two ways to say it.
    """
    frame = Frame((0.0, 1.0), (0.0, 1.0), HEIGHT + 60)
    shares = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    parts = [*_axes(frame, shares, shares, "")]
    parts.append(_line(frame, [(0.0, 0.0), (1.0, 1.0)], "ideal"))
    most = max((count for rows in curves.values() for _, _, count in rows), default=1)
    for look, rows in zip(("one", "two"), curves.values(), strict=False):
        parts.append(_line(frame, [(said, right) for said, right, _ in rows], look))
        for said, right, count in rows:
            x, y = frame.place((said, right))
            dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>')
            parts.append(dot.format(look, x, y))
            size = COUNTS * math.log1p(count) / math.log1p(most)
            shift = -4 if look == "one" else 0.5
            bar = Markup('<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="3.5" height="{:.1f}"/>')
            base = frame.height + COUNTS - 8
            parts.append(bar.format(look, x + shift, base - size, size))
    middle, foot = (LEFT + WIDTH - RIGHT) / 2, frame.height + COUNTS
    parts.append(_text(middle, foot + 10.0, "probability; bars: how many answers", "middle"))
    return _picture(parts, frame.height + COUNTS + 16, "share of right answers by probability")


def figure(value: float) -> str:
    return f"{value:.4g}"


def _range(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _axes(
    frame: Frame, across: Sequence[float], up: Sequence[float], label: str
) -> Iterator[Markup]:
    bottom = frame.place((frame.x[0], frame.y[0]))[1]
    for value in up:
        x, y = frame.place((frame.x[0], value))
        grid = Markup('<line class="grid" x1="{:.1f}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>')
        yield grid.format(x, WIDTH - RIGHT, y, y)
        yield _text(x - 7, y + 4, f"{value:g}", "end")
    for value in across:
        yield _text(frame.place((value, frame.y[0]))[0], bottom + 18, f"{value:,g}", "middle")
    if label:
        yield _text((LEFT + WIDTH - RIGHT) / 2, bottom + 35, label, "middle")


def _line(frame: Frame, points: Sequence[Point], look: str) -> Markup:
    path = " ".join("{:.1f},{:.1f}".format(*frame.place(point)) for point in points)
    return Markup('<polyline class="line {}" points="{}"/>').format(look, path)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _picture(parts: Sequence[Markup], height: int, told: str) -> Markup:
    """``told`` is for whoever can't see it."""
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(WIDTH, height, told) + Markup("").join(parts) + Markup("</svg>")
