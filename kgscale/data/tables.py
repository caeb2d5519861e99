"""Rows of text columns from a TSV, CSV or Parquet file, in blocks, with line numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.files import UNREADABLE, DataFile, check_growth, unreadable
from kgscale.data.scan import NO_QUOTE, Layout, scan
from kgscale.errors import ConfigError, DataError

Column: TypeAlias = int | str
BLOCK = 1 << 20
"""Bytes read at once; also the longest record."""
ROWS = 1 << 19
"""Rows read at once from Parquet."""
TEXT = 256 << 20
"""Bytes of text that they may have."""
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a table is written; nothing here is ever guessed from the content."""

    columns: tuple[Column, ...] | None = None
    """Positions or names of the wanted columns; ``None``: the only ones there are, in order."""
    header: bool | None = None
    """Whether the first line names the columns; ``None``: if columns are given by name."""
    delimiter: str | None = None
    quote: str | None = None

    def __post_init__(self) -> None:
        for field in ("delimiter", "quote"):
            value = getattr(self, field)
            if value is not None and (len(value.encode()) != 1 or value in "\r\n\0"):
                raise ConfigError(f"data.{field} must be one ASCII character, got {value!r}")
        if self.columns is not None and len({type(column) for column in self.columns}) > 1:
            raise ConfigError(
                f"data.columns must be all positions or all names, got {list(self.columns)}"
            )
        if self.by_name and self.header is False:
            raise ConfigError(
                f"data.columns gives names {list(self.columns or ())}, which needs a header line: "
                "set data.header=true or give positions"
            )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Format:
        """From what settings say of it, among other things.

        Raises:
            ConfigError: one of them is of another kind.
        """
        form = {key.name: options.get(key.name) for key in fields(cls)}
        for name, kind, words in (
            ("columns", list | tuple, "a list of positions or names"),
            ("header", bool, "true or false"),
            ("delimiter", str, "one character"),
            ("quote", str, "one character"),
        ):
            if form[name] is not None and not isinstance(form[name], kind):
                raise ConfigError(f"{name} of {options.get('path')} is {words}, got {form[name]!r}")
        columns = form.pop("columns")
        return cls(columns=None if columns is None else tuple(columns), **form)

    @property
    def by_name(self) -> bool:
        return bool(self.columns) and isinstance((self.columns or ("",))[0], str)

    @property
    def has_header(self) -> bool:
        return self.by_name if self.header is None else self.header


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Accepted rows of the wanted columns."""

    columns: list[pa.Array]
    line: NDArray[np.int64]


def read_rows(
    file: DataFile, form: Format, audit: Audit, *, width: int, optional: int = 0
) -> Iterator[Rows]:
    """All rows of ``width`` columns; the audit hears of every line that is not among them.

    In the last ``optional`` columns a field may be empty.
    """
    reader = _parquet_rows if file.is_parquet else _text_rows
    try:
        yield from reader(file, form, audit, width, optional)
    except UNREADABLE as error:
        raise unreadable(file.path, error) from error


def count_columns(file: DataFile, form: Format) -> int:
    """How many columns are wanted: as many as were chosen, else as the first line has."""
    return len(column_names(file, form) if form.columns is None else form.columns)


def column_names(file: DataFile, form: Format) -> list[str]:
    """Those of Parquet, or the fields of the first line."""
    try:
        if file.is_parquet:
            with opened_parquet(file) as table:
                return list(table.schema_arrow.names)
        with file.open() as stream:
            start = stream.read(BLOCK).removeprefix(BOM)
    except UNREADABLE as error:
        raise unreadable(file.path, error) from error
    return _fields(start, file.delimiter(form.delimiter), form.quote)[0]


def _text_rows(
    file: DataFile, form: Format, audit: Audit, width: int, optional: int
) -> Iterator[Rows]:
    name, line = file.path.name, 1
    layout: Layout | None = None
    with file.open() as stream:
        pending = stream.read(BLOCK)
        if pending.startswith(BOM):
            audit.note(f"{name}: the UTF-8 byte order mark at its start is not part of the data")
            pending = pending[len(BOM) :]
        final = False
        while not final:
            more = stream.read(BLOCK)
            final = not more
            if layout is None:
                layout, used = _layout(file, form, pending, width, optional)
                line, pending = line + bool(used), pending[used:]
            found = scan(pending, layout, first_line=line, final=final)
            for at, reason, text in found.rejected:
                audit.reject(name, at, reason, text)
            audit.accept(len(found.line))
            yield Rows(columns=found.columns, line=found.line)
            line += found.lines
            if found.consumed or len(pending) <= BLOCK or final:
                pending = pending[found.consumed :] + more
                continue
            if form.quote:
                raise DataError(
                    f"{file.path} line {line} is longer than {BLOCK >> 20} MiB: a quote that is "
                    "never closed? If quotes are data, leave data.quote out"
                )
            audit.reject(name, line, _too_long(), _text(pending))
            pending, line = _after_line(more, stream), line + 1


def _too_long() -> str:
    return f"longer than {BLOCK >> 20} MiB"


def _text(record: bytes) -> str:
    """The beginning of a rejected record."""
    return record[:200].decode("utf-8", "replace")


def _after_line(block: bytes, stream: pa.NativeFile) -> bytes:
    """What comes after the end of the line that ``block`` is in the middle of."""
    while block:
        _, newline, rest = block.partition(b"\n")
        if newline:
            more: bytes = stream.read(BLOCK)
            return rest + more
        block = stream.read(BLOCK)
    return b""


def _layout(
    file: DataFile, form: Format, start: bytes, width: int, optional: int
) -> tuple[Layout, int]:
    """The layout, and how many bytes the header takes."""
    delimiter = file.delimiter(form.delimiter)
    cut = {
        "delimiter": ord(delimiter),
        "quote": ord(form.quote) if form.quote else NO_QUOTE,
        "optional": optional,
    }
    if not form.has_header:
        wanted = positions(file, form, None, width)
        most = width if form.columns is None else np.iinfo(np.int64).max
        return Layout(**cut, wanted=wanted, least=max(wanted) + 1, most=most), 0
    names, used = _fields(start, delimiter, form.quote)
    wanted = positions(file, form, names, width)
    return Layout(**cut, wanted=wanted, least=len(names), most=len(names)), used


def _fields(start: bytes, delimiter: str, quote: str | None) -> tuple[list[str], int]:
    """The fields of the first line, and its size in bytes."""
    used = start.find(b"\n") + 1 or len(start)
    line = start[:used].removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
    if quote is None:
        return line.split(delimiter), used
    fields, parts, inside = [], list[str](), False
    for part in line.split(delimiter):
        parts.append(part)
        # A delimiter after an odd number of quotes is inside them.
        inside ^= parts[0].startswith(quote) and part.count(quote) % 2 == 1
        if not inside:
            fields.append(_unquote(delimiter.join(parts), quote))
            parts = []
    return fields + [delimiter.join(parts)] * bool(parts), used


def _unquote(name: str, quote: str) -> str:
    if len(name) > 1 and name[0] == name[-1] == quote:
        return name[1:-1].replace(quote * 2, quote)
    return name


def positions(file: DataFile, form: Format, names: list[str] | None, width: int) -> tuple[int, ...]:
    columns = form.columns
    if columns is None:
        if names is not None and len(names) != width:
            raise DataError(
                f"{file.path} line 1 has {len(names)} columns ({', '.join(names)}) "
                f"where {width} are needed: choose them with data.columns"
            )
        return tuple(range(width))
    if len(columns) != width or len(set(columns)) != width:
        raise ConfigError(f"data.columns needs {width} different columns, got {list(columns)}")
    if not form.by_name:
        positions = tuple(int(column) for column in columns)
        if min(positions) < 0 or (names is not None and max(positions) >= len(names)):
            raise DataError(
                f"{file.path} has no column {max(positions, key=lambda at: (at < 0, at))}: "
                "columns count from 0"
            )
        return positions
    missing = [column for column in columns if column not in (names or [])]
    if missing:
        raise DataError(
            f"{file.path} has no column {missing[0]!r} but {', '.join(map(repr, names or []))}: "
            "name one of these"
        )
    return tuple((names or []).index(str(column)) for column in columns)


@contextmanager
def opened_parquet(file: DataFile) -> Iterator[pq.ParquetFile]:
    if file.compression:
        raise ConfigError(f"{file.path}: Parquet is compressed inside, unpack it first")
    with file.open() as check:
        check.read(1)
    with pq.ParquetFile(file.path, memory_map=False) as table:
        yield table


def parquet_columns(file: DataFile, form: Format, names: list[str], width: int) -> list[str]:
    """The wanted ones.

    Raises:
        DataError: two have one name, by which Parquet's columns are read.
    """
    wanted = [names[at] for at in positions(file, form, names, width)]
    for name in wanted:
        if names.count(name) > 1:
            raise DataError(f"{file.path}: two columns are called {name!r}: rename one of them")
    return wanted


def _parquet_rows(
    file: DataFile, form: Format, audit: Audit, width: int, optional: int
) -> Iterator[Rows]:
    name, row = file.path.name, 1
    with opened_parquet(file) as table:
        wanted = parquet_columns(file, form, list(table.schema_arrow.names), width)
        for columns in _parts(file, table, wanted):
            for at in range(width - optional, width):
                columns[at] = pc.fill_null(columns[at], "")
            yield _sound(columns, name, row, audit, width - optional)
            row += len(columns[0])


def _parts(file: DataFile, table: pq.ParquetFile, columns: list[str]) -> Iterator[list[pa.Array]]:
    """Columns of text, as many rows at once as ``TEXT`` bytes hold of the longest.

    Raises:
        DataError: a small file says a long text again and again.
    """
    packed, made = file.path.stat().st_size, 0
    texts = [column for column in columns if _is_text(table.schema_arrow.field(column).type)]
    with pq.ParquetFile(file.path, read_dictionary=texts, memory_map=False) as repeating:
        for group in range(table.num_row_groups):
            # Of all columns: to ask for one of a damaged file would end the process (Arrow).
            about = table.metadata.row_group(group)
            rows, size = about.num_rows, about.total_byte_size
            check_growth(str(file.path), packed, size)
            most = max(_longest(repeating, group, texts), size // max(1, rows), 1)
            fits = max(1, min(ROWS, TEXT // most))
            for batch in table.iter_batches(fits, row_groups=[group], columns=columns):
                rows -= len(batch)
                found = [text_column(batch.column(column), file, column) for column in columns]
                made += sum(column.nbytes for column in found)
                check_growth(str(file.path), packed, made)
                yield found
            if rows:
                raise DataError(f"{file.path} is damaged: row group {group} lacks {rows} rows")


def _longest(repeating: pq.ParquetFile, group: int, texts: list[str]) -> int:
    """Bytes of the longest text that a row group can repeat.

    What is repeated stands in a dictionary, which comes with the first row.
    """
    if not texts or not repeating.metadata.row_group(group).num_rows:
        return 0
    first = next(repeating.iter_batches(1, row_groups=[group], columns=texts), None)
    # A damaged file may promise rows that it has not.
    lengths = [
        pc.max(pc.binary_length(one.dictionary)).as_py() or 0
        for one in (first.columns if first is not None else ())
        if pa.types.is_dictionary(one.type)
    ]
    return max(lengths, default=0)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return any(is_kind(kind) for is_kind in types)


def text_column(column: pa.Array, file: DataFile, name: str) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_string(kind):
        return column
    raise DataError(
        f"{file.path} column {name!r} has type {kind}: keys must be text or whole numbers"
    )


def number_in(text: str | None) -> float:
    """The number that is written there, blanks around it aside; NaN if it is none."""
    # Python's own literals take more: 1_000, and digits of other scripts.
    if not text or "_" in text or not text.isascii():
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def _garbled(column: pa.Array) -> NDArray[np.bool_]:
    """Which texts of Parquet are none."""
    found = np.zeros(len(column), bool)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        for at, field in enumerate(column.cast(pa.binary())):
            try:
                (field.as_py() or b"").decode()
            except UnicodeDecodeError:
                found[at] = True
    return found


def _sound(columns: list[pa.Array], name: str, first: int, audit: Audit, needed: int) -> Rows:
    """Only rows whose first ``needed`` fields are there and all could stand in a text file."""
    empty = np.zeros(len(columns[0]), bool)
    nul = np.zeros_like(empty)
    for place, column in enumerate(columns):
        if place < needed:
            empty |= np.asarray(pc.fill_null(pc.equal(pc.binary_length(column), 0), True))
        nul |= np.asarray(pc.fill_null(pc.match_substring(column, "\0"), False))
    long = np.zeros_like(empty)
    garbled = np.zeros_like(empty)
    for column in columns:
        long |= np.asarray(pc.fill_null(pc.greater(pc.binary_length(column), BLOCK), False))
        garbled |= _garbled(column)
    bad = empty | nul | long | garbled
    reasons = {"empty field": empty, "NUL byte": nul, _too_long(): long, "invalid UTF-8": garbled}
    for at in np.flatnonzero(bad):
        reason = next(reason for reason, rows in reasons.items() if rows[at])
        fields = (column[int(at)].as_buffer() for column in columns)
        text = "\t".join(_text(field.to_pybytes()) if field else "" for field in fields)
        audit.reject(name, first + int(at), reason, text)
    line = first + np.flatnonzero(~bad)
    audit.accept(len(line))
    if bad.any():
        columns = [column.filter(pa.array(~bad)) for column in columns]
    return Rows(columns=columns, line=line.astype(np.int64))
