"""Edges compressed by target, both directions in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from kgscale.data.vocabulary import id_type, relation_type
from kgscale.graph.reciprocal import inverse
from kgscale.graph.spool import PIECE, Array, NpyWriter, Spool
from kgscale.types import EdgeSource, EdgeType, Indptr

FIELDS = ("indptr", "source", "relation", "triple")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjacency:
    """The in-edges of every entity; a row is sorted by (relation, source).

    A triple (h, r, t) is an in-edge of t with source h and relation r, and an in-edge of h with
    source t and relation ``r + num_relations``. The tails of (h, r, ?) are thus the sources of
    h's in-edges with the inverse relation: one run.
    """

    indptr: Indptr
    source: EdgeSource
    relation: EdgeType
    triple: Int[Tensor, " edge"]
    """Row of the triple in train, or in train, valid and test one after the other."""
    num_relations: int

    @classmethod
    def open(cls, directory: Path, prefix: str, num_relations: int) -> Adjacency:
        """Copy-on-write maps: nothing is read before it is used, nothing is ever written."""
        arrays = {
            field: torch.from_numpy(
                np.load(directory / f"{prefix}_{field}.npy", mmap_mode="c", allow_pickle=False)
            )
            for field in FIELDS
        }
        return cls(**arrays, num_relations=num_relations)


Mask = Callable[[Array], NDArray[np.bool_]]
"""Which edges belong, by their flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of all triples, sorted by (target, relation, source)."""

    edges: Spool
    target: str
    source: str
    reciprocal: bool

    def degrees(self, num_entities: int, mask: Mask | None = None) -> NDArray[np.int64]:
        degree = np.zeros(num_entities, np.int64)
        for target, flags in self.edges.pieces(self.target, "flags"):
            found = target if mask is None else target[mask(flags)]
            if len(found):
                # Sorted by target: the counts of a piece span a short range.
                counts = np.bincount(found - found[0])
                degree[found[0] : found[0] + len(counts)] += counts
        return degree


def starts(degree: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(degree)])


def write_adjacency(
    directory: Path,
    prefix: str,
    *,
    forward: Direction,
    backward: Direction,
    mask: Mask,
    num_entities: int,
    num_relations: int,
    offsets: NDArray[np.int64],
) -> None:
    """Merge two sorted directions; ``offsets`` is where each split's rows begin."""
    sides = [
        _Side(side, mask, num_entities, num_relations, offsets) for side in (forward, backward)
    ]
    indptr = starts(sides[0].degree + sides[1].degree)
    edges = int(indptr[-1])
    kinds = (id_type(num_entities), relation_type(num_relations), id_type(edges // 2))
    writers = [
        NpyWriter(directory / f"{prefix}_{field}.npy", kind, edges)
        for field, kind in zip(FIELDS[1:], kinds, strict=True)
    ]
    for columns in _merged(sides, indptr):
        for writer, values in zip(writers, columns, strict=True):
            writer.append(values)
    for writer in writers:
        writer.close()
    np.save(directory / f"{prefix}_indptr.npy", indptr.astype(id_type(edges)))


class _Side:
    """A direction, restricted by a mask, readable by ranges of targets."""

    def __init__(
        self,
        side: Direction,
        mask: Mask,
        num_entities: int,
        num_relations: int,
        offsets: NDArray[np.int64],
    ) -> None:
        self.side, self.mask, self.offsets = side, mask, offsets
        self.num_relations = num_relations
        self.degree = side.degrees(num_entities, mask)
        self.kept = starts(self.degree)
        self.stored = starts(side.degrees(num_entities))

    def pieces(self, first: int, last: int, size: int) -> Iterator[list[Array]]:
        """Source, relation and row of the edges of the targets ``first : last``."""
        begin, end = int(self.stored[first]), int(self.stored[last])
        for start in range(begin, end, size):
            yield self._read(start, min(start + size, end))

    def _read(self, start: int, stop: int) -> list[Array]:
        edges = self.side.edges
        flags = edges.read("flags", start, stop)
        keep = self.mask(flags)
        source = edges.read(self.side.source, start, stop)[keep]
        relation = edges.read("relation", start, stop)[keep]
        if self.side.reciprocal:
            relation = inverse(relation, num_relations=self.num_relations)
        row = edges.read("row", start, stop)[keep] + self.offsets[split_of(flags[keep])]
        return [source, relation, row]


SPLIT_BITS, REPEATED = 3, 4
"""Flags of an edge: its split, and whether an earlier split has the same triple."""


def split_of(flags: Array) -> Array:
    return flags & SPLIT_BITS


def _merged(sides: list[_Side], indptr: NDArray[np.int64]) -> Iterator[list[Array]]:
    """Per target the forward edges, then the backward ones, whose relations are larger."""
    for first, last in _ranges(indptr):
        if last == first + 1:
            # A hub may have more edges than fit at once; its two runs follow each other as is.
            for side in sides:
                yield from side.pieces(first, last, PIECE)
        else:
            yield _interleave(sides, first, last)


def _ranges(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of targets with about ``PIECE`` edges, or a single target."""
    num_entities, first = len(indptr) - 1, 0
    while first < num_entities:
        last = int(np.searchsorted(indptr, indptr[first] + PIECE, side="right")) - 1
        last = min(max(last, first + 1), num_entities)
        yield first, last
        first = last


def _interleave(sides: list[_Side], first: int, last: int) -> list[Array]:
    forward, backward = sides
    targets = np.arange(first, last)
    shifts = (
        backward.kept[first:last] - backward.kept[first],
        forward.kept[first + 1 : last + 1] - forward.kept[first],
    )
    places, parts = [], []
    for side, shift in zip(sides, shifts, strict=True):
        at = np.repeat(targets - first, side.degree[first:last])
        places.append(np.arange(len(at)) + shift[at])
        begin, end = int(side.stored[first]), int(side.stored[last])
        parts.append(side._read(begin, end))
    place = np.concatenate(places)
    merged = []
    for column in zip(*parts, strict=True):
        values: NDArray[Any] = np.empty(len(place), np.result_type(*column))
        values[place] = np.concatenate(column)
        merged.append(values)
    return merged
