"""Tables that describe entities by name of column: numbers, categories and texts, some missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.described import Described, Part
from kgscale.data.files import UNREADABLE, DataFile, unreadable
from kgscale.data.matrices import DenseMatrix
from kgscale.data.parts import NO_LEVEL, CategoryPart, NumberPart, VectorPart
from kgscale.data.spool import append_raw
from kgscale.data.tables import (
    Column,
    Format,
    column_names,
    number_in,
    opened_parquet,
    parquet_columns,
    read_rows,
    text_column,
)
from kgscale.errors import ConfigError, DataError

ALL = "all"
LEVELS = 100
ROWS = 1 << 14
"""Rows of Parquet read at once."""
MOST_LEVELS = 1 << 20
"""Different texts of a column that may still be categories."""


@runtime_checkable
class TextEncoder(Protocol):
    """Texts as rows of numbers."""

    def width(self) -> int:
        """Numbers of a row."""
        ...

    def encode(self, texts: Sequence[str | None]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFile:
    """A row for each key; columns by their names in the first line, or by position from 0."""

    path: Path
    header: bool | None = None
    delimiter: str | None = None
    quote: str | None = None
    key: Column | None = None
    """The column of keys; ``None``: the first."""
    numbers: tuple[Column, ...] = ()
    """``("all",)``: all columns but the key."""
    categories: tuple[Column, ...] = ()
    text: tuple[Column, ...] = ()
    levels: int = LEVELS
    """Levels of a category that get a column, the most frequent."""
    encoder: TextEncoder
    told: tuple[str | int, ...] = field(default=())
    """The settings of the encoder."""
    type: str | None = None
    """The storage type that all keys must have."""

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ConfigError(f"data.features: levels needs at least 1, got {self.levels}")
        if ALL in self.numbers and (self.categories or self.text or len(self.numbers) > 1):
            raise ConfigError(
                "data.features: numbers: all leaves no column for categories or text: "
                "name the columns of numbers"
            )
        named = [*self.numbers, *self.categories, *self.text]
        for name in named:
            if named.count(name) > 1 or name == self.key:
                raise ConfigError(f"data.features: the column {name!r} has two uses: leave it one")

    def digest(self) -> str:
        return DataFile(self.path).digest()

    def settings(self) -> list[Any]:
        known = ("header", "delimiter", "quote", "key", "numbers", "categories", "text", "levels")
        mine = {name: getattr(self, name) for name in known}
        return [DataFile(self.path).kind, mine, list(self.told), self.type]

    @property
    def paths(self) -> list[Path]:
        return [self.path]

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Described:
        """What the columns hold; ``add`` gets the keys, in order. Copies go to ``scratch``."""
        scratch.mkdir()
        form, names = self._format()
        levels: list[dict[str, int]] = [{} for _ in self.categories]
        rows, numbers = 0, len(names) - len(self.categories) - len(self.text)
        for chunk in _chunks(DataFile(self.path), form):
            add(chunk.key)
            rows += len(chunk.key)
            places = iter(range(len(chunk.columns)))
            found = [chunk.numbers(next(places)) for _ in range(numbers)]
            if found:
                append_raw(scratch / "numbers.raw", np.stack(found, axis=1), FLOAT)
            for at, known in enumerate(levels):
                append_raw(scratch / f"category-{at}.raw", chunk.codes(next(places), known), CODE)
            for at, place in enumerate(places):
                vectors = self.encoder.encode(chunk.texts(place).to_pylist())
                append_raw(scratch / f"text-{at}.raw", vectors, VECTOR)
        if not rows:
            raise DataError(f"{self.path} is empty: it needs a key and what describes it per line")
        return Described(rows, self._parts(scratch, rows, names[:numbers], levels))

    def _parts(
        self, scratch: Path, rows: int, numbers: Sequence[Column], levels: list[dict[str, int]]
    ) -> list[Part]:
        def matrix(name: str, kind: np.dtype[Any], width: int) -> DenseMatrix:
            return DenseMatrix(
                self.path, np.memmap(scratch / f"{name}.raw", kind, "r", shape=(rows, width))
            )

        parts: list[Part] = []
        if numbers:
            parts.append(NumberPart(matrix("numbers", FLOAT, len(numbers)), tuple(numbers)))
        for at, (name, known) in enumerate(zip(self.categories, levels, strict=True)):
            code = np.memmap(scratch / f"category-{at}.raw", CODE, "r", shape=(rows,))
            parts.append(CategoryPart(code, list(known), self.levels, name))
        for at, name in enumerate(self.text):
            vectors = matrix(f"text-{at}", VECTOR, self.encoder.width())
            parts.append(VectorPart(vectors, (name,), self.told))
        return parts

    def _format(self) -> tuple[Format, list[Column]]:
        """With the key and all columns that are used; and what these are called."""
        used = [*self.numbers, *self.categories, *self.text]
        everything = used == [ALL]
        chosen = [self.key] if everything else [self.key, *used]
        by_name = any(isinstance(name, str) for name in chosen)
        header = by_name if self.header is None else self.header
        form = Format(header=header, delimiter=self.delimiter, quote=self.quote)
        names = column_names(DataFile(self.path), form)
        key: Column = self.key if self.key is not None else names[0] if by_name else 0
        if everything:
            place = names.index(key) if key in names else key
            if not isinstance(place, int):
                raise DataError(
                    f"{self.path} has no column {key!r} but {', '.join(map(repr, names))}: "
                    "set key in data.features"
                )
            others = [at for at in range(len(names)) if at != place]
            key, used = place, [*others]
            if (header or DataFile(self.path).is_parquet) and len({*names}) == len(names):
                return replace(form, columns=(key, *used)), [names[at] for at in others]
        if key in used:
            raise ConfigError(
                f"data.features: the column {key!r} has the keys of {self.path} and can't be used"
                " beside: leave it out, or set key to another"
            )
        return replace(form, columns=(key, *used)), used


FLOAT, CODE, VECTOR = np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Some rows; a column is as the file has it, text or of Parquet's types."""

    file: DataFile
    names: Sequence[Column]
    """Of the columns beside the key."""
    key: pa.Array
    columns: list[pa.Array]
    unit: str
    line: NDArray[np.int64]

    def numbers(self, at: int) -> NDArray[np.float64]:
        """NaN where there is none."""
        column = self.columns[at]
        numbers = as_numbers(column)
        if numbers is None:
            raise DataError(
                f"{self.file.path} column {self.names[at]!r} has type {column.type}: numbers are "
                "whole or real; give it as categories or text"
            )
        missing = np.asarray(column.is_null())
        if pa.types.is_string(column.type):
            missing = missing | np.asarray(pc.fill_null(pc.equal(column, ""), True))
        elif pa.types.is_floating(column.type):
            missing = missing | np.isnan(numbers)
        wrong = np.flatnonzero(~missing & ~sound(numbers))
        if len(wrong):
            first = int(wrong[0])
            raise DataError(
                f"{self.file.path} {self.unit} {self.line[first]} column {self.names[at]!r}: "
                f"{column[first].as_py()!r} is no finite number (of float32): correct it, leave it"
                " empty where it is missing, or give the column as categories or text"
            )
        return np.where(missing, np.nan, numbers)

    def codes(self, at: int, levels: dict[str, int]) -> NDArray[np.int32]:
        """Of each row its level; new ones are added to ``levels``."""
        found = self.texts(at).dictionary_encode()
        mine = [levels.setdefault(level, len(levels)) for level in found.dictionary.to_pylist()]
        if len(levels) > MOST_LEVELS:
            raise DataError(
                f"{self.file.path} column {self.names[at]!r} has more than {MOST_LEVELS:,} "
                "different values, which are no categories: give it as text"
            )
        place = np.asarray(pc.fill_null(found.indices, len(mine)))
        codes: NDArray[np.int32] = np.array([*mine, NO_LEVEL], np.int32)[place]
        return codes

    def texts(self, at: int) -> pa.Array:
        """Null where there is none."""
        column = self.columns[at]
        if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
            column = column.cast(pa.string())
        if pa.types.is_floating(column.type):
            raise DataError(
                f"{self.file.path} column {self.names[at]!r} has type {column.type}: categories and"
                " texts are text or whole numbers; give it as numbers"
            )
        column = text_column(column, self.file, str(self.names[at]))
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def as_numbers(column: pa.Array) -> NDArray[np.float64] | None:
    """NaN where there is none; ``None`` if the column's type has no numbers."""
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_string(kind):
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        try:
            column = column.cast(pa.float64())
        except pa.ArrowInvalid:
            return np.array([number_in(text.as_py()) for text in column], np.float64)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan), np.float64)


