"""Neighbour sampling one entity at a time: the oracle of the tests.

The draw. A row of ``degree`` edges from which ``count`` are drawn has a key, mixed from the seed,
the hop and the entity; its ``i``-th random number is ``mix(key + i * STEP)``. Floyd's algorithm
(Bentley & Floyd 1987) turns ``count`` such numbers into a uniform subset, kept ascending. So an
entity's draw depends on nothing else: not on the batch, the order, or the threads.
"""

from __future__ import annotations

from itertools import groupby

BITS = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, as in SplitMix64
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # SplitMix64's (Steele et al. 2014)


def mix(z: int) -> int:
    z &= BITS
    z = (z ^ (z >> 30)) * FIRST & BITS
    z = (z ^ (z >> 27)) * SECOND & BITS
    return z ^ (z >> 31)


def below(bits: int, bound: int) -> int:
    """A number in ``range(bound)``, off uniform by less than ``2**-16`` of its probability."""
    return (bits >> 24) * bound >> 40 if bound < 1 << 24 else (bits >> 1) % bound


def draw(key: int, degree: int, count: int) -> list[int]:
    chosen: set[int] = set()
    for i in range(count):
        last = degree - count + i
        pick = below(mix(key + i * STEP), last + 1)
        chosen.add(last if pick in chosen else pick)
    return sorted(chosen)


def sample_row(
    relation: list[int], entity: int, fanout: int, base: int, per_relation: bool
) -> list[int]:
    """Positions in the row; ``base`` is ``mix(seed + hop * STEP)``."""
    key = mix(base ^ (entity * STEP))
    if not per_relation:
        degree = len(relation)
        return draw(key, degree, degree if fanout < 0 else min(degree, fanout))
    positions: list[int] = []
    for r, run in groupby(range(len(relation)), key=relation.__getitem__):
        members = list(run)
        count = len(members) if fanout < 0 else min(len(members), fanout)
        positions += [members[i] for i in draw(mix(key + (r + 1) * STEP), len(members), count)]
    return positions


def sample_neighbors(
    indptr: list[int],
    source: list[int],
    relation: list[int],
    seeds: list[int],
    fanout: list[int],
    *,
    seed: int,
    per_relation: bool = False,
) -> tuple[list[int], list[int], list[int], list[int], list[int], list[int], list[int]]:
    """Entities, row bounds, local source, relation and position of edges, hop sizes and edges."""
    entity, local = list(seeds), {v: i for i, v in enumerate(seeds)}
    bounds, edge = [0], list[int]()
    hop_size, hop_edges = [len(seeds)], list[int]()
    for hop, width in enumerate(fanout):
        base = mix(seed + hop * STEP)
        for v in entity[hop_size[-2] if hop else 0 : hop_size[-1]]:
            start, stop = indptr[v], indptr[v + 1]
            row = sample_row(relation[start:stop], v, width, base, per_relation)
            edge += [start + position for position in row]
            bounds.append(len(edge))
        for e in edge[hop_edges[-1] if hop else 0 :]:
            if source[e] not in local:
                local[source[e]] = len(entity)
                entity.append(source[e])
        hop_size.append(len(entity))
        hop_edges.append(len(edge))
    sources = [local[source[e]] for e in edge]
    return entity, bounds, sources, [relation[e] for e in edge], edge, hop_size, hop_edges
