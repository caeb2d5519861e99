"""How long it may go on, worked out by hand."""

from __future__ import annotations

import pytest

from kgscale.tasks import show
from kgscale.training.callbacks import ShowProgress
from kgscale.training.stopwatch import Stopwatch


class Clock:
    """Says what it is told."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def watch(seconds: float) -> Stopwatch:
    clock = Clock(0.0)
    started = Stopwatch(clock)
    started.start()
    clock.seconds = seconds
    return started


@pytest.mark.parametrize(
    ("passed", "over", "limit", "words"),
    [
        (30.0, 0.25, None, "at most 90 s to go"),
        (600.0, 0.5, None, "at most 10 min to go"),
        (3600.0, 0.25, None, "at most 3 h 0 min to go"),
        (7200.0, 0.25, None, "at most 6 h 0 min to go"),
        # Half of the limit's processor time in 60 s: the other half takes as long.
        (60.0, 0.01, (200.0, 100.0), "at most 60 s to go"),
        # Epochs are over sooner than the time that is given them.
        (60.0, 0.75, (2000.0, 100.0), "at most 20 s to go"),
        (60.0, 0.5, (50.0, 80.0), "at most 0 s to go"),
    ],
)
def test_what_is_left(
    passed: float, over: float, limit: tuple[float, float] | None, words: str
) -> None:
    told = None if limit is None else (limit[0], watch(limit[1]))
    progress = ShowProgress(show.console(quiet=True), watch(passed), told)
    assert progress._to_go(over) == f", {words}"
