"""Columns on disk that grow at the end and are read in pieces: never whole in memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
PIECE = 1 << 16
"""Rows read at once."""


class Spool:
    """Scratch columns, one raw file each."""

    def __init__(self, directory: Path, name: str, types: Mapping[str, DTypeLike]) -> None:
        self.types = {column: np.dtype(kind) for column, kind in types.items()}
        self._paths = {column: directory / f"{name}-{column}.raw" for column in types}
        self.size = 0
        for path in self._paths.values():
            path.write_bytes(b"")

    def append(self, **columns: Array) -> None:
        for column, kind in self.types.items():
            append_raw(self._paths[column], columns[column], kind)
        self.size += len(next(iter(columns.values())))

    def read(self, column: str, start: int, stop: int) -> Array:
        kind = self.types[column]
        return np.fromfile(
            self._paths[column], kind, count=stop - start, offset=start * kind.itemsize
        )

    def pieces(self, *columns: str, size: int = PIECE) -> Iterator[tuple[Array, ...]]:
        for start in range(0, self.size, size):
            stop = min(start + size, self.size)
            yield tuple(self.read(column, start, stop) for column in columns)

    def remove(self) -> None:
        for path in self._paths.values():
            path.unlink()


class NpyWriter:
    """An ``.npy`` file of known length, written front to back; rows may have several columns."""

    def __init__(self, path: Path, kind: DTypeLike, length: int, *columns: int) -> None:
        self._path, self.kind, self._left = path, np.dtype(kind), length
        shape = (length, *columns)
        header = {"descr": self.kind.str, "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)

    def append(self, values: Array) -> None:
        append_raw(self._path, values, self.kind)
        self._left -= len(values)

    def finish(self) -> None:
        assert self._left == 0, f"{self._path}: {self._left} rows are missing"


def mapped(path: Path, kind: DTypeLike, length: int) -> Array:
    """A new file, mapped to be written in any order, with all the room that it needs.

    A page that finds a full disk when it is first written would end the process by SIGBUS.

    Raises:
        OSError: there is no such room.
    """
    size = length * np.dtype(kind).itemsize
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, PIECE):
                file.write(bytes(min(PIECE, size - start)))
    return np.memmap(path, kind, "r+", shape=(length,))


def forget(array: Array) -> None:
    """Give back the memory of what has been read of a mapped array; reading it again maps it again.

    Else the pages of a file that is read once, front to back, count as the process's own.
    """
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def append_raw(path: Path, values: Array, kind: np.dtype[Any]) -> None:
    """Opened for each append, so that a build that fails leaves no open file."""
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(values, dtype=kind).data)
