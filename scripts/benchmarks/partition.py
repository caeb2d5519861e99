"""Streaming and random parts against METIS: edges that stay inside, seconds, memory.

Graph: 1M nodes, 10M edges, 64 parts. A node's weight follows a power law (exponent 2.5); it is in
one of 2,000 communities whose sizes follow another. One end of an edge is drawn by weight, the
other likewise, with probability 0.7 from the same community; ids are shuffled. Each method runs in
a process of its own on memory-mapped arrays, after a warm-up on a small graph. Memory is the growth
of anonymous memory, so pages of the mapped graph don't count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kgscale.graph.metis import metis_bytes

NODES, EDGES, PARTS = 1_000_000, 10_000_000, 64
INSIDE = 0.7
METHODS = ("metis", "ldg", "fennel", "random")
CODE = """
import json, sys, time
from pathlib import Path
import numpy as np, torch
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.partition import cut, edges_inside
def measure(directory, parts):
    graph = Adjacency.open(Path(directory), "train", 1)
    part = cut(graph, method, parts=parts, seed=0, balance=1.05, passes=20)
    return time.perf_counter(), edges_inside(graph, part).total(), int(part.bincount().max())
warm, directory, method, parts = sys.argv[1:]
measure(warm, 10)
lines = Path("/proc/self/status").read_text().splitlines()
before = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
print("ready", flush=True)
start = time.perf_counter()
stop, inside, largest = measure(directory, int(parts))
print(json.dumps([stop - start, inside, before, largest]))
"""


class Outcome(NamedTuple):
    inside: float
    seconds: float
    memory: int
    largest: int


def run(*, quick: bool = False) -> list[dict[str, object]]:
    scale = 20 if quick else 1
    with tempfile.TemporaryDirectory(prefix="kgscale-partition-") as directory:
        warm, path = Path(directory) / "warm", Path(directory) / "graph"
        write_graph(warm, 1000, 10_000)
        write_graph(path, NODES // scale, EDGES // scale)
        found = {method: measure(method, warm, path) for method in METHODS}
    rows = []
    for method in METHODS[1:]:
        for field, unit in (("inside", "share"), ("seconds", "s"), ("memory", "bytes")):
            ours, theirs = (float(getattr(found[one], field)) for one in (method, "metis"))
            rows.append(
                {
                    "work": f"partition_{method}_{field}",
                    "ours": ours,
                    "peer": "METIS",
                    "theirs": theirs,
                    "ratio": ours / theirs if field == "inside" else theirs / max(ours, 1e-9),
                    "unit": unit,
                }
            )
    room, used = metis_bytes(NODES // scale, 2 * EDGES // scale), found["metis"].memory
    rows.append(
        {
            "work": "partition_metis_estimate",
            "ours": float(room),
            "peer": "what METIS took",
            "theirs": float(used),
            "ratio": room / used,
            "unit": "bytes",
        }
    )
    return rows


def write_graph(directory: Path, nodes: int, edges: int) -> None:
    """The adjacency that a store would hold, of one relation."""
    rng = np.random.default_rng(0)
    size = np.arange(1, max(nodes // 500, 4) + 1) ** -0.5
    bounds = np.round(np.cumsum([0, *size]) / size.sum() * nodes).astype(np.int64)
    community = np.repeat(np.arange(len(size)), np.diff(bounds))
    weight = np.concatenate([[0], np.cumsum((rng.permutation(nodes) + 1) ** (-2 / 3))])

    def draw(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        at = weight[low] + rng.random(edges) * (weight[high] - weight[low])
        return np.minimum(np.searchsorted(weight, at, side="right") - 1, nodes - 1)

    everywhere = np.zeros(edges, np.int64), np.full(edges, nodes)
    head = draw(*everywhere)
    home = rng.random(edges) < INSIDE
    own = bounds[community[head]], bounds[community[head] + 1]
    tail = draw(*(np.where(home, *ends) for ends in zip(own, everywhere, strict=True)))
    place = rng.permutation(nodes)
    pair = place[np.stack([head, tail])[:, head != tail]]
    target, source = np.divmod(np.sort((pair * nodes + pair[::-1]).ravel()), nodes)
    directory.mkdir()
    arrays = {
        "indptr": np.searchsorted(target, np.arange(nodes + 1)).astype(np.int32),
        "source": source.astype(np.int32),
        # One direction of each edge counts: its relation is that of the data.
        "relation": (source > target).astype(np.int16),
        "triple": np.zeros(len(source), np.int32),
    }
    for field, values in arrays.items():
        np.save(directory / f"train_{field}.npy", values, allow_pickle=False)


def measure(method: str, warm: Path, path: Path) -> Outcome:
    command = [sys.executable, "-c", CODE, str(warm), str(path), method, str(PARTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.02)
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{method}: exit {process.returncode}")
    seconds, inside, before, largest = json.loads(output)
    return Outcome(inside, seconds, max(peak - before, 0), largest)


def anonymous(pid: int) -> int:
    """Bytes of memory that no file backs."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
