"""Rows of text columns from a TSV, CSV or Parquet file, in blocks, with line numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.files import DataFile, unreadable
from kgscale.data.scan import NO_QUOTE, Layout, scan
from kgscale.errors import ConfigError, DataError

Column: TypeAlias = int | str
BLOCK = 4 << 20
"""Bytes read at once; also the longest record."""
ROWS = 1 << 19
"""Rows read at once from Parquet."""
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


def read_rows(file: DataFile, form: Format, audit: Audit, *, width: int) -> Iterator[Rows]:
    """All rows of ``width`` columns; the audit hears of every line that is not among them."""
    reader = _parquet_rows if file.is_parquet else _text_rows
    try:
        yield from reader(file, form, audit, width)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file.path, error) from error


def _text_rows(file: DataFile, form: Format, audit: Audit, width: int) -> Iterator[Rows]:
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
                layout, used = _layout(file, form, pending, width)
                line, pending = line + bool(used), pending[used:]
            found = scan(pending, layout, first_line=line, final=final)
            for at, reason, text in found.rejected:
                audit.reject(name, at, reason, text)
            audit.accept(len(found.line))
            yield Rows(columns=found.columns, line=found.line)
            if not found.consumed and len(pending) > BLOCK:
                raise DataError(
                    f"{file.path} line {line + found.lines} is longer than {BLOCK >> 20} MiB: "
                    "not a table of triples, or a quote that is never closed"
                )
            line += found.lines
            pending = pending[found.consumed :] + more


def _layout(file: DataFile, form: Format, start: bytes, width: int) -> tuple[Layout, int]:
    """The layout, and how many bytes the header takes."""
    cut = {
        "delimiter": ord(file.delimiter(form.delimiter)),
        "quote": ord(form.quote) if form.quote else NO_QUOTE,
    }
    if not form.has_header:
        wanted = _positions(file, form, None, width)
        most = width if form.columns is None else np.iinfo(np.int64).max
        return Layout(**cut, wanted=wanted, least=max(wanted) + 1, most=most), 0
    names, used = _header(start, cut["delimiter"], cut["quote"])
    wanted = _positions(file, form, names, width)
    return Layout(**cut, wanted=wanted, least=len(names), most=len(names)), used


def _header(start: bytes, delimiter: int, quote: int) -> tuple[list[str], int]:
    used = start.find(b"\n") + 1 or len(start)
    line = start[:used].removesuffix(b"\n").removesuffix(b"\r")
    names = line.decode("utf-8", "replace").split(chr(delimiter))
    if quote != NO_QUOTE:
        names = [_unquote(name, chr(quote)) for name in names]
    return names, used


def _unquote(name: str, quote: str) -> str:
    if len(name) > 1 and name[0] == name[-1] == quote:
        return name[1:-1].replace(quote * 2, quote)
    return name


def _positions(
    file: DataFile, form: Format, names: list[str] | None, width: int
) -> tuple[int, ...]:
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
                "data.columns counts from 0"
            )
        return positions
    missing = [column for column in columns if column not in (names or [])]
    if missing:
        raise DataError(
            f"{file.path} has no column {missing[0]!r} but {', '.join(map(repr, names or []))}: "
            "set data.columns"
        )
    return tuple((names or []).index(str(column)) for column in columns)


def _parquet_rows(file: DataFile, form: Format, audit: Audit, width: int) -> Iterator[Rows]:
    if file.compression:
        raise ConfigError(f"{file.path}: Parquet is compressed inside, unpack it first")
    with file.open() as check:
        check.read(1)
    name, row = file.path.name, 1
    with pq.ParquetFile(file.path, memory_map=False) as table:
        names = list(table.schema_arrow.names)
        wanted = [names[at] for at in _positions(file, form, names, width)]
        for batch in table.iter_batches(ROWS, columns=wanted):
            columns = [_text(batch.column(column), file, column) for column in wanted]
            yield _sound(columns, name, row, audit)
            row += len(batch)


def _text(column: pa.Array, file: DataFile, name: str) -> pa.Array:
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


def _sound(columns: list[pa.Array], name: str, first: int, audit: Audit) -> Rows:
    """Only rows whose every field is there and could stand in a text file."""
    empty = np.zeros(len(columns[0]), bool)
    nul = np.zeros_like(empty)
    for column in columns:
        blank = pc.fill_null(pc.equal(pc.binary_length(column), 0), True)
        empty |= np.asarray(blank)
        nul |= np.asarray(pc.fill_null(pc.match_substring(column, "\0"), False))
    bad = empty | nul
    for at in np.flatnonzero(bad):
        text = "\t".join(column[int(at)].as_py() or "" for column in columns)
        audit.reject(name, first + int(at), "empty field" if empty[at] else "NUL byte", text)
    line = first + np.flatnonzero(~bad)
    audit.accept(len(line))
    if bad.any():
        columns = [column.filter(pa.array(~bad)) for column in columns]
    return Rows(columns=columns, line=line.astype(np.int64))
