"""What a run costs: processor time and memory of the whole process tree."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch


def cpu_seconds() -> float:
    """Processor time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def memory_bytes() -> int:
    """Proportional share (PSS) of this process and its children; where the system has no such
    figure, the peak resident size of this process."""
    own = Path("/proc") / str(os.getpid())
    if (own / "smaps_rollup").exists():
        return sum(_pss(process) for process in _tree(own))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _pss(process: Path) -> int:
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended meanwhile, or is not ours to look at
        pass
    return 0


def _tree(process: Path) -> list[Path]:
    found = [process]
    for children in process.glob("task/*/children"):
        try:
            ids = children.read_text().split()
        except OSError:
            continue
        for child in ids:
            found += _tree(process.parent / child)
    return found


class Usage:
    """Measures from entering to leaving; ``mark`` closes a phase.

    Memory is sampled every ``interval`` seconds by a thread.

    Args:
        already: what :meth:`so_far` told of the part before, of a run that goes on.
    """

    def __init__(self, *, interval: float = 1.0, already: Mapping[str, Any] | None = None) -> None:
        self.interval = interval
        before: Mapping[str, Any] = {"seconds": {}, "peak": 0} if already is None else already
        self.peak: int = before["peak"]
        self.seconds: dict[str, float] = dict(before["seconds"])
        self._stop = threading.Event()

    def __enter__(self) -> Usage:
        self._last, self._last_cpu = time.monotonic(), cpu_seconds()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="kgscale-usage")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            self.peak = max(self.peak, memory_bytes())

    def mark(self, phase: str) -> None:
        """Add the seconds since the last mark to the phase (and its processor time)."""
        self.seconds = self._with(phase)
        self._last, self._last_cpu = time.monotonic(), cpu_seconds()

    def _with(self, phase: str) -> dict[str, float]:
        wall, cpu = time.monotonic() - self._last, cpu_seconds() - self._last_cpu
        passed = {phase: wall, f"{phase}_cpu": cpu, "total": wall, "cpu": cpu}
        return {**self.seconds, **{k: self.seconds.get(k, 0.0) + v for k, v in passed.items()}}

    def so_far(self, phase: str) -> dict[str, Any]:
        """For the run that goes on from here, in the middle of a phase."""
        return {"seconds": self._with(phase), "peak": self.peak}

    def report(self) -> dict[str, Any]:
        """``seconds`` and ``peak_memory_bytes`` as ``results.json`` has them."""
        self.peak = max(self.peak, memory_bytes())
        seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        report: dict[str, Any] = {"seconds": seconds, "peak_memory_bytes": self.peak}
        if torch.cuda.is_available():
            report["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated()
        return report
