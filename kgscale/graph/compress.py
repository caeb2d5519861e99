"""Sorted triples to compressed edges: two directions merged front to back, a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kgscale.data.source import Role
from kgscale.data.spool import PIECE, Array, NpyWriter, Spool
from kgscale.data.vocabulary import id_type, relation_type
from kgscale.graph.adjacency import FIELDS
from kgscale.graph.reciprocal import inverse

SPLIT_BITS, REPEATED = 3, 4
"""Flags of an edge: its split, and whether an earlier split has the same triple."""
ROLES: Final[dict[Role, int]] = {"both": 0, "asked": 8, "head": 16, "tail": 32}
"""Flags of what a train triple is for."""
Counts: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = Callable[[Array], NDArray[np.bool_]]
"""Which edges belong, by their flags."""


def split_of(flags: Array) -> Array:
    return flags & SPLIT_BITS


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One direction of all triples, sorted by (target, relation, source)."""

    edges: Spool
    target: str
    source: str
    reciprocal: bool
    num_entities: int
    num_relations: int

    @cached_property
    def starts(self) -> Counts:
        """Where the edges of each target begin."""
        return _starts(self.degrees(lambda flags: flags == flags))

    def degrees(self, mask: Mask) -> Counts:
        degree = np.zeros(self.num_entities, np.int64)
        for target, flags in self.edges.pieces(self.target, "flags"):
            found = target[mask(flags)]
            if len(found):
                # Sorted by target: the counts of a piece span a short range.
                counts = np.bincount(found - found[0])
                degree[found[0] : found[0] + len(counts)] += counts
        return degree


@dataclass(frozen=True, kw_only=True)
class Side:
    """A direction restricted by a mask, readable by ranges of targets."""

    direction: Direction
    mask: Mask
    offsets: Counts
    """Where the rows of each split begin."""

    @cached_property
    def starts(self) -> Counts:
        return _starts(self.direction.degrees(self.mask))

    def pieces(self, first: int, last: int, size: int) -> Iterator[list[Array]]:
        """Source, relation and row of the edges of the targets ``first : last``."""
        begin, end = int(self.direction.starts[first]), int(self.direction.starts[last])
        for start in range(begin, end, size):
            yield self._read(start, min(start + size, end))

    def whole(self, first: int, last: int) -> list[Array]:
        return self._read(int(self.direction.starts[first]), int(self.direction.starts[last]))

    def _read(self, start: int, stop: int) -> list[Array]:
        edges = self.direction.edges
        names = ("flags", self.direction.source, "relation", "row")
        flags, *columns = (edges.read(name, start, stop) for name in names)
        keep = self.mask(flags)
        if not keep.all():
            flags, *columns = (column[keep] for column in (flags, *columns))
        source, relation, row = columns
        if self.direction.reciprocal:
            relation = inverse(relation, num_relations=self.direction.num_relations)
        return [source, relation, row + self.offsets[split_of(flags)]]


def _starts(degree: Counts) -> Counts:
    starts = np.zeros(len(degree) + 1, np.int64)
    np.cumsum(degree, out=starts[1:])
    return starts


def write_adjacency(
    directory: Path,
    prefix: str,
    *,
    forward: Direction,
    backward: Direction,
    masks: tuple[Mask, Mask],
    offsets: Counts,
) -> None:
    """Write the files of an ``Adjacency``; each direction has a mask."""
    sides = [
        Side(direction=direction, mask=mask, offsets=offsets)
        for direction, mask in zip((forward, backward), masks, strict=True)
    ]
    indptr = sides[0].starts + sides[1].starts
    edges = int(indptr[-1])
    kinds = (
        id_type(forward.num_entities),
        relation_type(forward.num_relations),
        id_type(int(offsets[-1])),
    )
    writers = [
        NpyWriter(directory / f"{prefix}_{field}.npy", kind, edges)
        for field, kind in zip(FIELDS[1:], kinds, strict=True)
    ]
    for columns in _merged(sides, indptr):
        for writer, values in zip(writers, columns, strict=True):
            writer.append(values)
    for writer in writers:
        writer.finish()
    np.save(directory / f"{prefix}_indptr.npy", indptr.astype(id_type(edges)))


def _merged(sides: list[Side], indptr: Counts) -> Iterator[list[Array]]:
    """Per target the forward edges, then the backward ones, whose relations are larger."""
    for first, last in _ranges(indptr):
        if last == first + 1:
            # A hub may have more edges than fit at once; its two runs follow each other as is.
            for side in sides:
                yield from side.pieces(first, last, PIECE)
        else:
            yield _interleave(sides, first, last)


def _ranges(indptr: Counts) -> Iterator[tuple[int, int]]:
    """Ranges of targets with about ``PIECE`` edges, or a single target."""
    num_entities, first = len(indptr) - 1, 0
    while first < num_entities:
        last = int(np.searchsorted(indptr, indptr[first] + PIECE, side="right")) - 1
        last = min(max(last, first + 1), num_entities)
        yield first, last
        first = last


def _interleave(sides: list[Side], first: int, last: int) -> list[Array]:
    forward, backward = sides
    # An edge moves by the number of the other side's edges that come before it.
    shifts = (
        backward.starts[first:last] - backward.starts[first],
        forward.starts[first + 1 : last + 1] - forward.starts[first],
    )
    degrees = [np.diff(side.starts[first : last + 1]) for side in sides]
    place = np.concatenate(
        [
            np.arange(len(moved := np.repeat(shift, degree))) + moved
            for degree, shift in zip(degrees, shifts, strict=True)
        ]
    )
    merged = []
    for columns in zip(*(side.whole(first, last) for side in sides), strict=True):
        values: NDArray[Any] = np.empty(len(place), np.result_type(*columns))
        values[place] = np.concatenate(columns)
        merged.append(values)
    return merged
