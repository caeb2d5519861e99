"""Propagation one edge at a time: the oracle of the tests."""

from __future__ import annotations

from kgscale.kernels.sample.reference import mix

Matrix = list[list[float]]


def fold_of(triple: int, folds: int, seed: int) -> int:
    """Which of several nearly equal folds a triple is in: a hash of its id."""
    return (mix(triple ^ mix(seed)) >> 1) % folds


def propagate(
    x: Matrix,
    first: int,
    rows: list[list[tuple[int, int, int]]],
    relations: set[int],
    folds: int,
    hidden: int,
    seed: int,
    scale: list[float],
    times: list[list[int]],
    own: Matrix,
) -> tuple[Matrix, list[int]]:
    """``rows[i]`` holds the (source, relation, triple) of row ``i``'s in-edges."""
    total = [[0.0] * len(x[0]) for _ in rows]
    count = [0] * len(rows)
    for i, row in enumerate(rows):
        for (source, relation, triple), back in zip(row, times[i], strict=True):
            seen = not folds or fold_of(triple, folds, seed) != hidden
            if relation in relations and 0 <= source - first < len(x) and seen:
                count[i] += 1
                for c, value in enumerate(x[source - first]):
                    total[i][c] += scale[source - first] * (value - back * own[i][c])
    return total, count
