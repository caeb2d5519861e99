"""Induced subgraphs by a dictionary: the oracle of the tests."""

from __future__ import annotations


def induce(
    indptr: list[int], source: list[int], relation: list[int], entity: list[int], rows: int
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Row bounds, local source, relation and position of the edges."""
    local = {v: i for i, v in enumerate(entity)}
    bounds, edge = [0], list[int]()
    for v in entity[:rows]:
        edge += [e for e in range(indptr[v], indptr[v + 1]) if source[e] in local]
        bounds.append(len(edge))
    return bounds, [local[source[e]] for e in edge], [relation[e] for e in edge], edge
