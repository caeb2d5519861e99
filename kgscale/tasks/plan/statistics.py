"""What a plan knows of a graph: how many entities have which degree, and how questions repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kgscale.graph.adjacency import Adjacency

Bins: TypeAlias = NDArray[np.float64]
"""A number for each bin of entities."""

EXACT: Final = 64
"""Degrees below have a bin each; beyond, an octave has ``PER_OCTAVE``."""
PER_OCTAVE: Final = 8
_BINS: Final = EXACT + PER_OCTAVE * 40
ROWS: Final = 1 << 20
"""Entities whose degrees are looked at together."""
MOST_CHUNKS: Final = 32
WINDOW: Final = 1 << 14
"""Consecutive edges of which runs are counted."""
WINDOWS: Final = 128
"""How many such pieces, at most."""


@dataclass(frozen=True, kw_only=True)
class GraphStatistics:
    """Entities in bins of one storage type and nearly one degree.

    The degree of an entity is the number of its in-edges, which hold both directions.
    """

    kind: NDArray[np.int64]
    """Storage type of a bin."""
    degree: Bins
    """Mean degree of its entities."""
    relations: Bins
    """Mean of their numbers of distinct (reciprocal) relations: the questions about an entity."""
    count: Bins
    """How many entities it has."""
    num_relations: int
    answers: Bins
    """Numbers of known tails of a sample of questions (head, relation)."""

    @property
    def entities(self) -> float:
        return float(self.count.sum())

    @property
    def edges(self) -> float:
        return float((self.count * self.degree).sum())

    @property
    def queries(self) -> float:
        """Distinct questions (head, relation)."""
        return max(1.0, float((self.count * self.relations).sum()))

    def drawn(self, weight: Bins, draws: float, held: Bins | None = None) -> Bins:
        """Expected entities that ``draws`` add to those ``held``.

        An entity is drawn with probability ``p`` in proportion to the ``weight`` of its bin, and
        comes up at least once with ``1 - (1 - p)^draws``.
        """
        total = float((self.count * weight).sum())
        share = np.minimum(weight / max(total, 1e-300), 1 - 1e-12)
        free = self.count if held is None else self.count - held
        return np.maximum(free, 0) * -np.expm1(draws * np.log1p(-share))

    def of_kind(self, entities: Bins, kind: int) -> float:
        """How many of some entities are of a storage type."""
        return float(entities[self.kind == kind].sum())

    def bins_of(self, degree: NDArray[np.int64], kind: NDArray[np.int64]) -> NDArray[np.int64]:
        """The nearest bin of each of some entities that this graph has."""
        own = self.kind * _BINS + _bin(np.rint(self.degree).astype(np.int64))
        order = np.argsort(own)
        place = np.searchsorted(own[order], kind * _BINS + _bin(degree))
        return order[np.minimum(place, len(own) - 1)]


def graph_statistics(graph: Adjacency, types: Sequence[Any]) -> GraphStatistics:
    """Read off the adjacency: all degrees, of large graphs those of ``MOST_CHUNKS`` pieces of a
    type; the relations of ``WINDOWS`` pieces of the edges.

    Args:
        types: storage types, mappings with ``start`` and ``stop``.
    """
    indptr = graph.indptr.numpy()
    count, total = np.zeros((2, len(types), _BINS))
    for number, kind in enumerate(types):
        size = kind["stop"] - kind["start"]
        looked = 0
        for start, stop in _pieces(size, ROWS, MOST_CHUNKS):
            bounds = indptr[kind["start"] + start : kind["start"] + stop + 1].astype(np.int64)
            degree = np.diff(bounds)
            place = _bin(degree)
            count[number] += np.bincount(place, minlength=_BINS)
            total[number] += np.bincount(place, degree, _BINS)
            looked += len(degree)
        count[number] *= size / max(looked, 1)
        total[number] *= size / max(looked, 1)
    density, answers = _runs(graph)
    kind, place = np.nonzero(count)
    degree = total[kind, place] / count[kind, place]
    return GraphStatistics(
        kind=kind,
        degree=degree,
        relations=degree * density[place],
        count=count[kind, place],
        num_relations=graph.num_relations,
        answers=answers,
    )


def _bin(degree: NDArray[np.int64]) -> NDArray[np.int64]:
    above = PER_OCTAVE * np.log2(np.maximum(degree, EXACT) / EXACT)
    return np.where(degree < EXACT, degree, EXACT + above.astype(np.int64))


def _pieces(total: int, size: int, most: int) -> Iterator[tuple[int, int]]:
    """Pieces of ``range(total)``: all of it, or ``most`` evenly spaced."""
    number = -(-total // size)
    chosen = range(number) if number <= most else (number * i // most for i in range(most))
    for piece in chosen:
        yield piece * size, min((piece + 1) * size, total)


def _runs(graph: Adjacency) -> tuple[Bins, Bins]:
    """Runs of one relation per in-edge, for entities of each bin of degrees; lengths of runs."""
    indptr, relation = graph.indptr.numpy(), graph.relation.numpy()
    edges, starts = np.zeros((2, _BINS))
    lengths = [np.zeros(0)]
    for start, stop in _pieces(relation.shape[0], WINDOW, WINDOWS):
        first = int(np.searchsorted(indptr, start, side="right")) - 1
        last = int(np.searchsorted(indptr, stop, side="left"))
        bounds = indptr[first : last + 1].astype(np.int64)
        place = _bin(np.diff(bounds))
        held = np.diff(bounds.clip(start, stop))
        row = np.repeat(np.arange(len(held)), held)
        before = max(start - 1, 0)
        kind = relation[before:stop].astype(np.int64)
        new = np.diff(kind, prepend=-1) != 0
        new = new[start - before :]
        new[bounds[(bounds >= start) & (bounds < stop)] - start] = True
        edges += np.bincount(place, held, _BINS)
        starts += np.bincount(place[row[new]], minlength=_BINS)
        lengths.append(np.diff(np.flatnonzero(new), append=stop - start))
    seen = np.flatnonzero(edges)
    if not len(seen):
        return np.ones(_BINS), np.ones(1)
    density = np.interp(np.arange(_BINS), seen, starts[seen] / edges[seen])
    return density, np.concatenate(lengths).astype(np.float64)
