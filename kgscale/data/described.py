"""What describes entities, as it was read: numbers, categories and texts, side by side.

It becomes features when it is known which entities may be learned from: see ``Part.fit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kgscale.data.matrices import Matrix
from kgscale.data.scale import Scale
from kgscale.data.spool import PIECE, Array

SAMPLE = 256 << 20
"""Bytes of numbers that a scale is fitted on; of more rows, as many evenly spaced ones."""
Rows = NDArray[np.int64]


@runtime_checkable
class Fitted(Protocol):
    """Features that are taken a few rows at a time."""

    @property
    def dim(self) -> int:
        """Numbers of a row; perhaps none."""
        ...

    def take(self, rows: Rows) -> NDArray[np.float32]: ...


@runtime_checkable
class Part(Protocol):
    """Some columns of a file."""

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        """Those of a type of entities.

        Args:
            rows: of all its entities, in their order.
            known: those of them that may be learned from: no entity of valid or test.
        """
        ...

    def forget(self) -> None:
        """Give back the memory of what was read."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """All parts of a file, whose rows are numbered alike."""

    size: int
    parts: Sequence[Part]

    def __len__(self) -> int:
        return self.size

    def fit(self, rows: Rows, known: Rows) -> SideBySide:
        return SideBySide([part.fit(rows, known) for part in self.parts])

    def forget(self) -> None:
        for part in self.parts:
            part.forget()


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One row of several."""

    parts: Sequence[Fitted]

    @property
    def dim(self) -> int:
        return sum(part.dim for part in self.parts)

    def take(self, rows: Rows) -> NDArray[np.float32]:
        return np.concatenate([part.take(rows) for part in self.parts], axis=1)


@dataclass(frozen=True, slots=True)
class NumberPart:
    """Numbers of which some may be missing (NaN): each becomes a scaled one and a bit that tells
    whether it is there. A column that no entity has is left out."""

    matrix: Matrix

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        held = np.zeros(self.matrix.dim, bool)
        for start in range(0, len(rows), PIECE):
            held |= ~np.isnan(self._take(rows[start : start + PIECE])).all(axis=0)
            self.matrix.forget()
        column = np.flatnonzero(held)
        sample = max(1, SAMPLE // (8 * max(1, len(column))))
        if len(known) > sample:
            known = known[np.linspace(0, len(known) - 1, sample).astype(np.int64)]
        return ScaledNumbers(self, column, Scale.fit(self._take(known)[:, column]))

    def _take(self, rows: Rows) -> NDArray[np.float64]:
        return self.matrix.take(rows).astype(np.float64)

    def forget(self) -> None:
        self.matrix.forget()


@dataclass(frozen=True, slots=True)
class ScaledNumbers:
    """Of each column its number and its bit."""

    part: NumberPart
    column: Rows
    scale: Scale

    @property
    def dim(self) -> int:
        return 2 * len(self.column)

    def take(self, rows: Rows) -> NDArray[np.float32]:
        return self.scale.apply(self.part.matrix.take(rows)[:, self.column].astype(np.float64))


NO_LEVEL = -1


@dataclass(frozen=True, slots=True)
class CategoryPart:
    """A category of each row by its place in ``levels``, or ``NO_LEVEL``."""

    code: Array
    levels: Sequence[str]
    most: int
    """The most frequent levels get a column each, of ones and zeros, and all others none."""

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        code = self.code[known]
        count = np.bincount(code[code != NO_LEVEL], minlength=len(self.levels))
        # A level that learning never saw would bring a weight that nobody has learned.
        seen = [at for at in range(len(self.levels)) if count[at]]
        frequent = sorted(seen, key=lambda at: (-count[at], self.levels[at].encode()))[: self.most]
        place = np.full(len(self.levels) + 1, NO_LEVEL)
        place[sorted(frequent, key=lambda at: self.levels[at].encode())] = range(len(frequent))
        return OneHot(self, place)

    def forget(self) -> None:
        """Nothing is mapped."""


@dataclass(frozen=True, slots=True)
class OneHot:
    """``place``: the column of each level, or ``NO_LEVEL``; its last is for rows without one."""

    part: CategoryPart
    place: Array

    @property
    def dim(self) -> int:
        return int(self.place.max()) + 1

    def take(self, rows: Rows) -> NDArray[np.float32]:
        column = self.place[self.part.code[rows]]
        hot = np.zeros((len(rows), self.dim), np.float32)
        has = np.flatnonzero(column != NO_LEVEL)
        hot[has, column[has]] = 1
        return hot


@dataclass(frozen=True, slots=True)
class VectorPart:
    """Vectors of texts, which need no fit."""

    matrix: Matrix

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        return self

    @property
    def dim(self) -> int:
        return self.matrix.dim

    def take(self, rows: Rows) -> NDArray[np.float32]:
        return self.matrix.take(rows).astype(np.float32)

    def forget(self) -> None:
        self.matrix.forget()
