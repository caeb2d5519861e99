"""Matrices in ``.npy`` and ``.npz`` files, taken a few rows at a time; nothing is unpickled."""

from __future__ import annotations

import errno
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from kgscale.data.files import check_growth, check_readable, unreadable
from kgscale.data.spool import Array, forget
from kgscale.errors import DataError

PARTS = {"csr": {"data", "indices", "indptr"}, "coo": {"data", "row", "col"}}
"""The parts of a matrix that ``scipy.sparse.save_npz`` wrote."""
Place: TypeAlias = tuple[int, ...]
WIDEST = 1 << 20
"""Columns of a sparse matrix: a row of them is made dense."""
SPARSEST = 64
"""Rows for each number of a sparse matrix, beyond 64 million: more is a claim of a damaged file."""
_NO_ARRAY = (
    ValueError,
    TypeError,
    SyntaxError,
    TokenError,
    OverflowError,
    MemoryError,
    EOFError,
)
"""What numpy raises at a header that is none."""
SMALL = 1 << 16
"""Bytes of a file that is read at once."""


@dataclass(frozen=True, slots=True)
class DenseMatrix:
    """An array that is mapped, not read."""

    path: Path
    array: Array

    def __post_init__(self) -> None:
        _check_numbers(self.path, self.array)
        if self.array.ndim != 2 or not self.array.shape[1]:
            raise DataError(
                f"{self.path} has the shape {self.array.shape}: features need two dimensions, "
                "a row for each key and at least one column"
            )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.array.dtype

    @property
    def dim(self) -> int:
        return int(self.array.shape[1])

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: Array) -> Array:
        """Copies of these rows."""
        return self.array[rows]

    def forget(self) -> None:
        forget(self.array)


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseMatrix:
    """Row ``i`` holds ``data[j]`` in column ``indices[j]`` for ``indptr[i] <= j < indptr[i + 1]``.

    Numbers of one place add up, as in scipy.
    """

    path: Path
    data: Array
    indices: Array
    indptr: Array
    dim: int

    def __post_init__(self) -> None:
        _check_numbers(self.path, self.data)
        size = len(self.data)
        sound = (
            self.indices.dtype.kind == self.indptr.dtype.kind == "i"
            and self.data.ndim == self.indices.ndim == self.indptr.ndim == 1
            and len(self.indices) == size
            and len(self.indptr) > 0
            and (self.indptr[0], self.indptr[-1]) == (0, size)
            and bool((self.indptr[1:] >= self.indptr[:-1]).all())
            and self.dim > 0
        )
        if not sound:
            raise self._damaged()
        if self.dim > WIDEST:
            raise DataError(
                f"{self.path} has {self.dim:,} columns, and features have {WIDEST:,} at most, "
                "since they are kept densely: leave out rare columns, or project them to fewer"
            )

    def _damaged(self) -> DataError:
        return DataError(
            f"{self.path}: its parts are not those of a sparse matrix: write it with "
            "scipy.sparse.save_npz(path, matrix.tocsr())"
        )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: Array) -> Array:
        """These rows, dense."""
        start, size = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        row = np.repeat(np.arange(len(rows)), size)
        at = np.arange(len(row)) + np.repeat(
            start - np.concatenate([[0], size.cumsum()[:-1]]), size
        )
        column = self.indices[at]
        if len(column) and not 0 <= column.min() <= column.max() < self.dim:
            raise self._damaged()
        kind = self.dtype if self.dtype.kind == "f" else np.dtype(np.float64)
        dense = np.zeros((len(rows), self.dim), kind)
        np.add.at(dense, (row, column), self.data[at])
        return dense

    def forget(self) -> None:
        for part in (self.data, self.indices):
            forget(part)


@runtime_checkable
class Matrix(Protocol):
    """Rows of numbers that are taken a few at a time."""

    @property
    def dtype(self) -> np.dtype[np.generic]: ...

    @property
    def dim(self) -> int:
        """Numbers of a row."""
        ...

    def __len__(self) -> int: ...

    def take(self, rows: Array) -> Array: ...

    def forget(self) -> None:
        """Give back the memory of what was read."""
        ...


def _check_numbers(path: Path, array: Array) -> None:
    if array.dtype.kind not in "fiub":
        raise DataError(f"{path} holds values of type {array.dtype}: features are real numbers")


