"""Processor time and memory of a process with all that it starts."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Used:
    """What the children of this process took meanwhile."""

    peak: int = 0
    """Bytes: proportional set size, mapped files included."""
    cpu: float = 0.0
    """Processor seconds of those that have ended."""


@contextmanager
def children_watched(interval: float = 0.2) -> Iterator[Used]:
    used, over, before = Used(), threading.Event(), _cpu()

    def watch() -> None:
        while not over.wait(interval):
            used.peak = max(used.peak, sum(resident(child) for child in children(os.getpid())))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield used
    finally:
        over.set()
        thread.join()
        used.cpu = _cpu() - before


def _cpu() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def run_code(code: str, *arguments: object) -> str:
    """The last line that a program of its own process prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        said = ended.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"exit {ended.returncode} of {code.strip().splitlines()[-1]}: {said}")
    return ended.stdout.splitlines()[-1] if ended.stdout else ""


def resident(pid: int) -> int:
    """Proportional set size of a process, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def children(pid: int) -> list[int]:
    """All below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = task.read_text().split()
        except OSError:
            continue
        found += [one for child in map(int, direct) for one in (child, *children(child))]
    return found
