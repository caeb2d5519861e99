"""The order by hops and the edges of each step, in plain Python."""

from __future__ import annotations

from kgscale.kernels.ego import EgoSample

Edge = tuple[int, int, int]


def reach(
    sample: EgoSample, *, seeds: int, steps: int, relations: int
) -> tuple[dict[int, int], list[dict[int, list[Edge]]]]:
    """The hops of every entity reached, and for each step the edges into each row.

    An edge is (source, ``owner * relations + relation``, target), all in ``sample``'s numbers.
    """
    into: dict[int, list[Edge]] = {}
    bounds = sample.indptr.tolist()
    for row in range(len(bounds) - 1):
        owner = int(sample.owner[row])
        into[row] = [
            (int(sample.source[e]), owner * relations + int(sample.relation[e]), row)
            for e in range(bounds[row], bounds[row + 1])
        ]
    hop = dict.fromkeys(range(seeds), 0)
    found = []
    for step in range(steps):
        edges = {
            row: kept
            for row, given in into.items()
            if (kept := [edge for edge in given if hop.get(edge[0], steps) <= step])
        }
        found.append(edges)
        for row in edges:
            hop.setdefault(row, step + 1)
    return hop, found
