"""How what describes entities became numbers: kept beside them, so that newcomers' do alike."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from kgscale.data.scale import Scale
from kgscale.data.tables import Column

Kind = Literal["rows", "columns", "literals"]
"""Numbers as they stand; a table or an array by its columns; triples by their attributes."""
Use: TypeAlias = tuple[str, ...]
"""What a column is for, and what it is called."""
LARGEST = 1 << 31
"""Numbers of a row that a damaged file may claim."""
MOST = sys.float_info.max
"""JSON also has whole numbers beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFit:
    """Numbers that stay as they are."""

    dim: int

    @property
    def uses(self) -> Iterator[Use]:
        yield "numbers as they stand", str(self.dim)

    def told(self) -> dict[str, Any]:
        return {"use": "rows", "dim": self.dim}


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFit:
    """Of each column that is held a scaled number and a bit that tells whether it is there."""

    columns: tuple[Column, ...]
    held: tuple[Column, ...]
    """Those of them that some entity had."""
    scale: Scale
    """Of the held ones."""

    @property
    def dim(self) -> int:
        return 2 * len(self.held)

    @property
    def uses(self) -> Iterator[Use]:
        for column in self.columns:
            yield "numbers", repr(column)

    def told(self) -> dict[str, Any]:
        scale = {name: getattr(self.scale, name).tolist() for name in SCALE}
        return {"use": "numbers", "columns": list(self.columns), "held": list(self.held), **scale}


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryFit:
    """Of each level a number that is 1 or 0; other levels have none."""

    column: Column
    levels: tuple[str, ...]

    @property
    def dim(self) -> int:
        return len(self.levels)

    @property
    def uses(self) -> Iterator[Use]:
        yield "categories", repr(self.column)

    def told(self) -> dict[str, Any]:
        return {"use": "categories", "column": self.column, "levels": list(self.levels)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFit:
    """A vector of a text, or of all texts of an entity."""

    columns: tuple[Column, ...]
    """One of a table; attributes of literals, or none where those are not named."""
    encoder: tuple[str | int, ...]
    """Its settings."""
    dim: int

    @property
    def uses(self) -> Iterator[Use]:
        named = ", ".join(map(repr, self.columns)) or "of all attributes"
        yield "text", named, f"by {', '.join(map(str, self.encoder))}"

    def told(self) -> dict[str, Any]:
        columns, encoder = list(self.columns), list(self.encoder)
        return {"use": "text", "columns": columns, "encoder": encoder, "dim": self.dim}


Fit: TypeAlias = RowFit | NumberFit | CategoryFit | TextFit
SCALE = ("unit", "mean", "deviation")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFit:
    """All parts of a file for a storage type, which stand side by side."""

    kind: Kind
    file: str
    """What the file was called, for messages."""
    parts: tuple[Fit, ...]

    @property
    def dim(self) -> int:
        return sum(part.dim for part in self.parts)

    def told(self) -> dict[str, Any]:
        parts = [part.told() for part in self.parts]
        return {"kind": self.kind, "file": self.file, "parts": parts}

    @classmethod
    def of(cls, told: object) -> FileFit:
        """From what ``told`` gave.

        Raises:
            ValueError: it is something else.
        """
        match told:
            case {"kind": "rows" | "columns" | "literals" as kind, "file": str(file),
                  "parts": [*parts]}:  # fmt: skip
                return cls(kind=kind, file=file, parts=tuple(_part(part) for part in parts))
        raise ValueError("features are told otherwise than this version tells them")


Fits: TypeAlias = tuple[FileFit, ...]
"""Of the files that describe a storage type, in the order of their columns."""


def _part(told: object) -> Fit:
    match told:
        case {"use": "rows", "dim": dim}:
            return RowFit(dim=_dim(dim))
        case {"use": "numbers", "columns": columns, "held": held, **scale}:
            columns, held = _columns(columns), _columns(held)
            if not set(held) <= set(columns):
                raise ValueError("columns are scaled that are none")
            given = {name: _numbers(scale.get(name), len(held)) for name in SCALE}
            if any((given[name] < 0).any() for name in ("unit", "deviation")):
                raise ValueError("a unit or a deviation is negative")
            return NumberFit(columns=columns, held=held, scale=Scale(**given))
        case {"use": "categories", "column": column, "levels": [*levels]}:
            if not all(type(level) is str for level in levels) or len({*levels}) != len(levels):
                raise ValueError("levels are texts, each once")
            return CategoryFit(column=_columns([column])[0], levels=tuple(levels))
        case {"use": "text", "columns": columns, "encoder": encoder, "dim": dim}:
            if not isinstance(encoder, list) or not all(type(one) in (str, int) for one in encoder):
                raise ValueError("an encoder's settings are names and whole numbers")
            return TextFit(columns=_columns(columns), encoder=tuple(encoder), dim=_dim(dim))
    raise ValueError("a part of features is told otherwise than this version tells it")


def _dim(value: object) -> int:
    if type(value) is not int or not 0 < value < LARGEST:
        raise ValueError(f"{value!r} is no number of columns")
    return value


def _columns(values: object) -> tuple[Column, ...]:
    if not isinstance(values, list) or not all(type(value) in (str, int) for value in values):
        raise ValueError("columns are names or places")
    if len({*values}) != len(values):
        raise ValueError("a column is there twice")
    return tuple(values)


def _numbers(values: object, size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    if not isinstance(values, list) or len(values) != size:
        raise ValueError("each column that is held has one unit, mean and deviation")
    if not all(type(value) in (int, float) and abs(value) <= MOST for value in values):
        raise ValueError("a scale is of finite numbers")
    return np.array(values, np.float64)


def words(uses: Sequence[Use]) -> str:
    """For messages: columns by what they are for."""
    found: dict[str, list[str]] = {}
    for name, *rest in uses:
        found.setdefault(name, []).append(" ".join(rest))
    return "; ".join(f"{name} {_some(some)}" for name, some in found.items())


SHOWN = 5


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