def sound(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of them a store can hold."""
    return np.asarray(np.abs(numbers) <= np.finfo(np.float32).max)


def _chunks(file: DataFile, form: Format) -> Iterator[_Chunk]:
    assert form.columns is not None
    width = len(form.columns)
    names = form.columns[1:]
    if not file.is_parquet:
        for key, columns, line in strict_rows(file, form, width=width, optional=width - 1):
            yield _Chunk(file=file, names=names, key=key, columns=columns, unit="line", line=line)
        return
    row = 1
    try:
        with opened_parquet(file) as table:
            wanted = parquet_columns(file, form, list(table.schema_arrow.names), width)
            for batch in table.iter_batches(ROWS, columns=wanted):
                key, *columns = (plain(batch.column(name)) for name in wanted)
                key = text_column(key, file, wanted[0])
                for column in (key, *columns):
                    column.validate(full=True)  # text that is none
                if key.null_count:
                    at = int(np.flatnonzero(np.asarray(key.is_null()))[0])
                    raise DataError(
                        f"{file.path} row {row + at} column {wanted[0]!r} is null: "
                        "every row needs a key"
                    )
                line = np.arange(row, row + len(batch))
                yield _Chunk(
                    file=file, names=wanted[1:], key=key, columns=columns, unit="row", line=line
                )
                row += len(batch)
    except UNREADABLE as error:
        raise unreadable(file.path, error) from error


def plain(column: pa.Array) -> pa.Array:
    """Texts of Parquet in one of their several forms."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column


def strict_rows(
    file: DataFile, form: Format, *, width: int, optional: int = 0
) -> Iterator[tuple[pa.Array, list[pa.Array], NDArray[np.int64]]]:
    """Keys, the columns beside them, and lines; a line that can't be used is an error."""
    audit = Audit()
    for rows in read_rows(file, form, audit, width=width, optional=optional):
        for first in audit.first:
            raise DataError(
                f"{file.path} line {first['line']}: {first['reason']}: {first['value']!r}: "
                "every line needs a key and all columns; correct it"
            )
        yield rows.columns[0], rows.columns[1:], rows.line
