"""Tables of a key and numbers, as text or Parquet, copied to one array on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.files import UNREADABLE, DataFile, unreadable
from kgscale.data.matrices import DenseMatrix, Place, narrow
from kgscale.data.spool import Array, append_raw
from kgscale.data.tables import (
    Column,
    Format,
    count_columns,
    number_in,
    opened_parquet,
    parquet_columns,
    read_rows,
    text_column,
)
from kgscale.errors import DataError

BYTES = 8 << 20
"""Of numbers read at once from Parquet."""


def read_numbers(
    file: DataFile, form: Format, copy: Path, add: Callable[[pa.Array], None]
) -> DenseMatrix:
    """The numbers of a table whose first column is a key; ``add`` gets the keys."""
    width = count_columns(file, form)
    if width < 2:
        raise DataError(
            f"{file.path} has {width} column: features need a key and at least one number"
        )
    reader = _from_parquet if file.is_parquet else _from_text
    rows, kind = 0, np.dtype(np.float32)
    for keys, numbers in reader(file, form, width):
        add(keys)
        append_raw(copy, numbers, numbers.dtype)
        rows, kind = rows + len(numbers), numbers.dtype
    if not rows:
        raise DataError(f"{file.path} is empty: it needs a key and numbers per line")
    return DenseMatrix(file.path, np.memmap(copy, kind, "r", shape=(rows, width - 1)))


def _from_text(file: DataFile, form: Format, width: int) -> Iterator[tuple[pa.Array, Array]]:
    audit = Audit()
    names = form.columns or range(width)
    # An empty field is told apart from a broken line: it is a number that is missing.
    for rows in read_rows(file, form, audit, width=width, optional=width - 1):
        for first in audit.first:
            raise DataError(
                f"{file.path} line {first['line']}: {first['reason']}: {first['value']!r}: "
                "features need a key and numbers in every line"
            )
        numbers = np.empty((len(rows.line), width - 1), np.float32)
        for at, column in enumerate(rows.columns[1:]):
            numbers[:, at] = _parsed(column, file, names[at + 1], rows.line)
        yield rows.columns[0], numbers


def _parsed(column: pa.Array, file: DataFile, name: Column, line: NDArray[np.int64]) -> Array:
    try:
        numbers = np.asarray(column.cast(pa.float32()))
    except pa.ArrowInvalid:
        numbers = np.array([number_in(text.as_py()) for text in column], np.float32)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        at = int(bad[0])
        hint = "" if line[at] > 1 else " (or say header: true, if this line names the columns)"
        raise DataError(
            f"{file.path} line {line[at]} column {name!r}: {column[at].as_py()!r} is no finite "
            f"number: features need one in every field{hint}"
        )
    return numbers


def _from_parquet(file: DataFile, form: Format, width: int) -> Iterator[tuple[pa.Array, Array]]:
    row = 1
    try:
        with opened_parquet(file) as table:
            schema = table.schema_arrow
            wanted = parquet_columns(file, form, schema.names, width)
            kind = _common(file, [schema.field(name) for name in wanted[1:]])
            for batch in table.iter_batches(max(1, BYTES // (4 * width)), columns=wanted):
                keys = text_column(batch.column(wanted[0]), file, wanted[0])
                keys.validate(full=True)  # text that is none
                columns = [batch.column(name) for name in wanted[1:]]
                _refuse_null(file, [keys, *columns], wanted, row)
                block = np.stack([column.to_numpy(zero_copy_only=False) for column in columns], 1)
                numbers = narrow(block, kind, partial(_place, file, wanted, row))
                yield keys, numbers
                row += len(batch)
    except UNREADABLE as error:
        raise unreadable(file.path, error) from error


def _common(file: DataFile, columns: list[pa.Field]) -> np.dtype[np.generic]:
    """float16 if all columns are, else float32."""
    for column in columns:
        kind = column.type
        if not (
            pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        ):
            raise DataError(
                f"{file.path} column {column.name!r} has type {kind}: features are numbers, "
                "choose the key and their columns with columns: […]"
            )
    halves = all(pa.types.is_float16(column.type) for column in columns)
    return np.dtype(np.float16 if halves else np.float32)


def _place(file: DataFile, names: list[str], first: int, place: Place) -> str:
    return f"{file.path} row {first + place[0]} column {names[place[1] + 1]!r}"


def _refuse_null(file: DataFile, columns: list[pa.Array], names: list[str], row: int) -> None:
    for name, column in zip(names, columns, strict=True):
        if column.null_count:
            at = int(np.flatnonzero(np.asarray(column.is_null()))[0])
            raise DataError(
                f"{file.path} row {row + at} column {name!r} is null: "
                "features need a key and a number in every field"
            )
