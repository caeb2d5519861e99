"""Columns on disk that grow at the end and are read in pieces: never whole in memory."""

from __future__ import annotations

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
        self._files = {column: path.open("wb") for column, path in self._paths.items()}
        self.size = 0

    def append(self, **columns: Array) -> None:
        for column, kind in self.types.items():
            values = np.ascontiguousarray(columns[column], dtype=kind)
            self._files[column].write(values.data)
        self.size += len(values)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def read(self, column: str, start: int, stop: int) -> Array:
        self._files[column].flush() if not self._files[column].closed else None
        kind = self.types[column]
        return np.fromfile(
            self._paths[column], kind, count=stop - start, offset=start * kind.itemsize
        )

    def pieces(self, *columns: str, size: int = PIECE) -> Iterator[tuple[Array, ...]]:
        for start in range(0, self.size, size):
            stop = min(start + size, self.size)
            yield tuple(self.read(column, start, stop) for column in columns)

    def remove(self) -> None:
        self.close()
        for path in self._paths.values():
            path.unlink()


class NpyWriter:
    """An ``.npy`` file of known length, written front to back."""

    def __init__(self, path: Path, kind: DTypeLike, length: int) -> None:
        self._file, self.kind, self._left = path.open("wb"), np.dtype(kind), length
        header = {"descr": self.kind.str, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: Array) -> None:
        self._file.write(np.ascontiguousarray(values, dtype=self.kind).data)
        self._left -= len(values)

    def close(self) -> None:
        assert self._left == 0, f"{self._file.name}: {self._left} values are missing"
        self._file.close()
