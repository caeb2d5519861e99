"""METIS (Karypis & Kumar 1998): mostly the best cuts, for several copies of the graph in memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pymetis
import torch
from jaxtyping import Int32
from torch import Tensor

from kgscale.errors import ResourceError
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.partition import merge_edges

Part = Int32[Tensor, " entity"]

MAX_SEED = (1 << 31) - 2
UNLIMITED = 1 << 62


def metis_bytes(num_entities: int, num_edges: int) -> int:
    """An upper estimate of the memory that ``metis`` takes for as many edges in the adjacency.

    Measured is the peak of resident memory above the graph's, for 0.1M to 1M entities of degree 2
    to 20. An edge of the merged adjacency took METIS 80 to 112 bytes where there are communities;
    on random graphs, which coarsen badly, 95 with 0.1M entities, 112 with 0.3M and 137 with 1M:
    the levels add up. Our copy of the graph takes 16 more.
    """
    return 180 * num_edges + 100 * num_entities


def available_bytes() -> int:
    """Memory that can still be taken: the machine's, and our control group's where it has one."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: what there is in all
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = next(line for line in lines if line.startswith("MemAvailable:"))
    return min(int(found.split()[1]) * 1024, _group_bytes(Path("/sys/fs/cgroup")))


def _group_bytes(group: Path) -> int:
    """What a control group (version 2) leaves; cached files give way."""
    try:
        limit, used = (
            (group / f"memory.{name}").read_text().strip() for name in ("max", "current")
        )
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:  # there is none, or one of version 1
        return UNLIMITED
    if limit == "max":
        return UNLIMITED
    return max(int(limit) - int(used) + int(stat["inactive_file"]), 0)


def fits_metis(adjacency: Adjacency) -> bool:
    return _needed(adjacency) <= available_bytes()


def metis(adjacency: Adjacency, *, parts: int, balance: float, seed: int) -> Part:
    """Cut the simple undirected graph so that as few edges as possible join two parts.

    Several edges between two entities count as many times. Deterministic in ``seed`` for one
    build of METIS; it draws from C's ``rand``, whatever else used that before. Parts keep
    ``balance`` unless they hold but a handful of entities; then some may be empty.
    """
    needed, free = _needed(adjacency), available_bytes()
    if needed > free:
        raise ResourceError(
            f"strategy.method=metis would take about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB"
            " are free: set strategy.method=ldg, which streams the edges from disk"
        )
    indptr, neighbor, count = (
        tensor.numpy() for tensor in merge_edges(adjacency.indptr, adjacency.source)
    )
    options = pymetis.Options(
        # srand(0) is srand(1), and -1 is METIS' own choice.
        seed=1 + seed % MAX_SEED,
        ufactor=max(round((balance - 1) * 1000), 1),
    )
    graph = pymetis.CSRAdjacency(indptr, neighbor)
    try:
        found = pymetis.part_graph(parts, graph, eweights=count, options=options)
    except (MemoryError, RuntimeError) as error:
        raise ResourceError(
            f"METIS failed ({error}): free memory, or set strategy.method=ldg"
        ) from error
    return torch.from_numpy(np.asarray(found.vertex_part, dtype=np.int32))


def _needed(adjacency: Adjacency) -> int:
    return metis_bytes(len(adjacency.indptr) - 1, len(adjacency.source))
