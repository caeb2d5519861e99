"""Seconds of training, over all the times that it was begun."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stopwatch:
    """Counts from :meth:`start` on by ``clock``, beginning with what earlier parts took."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, already: float = 0.0
    ) -> None:
        self.clock, self._already = clock, already
        self._begin: float | None = None

    def start(self) -> None:
        if self._begin is None:
            self._begin = self.clock()

    @property
    def seconds(self) -> float:
        return self._already + (0.0 if self._begin is None else self.clock() - self._begin)
