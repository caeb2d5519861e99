"""OGB's tables: text without header in ``.csv.gz``, whose rows are numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from kgscale.data.files import DataFile, unreadable
from kgscale.data.spool import Array, append_raw
from kgscale.errors import DataError

BLOCK = 16 << 20
"""Bytes of text read at once."""


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def _batches(
    path: Path, width: int, kind: pa.DataType, *, header: bool = False
) -> Iterator[pa.RecordBatch]:
    names = [str(at) for at in range(width)]
    with _damage(path), DataFile(path).open() as stream:
        # One thread: only then errors tell the row.
        reader = pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=BLOCK, column_names=names, skip_rows=int(header)
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, kind),
                strings_can_be_null=False,
                null_values=[],
            ),
        )
        yield from reader


def read_integers(path: Path, *, width: int) -> Iterator[NDArray[np.int64]]:
    """Some rows at a time."""
    for batch in _batches(path, width, pa.int64()):
        yield _stacked(path, batch)


def all_integers(path: Path) -> NDArray[np.int64]:
    """A single column."""
    parts = [np.zeros(0, np.int64), *(rows[:, 0] for rows in read_integers(path, width=1))]
    return np.concatenate(parts)


def read_floats(path: Path, *, width: int) -> Iterator[NDArray[np.float32]]:
    for batch in _batches(path, width, pa.float32()):
        yield _stacked(path, batch)


def _stacked(path: Path, batch: pa.RecordBatch) -> Array:
    with _damage(path):
        return np.stack([column.to_numpy() for column in batch.columns], axis=1)


def map_floats(path: Path, copy: Path) -> Array:
    """All rows, copied to a file and mapped; as wide as the first one."""
    width, rows = len(first_row(path)), 0
    for block in read_floats(path, width=width):
        append_raw(copy, block, block.dtype)
        rows += len(block)
    if not rows:
        raise DataError(f"{path} is empty: it needs a row of numbers for each entity")
    return np.memmap(copy, np.float32, "r", shape=(rows, width))


def read_texts(path: Path) -> Iterator[tuple[pa.Array, pa.Array]]:
    """A table with a header, of which only the place of two columns counts: number and text."""
    width = len(first_row(path))
    if width < 2:
        raise DataError(f"{path} has {width} column: it needs a number and a name")
    for batch in _batches(path, width, pa.string(), header=True):
        yield batch.column(0), batch.column(1)


def first_row(path: Path) -> list[str]:
    return next(iter(read_rows(path)), [])


def read_rows(path: Path) -> Iterator[list[str]]:
    """The fields of each row of a small table."""
    with _damage(path), DataFile(path).open() as stream:
        text = (line.decode() for line in _lines(stream))
        yield from csv.reader(text)


def _lines(stream: pa.NativeFile) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > BLOCK:
            raise csv.Error(f"a line of more than {BLOCK >> 20} MiB")
    if rest:
        yield rest


def the_number(path: Path) -> int:
    """The single number of a file."""
    rows = list(read_rows(path))
    if len(rows) != 1 or len(rows[0]) != 1 or not rows[0][0].strip().isdigit():
        raise DataError(f"{path} needs one whole number, got {rows[:2]}: download it again")
    return int(rows[0][0])


def check_range(values: Array, limit: int, where: str, what: str, *, first: int = 0) -> None:
    """Refuse a number that is below 0 or not below ``limit``; ``first`` is that of the rows."""
    if not len(values) or (values.min() >= 0 and values.max() < limit):
        return
    at = int(np.flatnonzero((values < 0) | (values >= limit))[0])
    raise DataError(
        f"{where} row {first + at} (counted from 0) has the {what} {values[at]}, while there are "
        f"{limit:,}: the file is damaged or of another release, download it again"
    )
