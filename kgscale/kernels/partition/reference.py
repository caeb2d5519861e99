"""Streaming partitioning one node at a time, all parts compared: the oracle of the tests.

A node goes to the part of the highest score that has room; of equals to the smaller part, then to
the first. Nodes come in classes of degree, hubs first: ``2**k .. 2**(k + 1) - 1`` is one class,
taken in the order of ids from ``start`` on and around. Scores are integers, so that no rounding of
a compiler decides.
"""

from __future__ import annotations

import math
from collections import Counter

RESTREAMS = 3
"""Passes that fill empty parts again; later ones move one node at a time among full parts."""
ONE = 1 << 20
"""An edge, in the fixed-point scores of Fennel."""


def capacity(nodes: int, parts: int, balance: float) -> int:
    """Nodes that a part may hold; equal sizes always fit, whatever the rounding."""
    return min(max(math.ceil(balance * nodes / parts), -(-nodes // parts)), nodes)


def fennel_weight(nodes: int, edges: int, parts: int) -> float:
    """What the root of a part's size costs: ``gamma alpha``, where ``gamma = 3 / 2``."""
    return ONE * 1.5 * math.sqrt(parts) * edges / (nodes * math.sqrt(nodes))


def score(count: int, size: int, room: int, weight: float | None) -> int:
    """Of a part with ``count`` neighbours among ``size`` nodes; LDG's where there is no weight."""
    if weight is None:
        return count * (room - size)
    return count * ONE - int(weight * math.sqrt(size))


def stream_partition(
    indptr: list[int],
    source: list[int],
    *,
    parts: int,
    room: int,
    weight: float | None,
    passes: int,
    start: int,
) -> list[int]:
    nodes = len(indptr) - 1
    degree = [indptr[v + 1] - indptr[v] for v in range(nodes)]
    around = [(start + step) % nodes for step in range(nodes)]
    order = sorted(around, key=lambda v: degree[v].bit_length(), reverse=True)
    part, size = [-1] * nodes, [0] * parts
    for number in range(passes):
        if number < RESTREAMS:
            size = [0] * parts
        for v in order:
            if number >= RESTREAMS:
                size[part[v]] -= 1
            count = Counter(part[u] for u in source[indptr[v] : indptr[v + 1]] if u != v)
            open_ = [p for p in range(parts) if size[p] < room]
            key = {p: (score(count[p], size[p], room, weight), -size[p], -p) for p in open_}
            part[v] = max(open_, key=key.__getitem__)
            size[part[v]] += 1
    return part


def merge_edges(indptr: list[int], source: list[int]) -> tuple[list[int], list[int], list[int]]:
    bounds, neighbor, count = [0], list[int](), list[int]()
    for v in range(len(indptr) - 1):
        row = Counter(u for u in source[indptr[v] : indptr[v + 1]] if u != v)
        neighbor += sorted(row)
        count += [row[u] for u in sorted(row)]
        bounds.append(len(neighbor))
    return bounds, neighbor, count


def count_inside(
    indptr: list[int], source: list[int], relation: list[int], part: list[int], num_relations: int
) -> tuple[list[int], list[int]]:
    inside, edges = Counter[int](), Counter[int]()
    for v in range(len(indptr) - 1):
        for e in range(indptr[v], indptr[v + 1]):
            edges[relation[e]] += 1
            inside[relation[e]] += part[v] == part[source[e]]
    relations = range(num_relations)
    return [inside[r] for r in relations], [edges[r] for r in relations]


def group(part: list[int], parts: int) -> tuple[list[int], list[int]]:
    members = [[v for v, own in enumerate(part) if own == p] for p in range(parts)]
    bounds = [sum(map(len, members[:p])) for p in range(parts + 1)]
    return bounds, [v for row in members for v in row]
