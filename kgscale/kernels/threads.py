"""The one place where the threads of torch, of our kernels and of workers are counted."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

SLICES_PER_THREAD = 4
"""Enough that a thread held up by others leaves its share to the rest."""


class _Pool:
    """Threads in which torch runs serially and without gradients; started at the first use."""

    def __init__(self) -> None:
        self.size = 0
        self.executor: ThreadPoolExecutor | None = None
        self.lock = threading.Lock()
        self.inside = threading.local()

    def start(self, size: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None or self.size != size:
                if self.executor is not None:
                    self.executor.shutdown(wait=False)
                self.executor = ThreadPoolExecutor(size, thread_name_prefix="kgscale")
                self.size = size
                # All at once, because a worker's serial setting leaks into torch's default.
                barrier = threading.Barrier(size)
                for started in [self.executor.submit(self._enter, barrier) for _ in range(size)]:
                    started.result()
                torch.set_num_threads(size)
            return self.executor

    def _enter(self, barrier: threading.Barrier) -> None:
        torch.get_num_threads()  # or torch would take its default at its first operator here
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)  # kernels have their own gradients
        self.inside.worker = True
        barrier.wait()

    @property
    def entered(self) -> bool:
        return getattr(self.inside, "worker", False)

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]


_pool = _Pool()
_budget = 0
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)  # a fork copies no threads


def num_threads() -> int:
    """The cores that torch's operators and our kernels may use in this process."""
    return _budget or torch.get_num_threads()


def set_threads(number: int) -> None:
    """Let torch's operators and our kernels use ``number`` cores in this process."""
    global _budget
    if number < 1:
        raise ValueError(f"threads must be at least 1, got {number}")
    _budget = number
    torch.set_num_threads(number)


def run_slices(function: Callable[[int, int], object], total: int, *, grain: int = 1) -> None:
    """Call ``function(start, stop)`` for slices that cover ``range(total)``, one per thread.

    ``function`` must release the GIL and write where no other slice does. A slice is a multiple
    of ``grain`` long (the last may be shorter): work worth a thread, or a unit that must not be
    cut for the result to be independent of the number of threads.
    """
    units = -(-total // grain)
    parts = min(num_threads(), units)
    if parts <= 1 or _pool.entered:
        if total:
            function(0, total)
        return
    bounds = [min(total, units * part // parts * grain) for part in range(parts + 1)]
    executor = _pool.start(num_threads())
    waiting = [executor.submit(function, *bound) for bound in itertools.pairwise(bounds[1:])]
    try:
        function(bounds[0], bounds[1])
    finally:
        _wait(waiting)


def run_blocks(function: Callable[[int, int], object], total: int, *, size: int) -> None:
    """As ``run_slices``, in threads where torch runs serially, and in shorter slices.

    A matrix product rounds by its shape and threads. So ``function`` should work off its slice in
    blocks of ``size`` rows, which are the same however many slices there are.
    """
    units = -(-total // size)
    parts = min(SLICES_PER_THREAD * num_threads(), units)
    bounds = [min(total, units * part // max(parts, 1) * size) for part in range(parts + 1)]
    run_tasks(lambda bound: function(*bound), list(itertools.pairwise(bounds)))


def run_tasks(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]``, each in one thread with serial torch operators."""
    if _pool.entered:
        return [function(item) for item in items]
    executor = _pool.start(num_threads())
    return _wait([executor.submit(function, item) for item in items])


def _wait(waiting: list[Future[Any]]) -> list[Any]:
    """All results; the first failure is raised only when nothing runs any more."""
    try:
        return [future.result() for future in waiting]
    finally:
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()
