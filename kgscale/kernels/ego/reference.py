"""Subgraphs one seed at a time: the oracle of the tests.

The score. A walk from the seed ends at each step with probability ``restart``, or goes on along an
in-edge of where it is, each as likely; without in-edges it stays. The chance that it ends at ``v``
is the personalised PageRank ``pi(v)`` of ``v``. Push (Andersen, Chung & Lang 2006) finds an
estimate ``p <= pi`` and a residual ``r``, mass that has yet to walk on, with
``pi(v) = p(v) + sum_u r(u) pi_u(v)`` where ``pi_u`` is ``u``'s own PageRank. It stops when ``r(u) <
tolerance * degree(u)`` everywhere (which is why a hub costs nothing before it matters), so that
``pi(v) - p(v) < tolerance * degree(v)`` in a graph with both directions of each edge. The
score is ``p + restart * r``, what one more push would leave at the entity: no more than ``pi``
either, and far better a choice than ``p``, which is 0 for the many entities never pushed.

Edges may have weights, by their relations and the seed: a walk then goes on along each in
proportion to its weight, and the bound on what an estimate misses no longer holds.

All entities at their threshold are pushed at once, round by round, and masses are whole numbers:
no order of entities or edges plays a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from kgscale.kernels.sample.reference import STEP, draw, mix

ONE = 1 << 52
"""The mass of a walk; a float64 holds every part of it exactly."""


class Rows:
    """In-edges of the entities without those that are hidden, as positions."""

    def __init__(self, indptr: list[int], source: list[int], hidden: set[int]) -> None:
        self.indptr, self.source, self.hidden = indptr, source, hidden

    def __getitem__(self, entity: int) -> list[int]:
        row = range(self.indptr[entity], self.indptr[entity + 1])
        return [e for e in row if e not in self.hidden]

    def draw(self, entity: int, count: int, base: int) -> list[int]:
        """``count`` of them, or all where there are fewer."""
        row = self[entity]
        return [row[i] for i in draw(mix(base ^ (entity * STEP)), len(row), min(count, len(row)))]


def rank(
    rows: Rows,
    start: int,
    size: int,
    *,
    weight: Callable[[int], int],
    led_to: Callable[[int], bool],
    reserved: int,
    restart: float,
    tolerance: float,
    longest: int,
    seed: int,
) -> list[tuple[int, float]]:
    """The entities of highest score; the seed comes first.

    Edges have a ``weight`` each. As many of the best that are ``led_to`` as are ``reserved`` come
    before others that score more.
    """
    estimate, residual, walk = Counter[int](), Counter({start: ONE}), 1 - restart
    limit = max(1, round(tolerance * ONE))
    longest = max(longest, ONE // limit)
    row = rows[start]
    if len(row) > longest:
        row = rows.draw(start, min(size, longest), mix(seed))
    edges = {start: row}
    while edges:
        taken = {v: residual.pop(v) for v in edges}
        for v, mass in taken.items():
            whole = sum(weight(e) for e in edges[v])
            share = int(mass * walk / whole) if whole else 0
            estimate[v] += mass - share * whole
            for e in edges[v] if share else ():
                residual[rows.source[e]] += share * weight(e)
        ready = [v for v, mass in residual.items() if mass >= limit * max(1, len(rows[v]))]
        edges = {v: rows[v] for v in ready}
    score = {v: estimate[v] + residual[v] - int(residual[v] * walk) for v in estimate | residual}
    others = sorted(score.keys() - {start}, key=lambda v: (-score[v], v))
    first = [v for v in others if led_to(v)][: min(reserved, size - 1)]
    last = [v for v in others if v not in first][: size - 1 - len(first)]
    return [(v, score[v] / ONE) for v in [start, *(v for v in others if v in {*first, *last})]]


def grow(
    rows: Rows, start: int, size: int, *, hops: int, fanout: int, seed: int
) -> list[tuple[int, float]]:
    """Breadth first; the draws are those of the neighbour sampler."""
    hop = {start: 0}
    for depth in range(hops):
        for v in [v for v, far in hop.items() if far == depth]:
            row = rows[v] if fanout < 0 else rows.draw(v, fanout, mix(seed + depth * STEP))
            for e in row:
                if len(hop) < size:
                    hop.setdefault(rows.source[e], depth + 1)
    return [(v, float(-far)) for v, far in hop.items()]


def ego_subgraphs(
    indptr: list[int],
    source: list[int],
    relation: list[int],
    seeds: list[int],
    *,
    size: int,
    method: str,
    restart: float,
    tolerance: float,
    longest: int,
    hops: int,
    fanout: int,
    seed: int,
    asked: list[int],
    weights: list[list[int]] | None,
    reserved: int,
    hidden: list[set[int]],
) -> tuple[list[int], list[int], list[int], list[int], list[int], list[int], list[float]]:
    """As the fields of ``EgoSample``; ``asked`` has a relation, ``weights`` a
    number for each relation, and ``hidden`` a set of edges, for each seed."""
    centre, other = list[tuple[int, int, float]](), list[tuple[int, int, float]]()
    all_rows = [Rows(indptr, source, edges) for edges in hidden]
    for owner, (rows, start) in enumerate(zip(all_rows, seeds, strict=True)):

        def weight(e: int, owner: int = owner) -> int:
            return 1 if weights is None else weights[owner][relation[e]]

        def led_to(v: int, rows: Rows = rows, owner: int = owner) -> bool:
            return any(relation[e] == asked[owner] for e in rows[v])

        if method == "ppr":
            found = rank(
                rows,
                start,
                size,
                weight=weight,
                led_to=led_to,
                reserved=reserved,
                restart=restart,
                tolerance=tolerance,
                longest=longest,
                seed=seed,
            )
        else:
            found = grow(rows, start, size, hops=hops, fanout=fanout, seed=seed)
        centre.append((owner, *found[0]))
        other += [(owner, v, score) for v, score in found[1:]]
    node = centre + other
    place = {(owner, v): i for i, (owner, v, _) in enumerate(node)}
    bounds, edge, local = [0], list[int](), list[int]()
    for owner, v, _ in node:
        inside = [e for e in all_rows[owner][v] if (owner, source[e]) in place]
        edge += inside
        local += [place[owner, source[e]] for e in inside]
        bounds.append(len(edge))
    kind = [relation[e] for e in edge]
    entity, score = [v for _, v, _ in node], [score for _, _, score in node]
    return entity, bounds, local, kind, edge, [owner for owner, _, _ in node], score
