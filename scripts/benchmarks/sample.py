"""Neighbour sampling against the random reads that no sampler can do without.

Graph: 1M entities, 20M in-edges, both ends drawn from a power law (exponent 2.5), 474 relations.
Limit: a loop of two independent, uniformly random reads of an int64 array of 20M per edge that
the sampler returns. A batch is 1,024 seeds with fan-out 15-10-5; the time includes relabelling.
"""

from __future__ import annotations

import statistics
import threading
import time
import typing
from collections.abc import Callable, Iterator

import numpy as np
import torch

from kgscale.kernels.compile import compiled
from kgscale.kernels.sample import Workspace, sample_neighbors

NUM_ENTITIES, NUM_EDGES, NUM_RELATIONS = 1_000_000, 20_000_000, 474
FANOUT, BATCH = (15, 10, 5), 1024


def run(*, quick: bool = False) -> list[dict[str, object]]:
    scale = 10 if quick else 1
    graph = power_law(NUM_ENTITIES // scale, NUM_EDGES // scale, np.random.default_rng(0))
    table = np.random.default_rng(1).integers(0, 1 << 40, len(graph[1]))
    repeats = 4 if quick else 10
    ours, limit = {1: list[float](), 2: list[float]()}, {1: list[float](), 2: list[float]()}
    walks = [walk(graph, thread) for thread in range(2)]
    edges = [next(walks[thread]) for thread in range(2) for _ in range(3)][-1]
    random_reads(table, 1000, 1)
    for repeat in range(repeats):
        for threads in (1, 2):
            sampled = [0] * threads
            seconds = timed([sampler(walks[t], sampled, t) for t in range(threads)])
            ours[threads].append(sum(sampled) / seconds)
            seconds = timed([reader(table, 4 * edges, repeat + t) for t in range(threads)])
            limit[threads].append(threads * 4 * edges / seconds)
    rate = {
        name: {t: statistics.median(r) for t, r in found.items()}
        for name, found in (("ours", ours), ("limit", limit))
    }
    gain = {name: found[2] / found[1] for name, found in rate.items()}
    share = [o / r for o, r in zip(ours[1], limit[1], strict=True)]
    return [
        {
            "work": "sample",
            "ours": rate["ours"][1],
            "peer": "two random reads an edge",
            "theirs": rate["limit"][1],
            "ratio": statistics.median(share),
            "unit": "edges/s",
        },
        {
            "work": "sample_threads",
            "ours": gain["ours"],
            "peer": "the reads' gain from two threads",
            "theirs": gain["limit"],
            "ratio": gain["ours"] / gain["limit"],
            "unit": "times one thread",
        },
    ]


Graph = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def power_law(entities: int, edges: int, rng: np.random.Generator) -> Graph:
    """Entity ``i`` of a shuffled order is drawn with weight ``(i + 1) ** (-2 / 3)``."""
    place = rng.permutation(entities)
    target, source = (
        place[np.minimum((entities * rng.random(edges) ** 3).astype(np.int64), entities - 1)]
        for _ in range(2)
    )
    relation = rng.integers(0, NUM_RELATIONS, edges)
    key = np.sort((target * 1024 + relation) * entities + source)
    target, rest = np.divmod(key, 1024 * entities)
    indptr = np.searchsorted(target, np.arange(entities + 1)).astype(np.int32)
    relation, source = np.divmod(rest, entities)
    return (
        torch.from_numpy(indptr),
        torch.from_numpy(source.astype(np.int32)),
        torch.from_numpy(relation.astype(np.int16)),
    )


def walk(graph: Graph, thread: int) -> Iterator[int]:
    """Sample one batch after another; yields the number of edges."""
    workspace, seed = Workspace(), 0
    generator = torch.Generator().manual_seed(thread)
    order = torch.randperm(graph[0].shape[0] - 1, generator=generator)
    while True:
        for seeds in order.split(BATCH):
            seed += 1
            sample = sample_neighbors(*graph, seeds, FANOUT, seed=seed, workspace=workspace)
            yield sample.source.shape[0]


def sampler(batches: Iterator[int], sampled: list[int], thread: int) -> Callable[[], object]:
    def work() -> None:
        for _ in range(4):
            sampled[thread] += next(batches)

    return work


def reader(table: np.ndarray, edges: int, seed: int) -> Callable[[], object]:
    return lambda: random_reads(table, edges, seed)


@compiled
@typing.no_type_check
def random_reads(table, edges, seed):
    total = 0
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    size = np.uint64(table.shape[0])
    for _ in range(edges):
        # Both positions from one number of a linear congruential generator, as cheap as it gets.
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        total += table[((state >> np.uint64(32)) * size) >> np.uint64(32)]
        mixed = (state ^ (state >> np.uint64(29))) & np.uint64(0xFFFFFFFF)
        total += table[(mixed * size) >> np.uint64(32)]
    return total


def timed(works: list[Callable[[], object]]) -> float:
    """Seconds until all are done, each in its own thread (the only one in this thread)."""
    threads = [threading.Thread(target=work) for work in works[1:]]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    works[0]()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start
