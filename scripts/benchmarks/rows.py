"""An optimiser step on 4,096 random rows of 100 numbers, as one batch touches them.

``rows``: row-wise Adagrad on a table of 1e5 rows against the same on 1e7 (8 GB with its state;
fewer rows where memory is short). Every page has been written before, every step draws new ids,
and 64 MiB are swept through the caches before each step: the small table must not gain by staying
there. ``rows_dense``: row-wise Adam against torch's Adam with a dense gradient, 1e5 rows.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from kgscale.kernels.rows import rowwise_adagrad_, rowwise_adam_

DIM, TOUCHED, SMALL, LARGE = 100, 4096, 100_000, 10_000_000
BYTES_PER_ROW = 2 * 4 * DIM


def run(*, quick: bool = False) -> list[dict[str, object]]:
    large = min(1_000_000 if quick else LARGE, free_bytes() // 2 // BYTES_PER_ROW)
    tables = {rows: torch.ones(2, rows, DIM) for rows in (SMALL, large)}
    works = [adagrad(tables[rows]) for rows in (SMALL, large)]
    small, big = medians(works, 20 if quick else 100)
    del tables, works
    ours, dense = medians([adam_rows(), adam_dense()], 5 if quick else 20)
    return [
        {
            "work": "rows",
            "ours": big,
            "peer": f"its time on 1e5 rows (ours: {large:.0e})",
            "theirs": small,
            "ratio": small / big,
            "unit": "s",
        },
        {
            "work": "rows_dense",
            "ours": ours,
            "peer": "torch's dense Adam, 1e5 rows",
            "theirs": dense,
            "ratio": dense / ours,
            "unit": "s",
        },
    ]


def adagrad(table: Tensor) -> Callable[[], float]:
    weight, state = table

    def step() -> float:
        ids, grad = touched(weight.shape[0])
        return timed(lambda: rowwise_adagrad_(weight, state, ids, grad, lr=0.1, eps=1e-10))

    return step


def adam_rows() -> Callable[[], float]:
    weight, first, second = torch.ones(3, SMALL, DIM)
    count = torch.zeros(SMALL, dtype=torch.int32)
    settings = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}

    def step() -> float:
        ids, grad = touched(SMALL)
        return timed(lambda: rowwise_adam_(weight, first, second, count, ids, grad, **settings))

    return step


def adam_dense() -> Callable[[], float]:
    weight = torch.ones(SMALL, DIM, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    weight.grad = torch.zeros_like(weight)

    def step() -> float:
        ids, grad = touched(SMALL)
        weight.grad = torch.zeros_like(weight).index_copy_(0, ids, grad)
        return timed(optimizer.step)

    return step


def touched(rows: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(rows, (2 * TOUCHED,)).unique()
    return ids[torch.randperm(len(ids))[:TOUCHED]], torch.randn(TOUCHED, DIM)


def timed(step: Callable[[], object]) -> float:
    torch.ones(1 << 24).sum()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def medians(steps: list[Callable[[], float]], repeats: int) -> list[float]:
    """Median seconds of each, in turn, after three rounds to warm up."""
    rounds = [[step() for step in steps] for _ in range(repeats + 3)]
    return [statistics.median(seconds) for seconds in zip(*rounds[3:], strict=True)]


def free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