def narrow(values: Array, kind: np.dtype[np.generic], where: Callable[[Place], str]) -> Array:
    """The same numbers in a type of the store; one that it cannot hold is refused by its place."""
    with np.errstate(over="ignore"):
        narrowed: Array = values.astype(kind)
    bad = ~np.isfinite(narrowed)
    if bad.any():
        place = tuple(int(at) for at in np.argwhere(bad)[0])
        raise DataError(
            f"{where(place)} holds {values[place]}, which is no finite {kind} number: "
            "replace it in the file, or leave the row out (its entity then has zeros)"
        )
    return narrowed


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    check_readable(path)
    try:
        yield
    except (OSError, EOFError, RuntimeError, UnicodeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise unreadable(path, error) from error


def _mapped(path: Path, file: Path) -> Array:
    """The array in ``file``, on the disk; a small one (an empty one cannot be mapped) in memory."""
    with _reading(file):
        large = file.stat().st_size > SMALL
        try:
            array: Array = np.load(file, mmap_mode="r" if large else None, allow_pickle=False)
        except _NO_ARRAY as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(
                f"{path} is not a file of plain numbers ({reason}): "
                "write it with numpy.save or numpy.savez"
            ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} is an .npz file: name it so")
    return array


def map_npy(path: Path) -> Array:
    return _mapped(path, path)


def open_npy(path: Path) -> DenseMatrix:
    return DenseMatrix(path, map_npy(path))


def unpack_npz(path: Path, scratch: Path) -> dict[str, Array]:
    """The arrays of a file by name; unpacked to ``scratch``, then mapped."""
    with _reading(path):
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is not an .npz file: write it with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            size = sum(archive.getinfo(name).file_size for name in names)
            check_growth(str(path), path.stat().st_size, size)
            for at, name in enumerate(names):
                with archive.open(name) as packed, (scratch / f"{at}.npy").open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 1 << 20)
    return {
        name.removesuffix(".npy"): _mapped(path, scratch / f"{at}.npy")
        for at, name in enumerate(names)
    }


def open_npz(path: Path, scratch: Path) -> Matrix:
    """One dense array under any name, or the parts of a sparse matrix."""
    arrays = unpack_npz(path, scratch)
    if "format" in arrays:
        return _sparse(path, arrays)
    if len(arrays) != 1:
        raise DataError(
            f"{path} holds the arrays {', '.join(map(repr, arrays)) or '(none)'}: "
            "features need one dense array, or a matrix from scipy.sparse.save_npz"
        )
    return DenseMatrix(path, next(iter(arrays.values())))


def _sparse(path: Path, arrays: dict[str, Array]) -> SparseMatrix:
    try:
        form = arrays["format"].item()
        shape = arrays.get("shape", np.zeros(0, np.int64)).tolist()
        kind = form.decode("latin-1") if isinstance(form, bytes) else str(form)
        parts = PARTS.get(kind)
        if parts is None or not parts < set(arrays) or not _is_shape(shape):
            raise ValueError(f"format {kind!r} with {', '.join(map(repr, sorted(arrays)))}")
        data, indices, indptr = (
            [arrays[part] for part in ("data", "indices", "indptr")]
            if kind == "csr"
            else _by_row(arrays, shape[0])
        )
        return SparseMatrix(path=path, data=data, indices=indices, indptr=indptr, dim=shape[1])
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{path} is no sparse matrix that can be read ({error}): write it with"
            " scipy.sparse.save_npz(path, matrix.tocsr())"
        ) from error


def _is_shape(shape: object) -> bool:
    match shape:
        case [int(), int()]:
            return True
        case _:
            return False


def _by_row(arrays: dict[str, Array], rows: int) -> list[Array]:
    """Coordinates as rows, in the order in which they were given within a row."""
    if not 0 <= rows <= SPARSEST * max(arrays["row"].size, 1 << 20):
        raise ValueError(f"{rows:,} rows for {arrays['row'].size:,} numbers")
    order = np.argsort(arrays["row"], kind="stable")
    indptr = np.searchsorted(arrays["row"][order], np.arange(rows + 1)).astype(np.int64)
    return [arrays["data"][order], arrays["col"][order], indptr]
