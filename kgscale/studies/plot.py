"""A picture of a comparison: what is learned in time, and what a step costs as graphs grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kgscale.durable import whole_file
from kgscale.metrics import word
from kgscale.studies.compare import Outcome
from kgscale.tasks.schema import MIB

POINTS: Final = 200
MARKS: Final = "os^Dvp"


def draw(outcomes: Sequence[Outcome], file: Path) -> None:
    """Two panels: validation metric against minutes, bytes of a step against train triples."""
    # Late, since importing it takes a second.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    trained = [outcome for outcome in outcomes if outcome.records]
    for number, outcome in enumerate(trained):
        # A panel may lack one, and both should have the same colours.
        look = {"label": outcome.strategy, "color": f"C{number}"}
        mark = MARKS[number % len(MARKS)]
        _learning(left, outcome, look, mark)
        points = memory_points(outcome)
        at, used = [triples for triples, _ in points], [bytes_ / MIB for _, bytes_ in points]
        right.plot(at, used, marker=mark, **look)
    left.set_xlabel("minutes of training, validations included")
    left.set_ylabel(f"validation {word(trained[0].records[0].metric)}")
    left.set_title("what is learned")
    right.set_xlabel("train triples of the graph")
    right.set_ylabel("memory of a step, MiB")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_title("what a step costs")
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize=9)
    with whole_file(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def memory_points(outcome: Outcome) -> list[tuple[int, int]]:
    """Train triples of each graph that was measured, and bytes of a step on it."""
    measured = [outcome.cost, *outcome.sizes]
    return sorted((cost.triples, cost.memory) for cost in measured if cost is not None)


def _learning(panel: Any, outcome: Outcome, look: Mapping[str, str], mark: str) -> None:
    """The mean over seeds of the best so far, and its range; in the end, that of each seed's end.

    The curve goes on while all seeds do; what a seed finds in its last validation may come later.
    """
    curves = [record.curve for record in outcome.records if record.curve]
    if not curves:
        return
    first = max(curve[0][0] for curve in curves)
    last = min(curve[-1][0] for curve in curves)
    time = np.linspace(first, max(first, last), POINTS)
    best = np.stack([_best_so_far(curve, time) for curve in curves])
    panel.plot(time, best.mean(axis=0), **look)
    end = np.mean([curve[-1][0] for curve in curves])
    final = np.mean([max(value for _, value in curve) for curve in curves])
    panel.plot([end], [final], marker=mark, color=look["color"])
    low, high = best.min(axis=0), best.max(axis=0)
    panel.fill_between(time, low, high, alpha=0.15, color=look["color"], linewidth=0)


def _best_so_far(
    curve: Sequence[tuple[float, float]], time: NDArray[np.float64]
) -> NDArray[np.float64]:
    at, value = np.array(curve).T
    best = np.maximum.accumulate(value)
    place = np.searchsorted(at, time, side="right") - 1
    found: NDArray[np.float64] = best[place.clip(min=0)]
    return found
