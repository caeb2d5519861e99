"""Columns that describe entities, as they were read: numbers, categories and texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgscale.data.described import Fitted, Rows
from kgscale.data.fits import CategoryFit, Fit, NumberFit, TextFit, Use
from kgscale.data.matrices import Matrix
from kgscale.data.scale import Scale
from kgscale.data.spool import PIECE, Array
from kgscale.data.tables import Column
from kgscale.errors import ConfigError

SAMPLE = 256 << 20
"""Bytes of numbers that a scale is fitted on; of more rows, as many evenly spaced ones."""


@dataclass(frozen=True, slots=True)
class NumberPart:
    """Numbers of which some may be missing (NaN): each becomes a scaled one and a bit that tells
    whether it is there. A column that no entity has is left out."""

    matrix: Matrix
    columns: tuple[Column, ...]
    """What each is called."""

    @property
    def uses(self) -> Iterator[Use]:
        return (("numbers", repr(column)) for column in self.columns)

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        column = np.flatnonzero(self._held(rows))
        sample = max(1, SAMPLE // (8 * max(1, self.matrix.dim)))
        if len(known) > sample:
            known = known[np.linspace(0, len(known) - 1, sample).astype(np.int64)]
        fit = NumberFit(
            columns=self.columns,
            held=tuple(self.columns[at] for at in column),
            scale=Scale.fit(self._take(known)[:, column]),
        )
        return ScaledNumbers(self, column, fit)

    def again(self, fit: Fit) -> Fitted | None:
        if not isinstance(fit, NumberFit):
            return None
        place = {column: at for at, column in enumerate(self.columns)}
        column = np.array([place.get(name, MISSING) for name in fit.held], np.int64)
        return ScaledNumbers(self, column, fit)

    def strange(self, fit: Fit | None, rows: Rows) -> list[str]:
        known = set(fit.held) if isinstance(fit, NumberFit) else set()
        held = np.flatnonzero(self._held(rows))
        return [f"numbers {name!r}" for at in held if (name := self.columns[at]) not in known]

    def _held(self, rows: Rows) -> NDArray[np.bool_]:
        """Which columns some of these rows have."""
        held = np.zeros(self.matrix.dim, bool)
        for start in range(0, len(rows), PIECE):
            held |= ~np.isnan(self._take(rows[start : start + PIECE])).all(axis=0)
            self.matrix.forget()
        return held

    def _take(self, rows: Rows) -> NDArray[np.float64]:
        return self.matrix.take(rows).astype(np.float64)

    def forget(self) -> None:
        self.matrix.forget()


MISSING = -1


@dataclass(frozen=True, slots=True)
class ScaledNumbers:
    """``column``: the place in the file of each that is held, or ``MISSING``."""

    part: NumberPart
    column: Rows
    fit: NumberFit

    def take(self, rows: Rows) -> NDArray[np.float32]:
        values = self.part.matrix.take(rows)[:, self.column].astype(np.float64)
        values[:, self.column == MISSING] = np.nan
        return self.fit.scale.apply(values)


NO_LEVEL = -1


@dataclass(frozen=True, slots=True)
class CategoryPart:
    """A category of each row by its place in ``levels``, or ``NO_LEVEL``."""

    code: Array
    levels: Sequence[str]
    most: int
    """The most frequent levels get a column each, of ones and zeros, and all others none."""
    column: Column

    @property
    def uses(self) -> Iterator[Use]:
        yield "categories", repr(self.column)

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        # A level that learning never saw would bring a weight that nobody has learned.
        count = self._count(known)
        seen = [at for at in range(len(self.levels)) if count[at]]
        frequent = sorted(seen, key=lambda at: (-count[at], self.levels[at].encode()))[: self.most]
        levels = sorted((self.levels[at] for at in frequent), key=str.encode)
        return self._hot(CategoryFit(column=self.column, levels=tuple(levels)))

    def again(self, fit: Fit) -> Fitted | None:
        if not isinstance(fit, CategoryFit) or fit.column != self.column:
            return None
        return self._hot(fit)

    def strange(self, fit: Fit | None, rows: Rows) -> list[str]:
        known = {*fit.levels} if isinstance(fit, CategoryFit) else set()
        count = self._count(rows)
        return [
            f"{level!r} of {self.column!r}"
            for at, level in enumerate(self.levels)
            if count[at] and level not in known
        ]

    def _hot(self, fit: CategoryFit) -> OneHot:
        place = {level: at for at, level in enumerate(fit.levels)}
        column = [place.get(level, NO_LEVEL) for level in self.levels]
        return OneHot(self, np.array([*column, NO_LEVEL]), fit)

    def _count(self, rows: Rows) -> Rows:
        code = self.code[rows]
        return np.bincount(code[code != NO_LEVEL], minlength=len(self.levels))

    def forget(self) -> None:
        """Nothing is mapped."""


@dataclass(frozen=True, slots=True)
class OneHot:
    """``place``: the column of each level, or ``NO_LEVEL``; its last is for rows without one."""

    part: CategoryPart
    place: Array
    fit: CategoryFit

    def take(self, rows: Rows) -> NDArray[np.float32]:
        column = self.place[self.part.code[rows]]
        hot = np.zeros((len(rows), self.fit.dim), np.float32)
        has = np.flatnonzero(column != NO_LEVEL)
        hot[has, column[has]] = 1
        return hot


@dataclass(frozen=True, slots=True)
class VectorPart:
    """Vectors of texts, which only need to be made alike."""

    matrix: Matrix
    columns: tuple[Column, ...]
    """One of a table; attributes of literals, or none where those are not named."""
    encoder: tuple[str | int, ...]
    """Its settings."""

    @property
    def uses(self) -> Iterator[Use]:
        return self._fit.uses

    @property
    def _fit(self) -> TextFit:
        return TextFit(columns=self.columns, encoder=self.encoder, dim=self.matrix.dim)

    def fit(self, rows: Rows, known: Rows) -> Fitted:
        return Vectors(self.matrix, self._fit)

    def again(self, fit: Fit) -> Fitted | None:
        if not isinstance(fit, TextFit) or set(fit.uses) != set(self.uses):
            return None
        if fit.dim != self.matrix.dim:
            raise ConfigError(
                f"data.features: a text became {fit.dim:,} numbers in the store, and"
                f" {self.matrix.dim:,} now: use the encoder that was used then"
            )
        return Vectors(self.matrix, fit)

    def strange(self, fit: Fit | None, rows: Rows) -> list[str]:
        return [] if fit is not None else ["texts"]

    def forget(self) -> None:
        self.matrix.forget()


@dataclass(frozen=True, slots=True)
class Vectors:
    """As they stand."""

    matrix: Matrix
    fit: TextFit

    def take(self, rows: Rows) -> NDArray[np.float32]:
        return self.matrix.take(rows).astype(np.float32)
