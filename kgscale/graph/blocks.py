"""The columns that files give a storage type: stacked as they stand, or fitted side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from kgscale.data.described import Described, SideBySide
from kgscale.data.features import Features
from kgscale.data.fits import FileFit, Fits, RowFit
from kgscale.data.matrices import Matrix, Place, narrow
from kgscale.data.spool import Array
from kgscale.errors import DataError

NO_ROW = -1
LeftOut: TypeAlias = dict[str, list[str]]
"""What newcomers have that no column is for, by the name of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """All files of features; a row of file ``i`` has the number ``starts[i] + row``."""

    files: Sequence[Features]
    matrices: Sequence[Matrix | Described]
    starts: Array

    def at(self, row: int) -> tuple[int, int]:
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return file, row - int(self.starts[file])

    def where(self, row: int) -> str:
        file, inside = self.at(row)
        return f"{self.files[file].path} row {inside} (counted from 0)"

    def used(self, group: Sequence[int], row: Array) -> list[int]:
        """The files that have some of these rows."""
        starts = self.starts
        return [at for at in group if ((row >= starts[at]) & (row < starts[at + 1])).any()]

    @property
    def groups(self) -> list[list[int]]:
        """The files that stack rows, which are one, and each that stands beside them."""
        described = [at for at, rows in enumerate(self.matrices) if isinstance(rows, Described)]
        stacked = [at for at in range(len(self.matrices)) if at not in described]
        return [stacked] * bool(stacked) + [[at] for at in described]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some columns of a type's features; ``take`` gives those of a range of its entities."""

    dim: int
    kind: np.dtype[Any]
    take: Callable[[int, int], Array]
    fits: Fits | None
    """How they were made; not known of some of a store that was made before this was kept."""


def described(at: int, row: Array, free: Array, opened: Opened) -> Block:
    """Scaled by the rows of those who may be learned from."""
    rows, start = opened.matrices[at], int(opened.starts[at])
    assert isinstance(rows, Described)
    has = row != NO_ROW
    fitted = rows.fit(row[has] - start, row[has & free] - start)
    fit = FileFit(kind=rows.kind, file=Path(opened.files[at].path).name, parts=fitted.fits)
    return _block_of(fitted, fit, row, start)


def described_again(at: int, fit: FileFit, row: Array, opened: Opened, left_out: LeftOut) -> Block:
    """Scaled as others were."""
    rows, start = opened.matrices[at], int(opened.starts[at])
    assert isinstance(rows, Described)
    fitted, strange = rows.again(fit, row[row != NO_ROW] - start)
    if strange:
        left_out.setdefault(Path(opened.files[at].path).name, []).extend(strange)
    return _block_of(fitted, fit, row, start)


def _block_of(fitted: SideBySide, fit: FileFit, row: Array, start: int) -> Block:
    """Zeros for entities without a row."""

    def take(first: int, stop: int) -> Array:
        block = np.zeros((stop - first, fitted.dim), np.float32)
        mine = np.flatnonzero(row[first:stop] != NO_ROW)
        block[mine] = fitted.take(row[first:stop][mine] - start)
        return block

    return Block(dim=fitted.dim, kind=np.dtype(np.float32), take=take, fits=(fit,))


def stacked(group: Sequence[int], row: Array, opened: Opened) -> Block:
    """Numbers as they stand, of whichever file knows an entity."""
    used = opened.used(group, row)
    matrices = {at: rows for at in used if isinstance(rows := opened.matrices[at], Matrix)}
    dim, kind = _common(matrices, opened)

    def take(first: int, stop: int) -> Array:
        return _block(row[first:stop], matrices, opened, dim, kind)

    name = Path(opened.files[used[0]].path).name
    fit = FileFit(kind="rows", file=name, parts=(RowFit(dim=dim),))
    return Block(dim=dim, kind=kind, take=take, fits=(fit,))


def _common(matrices: Mapping[int, Matrix], opened: Opened) -> tuple[int, np.dtype[np.generic]]:
    """Columns of all files, and float16 if all of them hold it."""
    first, *others = matrices
    dim = matrices[first].dim
    for other in others:
        if matrices[other].dim != dim:
            raise DataError(
                f"{opened.files[other].path} has {matrices[other].dim:,} columns, but "
                f"{opened.files[first].path} has {dim:,}, for entities of one type: "
                "give the same columns, or types in data.types"
            )
    halves = all(matrix.dtype == np.float16 for matrix in matrices.values())
    return dim, np.dtype(np.float16 if halves else np.float32)


def _block(
    row: Array,
    matrices: Mapping[int, Matrix],
    opened: Opened,
    dim: int,
    kind: np.dtype[np.generic],
) -> Array:
    block = np.zeros((len(row), dim), kind)
    for at, matrix in matrices.items():
        start = int(opened.starts[at])
        mine = np.flatnonzero((row >= start) & (row < opened.starts[at + 1]))
        rows = row[mine]

        def where(place: Place, rows: Array = rows) -> str:
            return f"{opened.where(int(rows[place[0]]))} column {place[1]}"

        if len(mine):
            block[mine] = narrow(matrix.take(rows - start), kind, where)
    return block
