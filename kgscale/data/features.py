"""Files of numbers that describe entities: arrays, sparse matrices and tables, a row per key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from kgscale.data.audit import Audit
from kgscale.data.described import Described
from kgscale.data.files import DataFile
from kgscale.data.labels import LabelFile
from kgscale.data.matrices import DenseMatrix, Matrix, open_npy, open_npz
from kgscale.data.number_tables import read_numbers
from kgscale.data.parts import NumberPart
from kgscale.data.spool import Array
from kgscale.data.tables import Format, read_rows
from kgscale.errors import ConfigError, DataError

ARRAYS = (".npy", ".npz")
CHUNK = 1 << 16
"""Keys made at once for the rows of an array."""


@runtime_checkable
class Features(Protocol):
    """Rows of numbers that describe entities, from a file or made."""

    @property
    def path(self) -> Path | str:
        """What messages call them."""
        ...

    @property
    def type(self) -> str | None:
        """The storage type that all keys must have."""
        ...

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Matrix | Described:
        """Its rows; ``add`` gets their keys, in order; ``scratch`` is to be made.

        Matrices of one type of entities are rows of one; what is described stands beside them.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedFeatures:
    """A row for each entity of a type whose entities are numbers, in their order."""

    path: Path
    type: str
    load: Callable[[Path], Array]
    """The numbers; what cannot be mapped is copied to the path that is given."""

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Matrix:
        """The matrix; its rows need no keys."""
        scratch.mkdir()
        return DenseMatrix(self.path, self.load(scratch / "rows.raw"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFile:
    """Rows of numbers: a table with a key column, or an array whose rows follow ``keys``."""

    path: Path
    format: Format = field(default_factory=Format)
    keys: LabelFile | None = None
    """One key per line for the rows of an array; without it row ``i`` has the key ``str(i)``."""
    prefix: str = ""
    """Stands before ``str(i)``."""
    type: str | None = None
    """The storage type that all keys must have."""
    scaled: bool = False
    """Whether an array's columns are scaled, and NaN in it is a number that is missing."""

    def __post_init__(self) -> None:
        file = DataFile(self.path)
        array = file.kind in ARRAYS
        if array and file.compression:
            raise ConfigError(f"{self.path}: arrays are read by place, unpack it first")
        if array and self.format != Format():
            raise ConfigError(
                f"data.features: {self.path} is an array, for which columns, header, delimiter "
                "and quote mean nothing"
            )
        if not array and (self.keys or self.prefix):
            raise ConfigError(
                f"data.features: {self.path} is a table, whose keys are its first column: "
                "keys and prefix are for .npy and .npz"
            )
        if self.keys and self.prefix:
            raise ConfigError(f"data.features: {self.path} needs keys or prefix, not both")

    def digest(self) -> str:
        digests = [DataFile(self.path).digest(), self.keys.digest() if self.keys else ""]
        return hashlib.blake2b(" ".join(digests).encode(), digest_size=32).hexdigest()

    def settings(self) -> list[Any]:
        keys = self.keys.settings() if self.keys else None
        kind = DataFile(self.path).kind
        scaled = ["scaled"] if self.scaled else []
        return [kind, asdict(self.format), keys, self.prefix, self.type, *scaled]

    @property
    def paths(self) -> list[Path]:
        return [self.path, self.keys.path] if self.keys else [self.path]

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Matrix | Described:
        """The matrix; ``add`` gets the keys of its rows, in order.

        What cannot be mapped is copied to ``scratch``.
        """
        scratch.mkdir()
        kind = DataFile(self.path).kind
        if kind not in ARRAYS:
            return read_numbers(DataFile(self.path), self.format, scratch / "numbers.raw", add)
        matrix = open_npy(self.path) if kind == ".npy" else open_npz(self.path, scratch)
        for keys in self._array_keys(len(matrix)):
            add(keys)
        if not self.scaled:
            return matrix
        return Described(len(matrix), [NumberPart(matrix, tuple(range(matrix.dim)))])

    def _array_keys(self, rows: int) -> Iterator[pa.Array]:
        if self.keys is None:
            for start in range(0, rows, CHUNK):
                numbers = range(start, min(start + CHUNK, rows))
                yield pa.array([f"{self.prefix}{number}" for number in numbers], pa.string())
            return
        audit, found = Audit(), 0
        for chunk in read_rows(DataFile(self.keys.path), self.keys.format, audit, width=1):
            found += len(chunk.line)
            yield chunk.columns[0]
        # A line left out would shift all that follow.
        for first in audit.first:
            raise DataError(
                f"{self.keys.path} line {first['line']}: {first['reason']}: {first['value']!r}: "
                f"each line must be the key of a row of {self.path}"
            )
        if found != rows:
            raise DataError(
                f"{self.keys.path} has {found:,} keys for the {rows:,} rows of {self.path}: "
                "give one key per row, in the same order"
            )
