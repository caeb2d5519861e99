"""Cut bytes into fields: ``\\n`` ends a line, one ``\\r`` right before it belongs to the line end.

Everything else is data: a lone ``\\r``, blanks, ``NA``, and quotes unless a quote is set. A quoted
field may hold delimiters, line ends and doubled quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, no_type_check

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.kernels.compile import compiled

Bytes: TypeAlias = NDArray[np.uint8]

REASONS = (
    "",
    "blank line",
    "too few columns",
    "too many columns",
    "empty field",
    "NUL byte",
    "invalid UTF-8",
    "quote not closed",
    "text after a closing quote",
)
_BLANK, _FEW, _MANY, _EMPTY, _NUL, _UTF8, _OPEN_QUOTE, _AFTER_QUOTE = range(1, 9)
_NEWLINE, _RETURN, _HIGH = 10, 13, 0x80
NO_QUOTE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which fields of a line are wanted, and how lines are cut."""

    delimiter: int
    quote: int = NO_QUOTE
    wanted: tuple[int, ...]
    least: int
    """Fewest columns a line may have."""
    most: int
    optional: int = 0
    """So many of the last wanted fields may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The records of one block."""

    columns: list[pa.Array]
    """Accepted rows of the wanted columns."""
    line: NDArray[np.int64]
    """Line number of each accepted row."""
    rejected: list[tuple[int, str, str]]
    """Line number, reason, text."""
    consumed: int
    """Bytes used; the rest is an unfinished record."""
    lines: int


def scan(block: bytes | bytearray, layout: Layout, *, first_line: int, final: bool) -> Scanned:
    """Cut a block that starts at the beginning of a record."""
    data = np.frombuffer(block, np.uint8)
    capacity = block.count(b"\n") + 1
    clean = not len(data) or (data.max() < _HIGH and data.min() > 0)
    start = np.empty((len(layout.wanted), capacity), np.int32)
    end, line = np.empty_like(start), np.empty(capacity, np.int32)
    status = np.empty(capacity, np.uint8)
    slot = np.full(max(layout.wanted) + 1, -1, np.int64)
    slot[list(layout.wanted)] = np.arange(len(layout.wanted))
    rows, consumed, lines = _scan(
        data,
        final,
        bool(clean),
        (layout.delimiter, layout.quote, layout.least, layout.most, len(start) - layout.optional),
        slot,
        (start, end, line, status),
    )
    start, end, line, status = start[:, :rows], end[:, :rows], line[:rows], status[:rows]
    good = status == 0
    return Scanned(
        columns=_gather(data, start, end, good, layout.quote),
        line=line[good].astype(np.int64) + first_line,
        rejected=_rejected(block, line, status, consumed, first_line),
        consumed=int(consumed),
        lines=int(lines),
    )


def _gather(
    data: Bytes,
    start: NDArray[np.int32],
    end: NDArray[np.int32],
    good: NDArray[np.bool_],
    quote: int,
) -> list[pa.Array]:
    everything = bool(good.all())
    columns = []
    for left, right in zip(start, end, strict=True):
        if not everything:
            left, right = left[good], right[good]
        offsets = np.empty(len(left) + 1, np.int32)
        values = np.empty(int((right - left).sum(dtype=np.int64)), np.uint8)
        _copy(data, left, right, quote, offsets, values)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values[: offsets[-1]])]
        columns.append(pa.Array.from_buffers(pa.string(), len(left), buffers))
    return columns


def _rejected(
    block: bytes | bytearray,
    line: NDArray[np.int32],
    status: NDArray[np.uint8],
    consumed: int,
    first_line: int,
) -> list[tuple[int, str, str]]:
    bad = np.flatnonzero(status)
    if not len(bad):
        return []
    ends = np.flatnonzero(np.frombuffer(block, np.uint8)[:consumed] == _NEWLINE)
    begins = np.concatenate([[0], ends + 1])
    texts: Sequence[bytes] = [bytes(block[begins[at] : begins[at] + 200]) for at in line[bad]]
    return [
        (first_line + int(at), REASONS[reason], text.split(b"\n")[0].decode("utf-8", "replace"))
        for at, reason, text in zip(line[bad], status[bad], texts, strict=True)
    ]


@compiled
@no_type_check
def _field_end(data, position, delimiter):
    while position < len(data) and data[position] != delimiter and data[position] != _NEWLINE:
        position += 1
    return position


@compiled
@no_type_check
def _quote_end(data, position, quote):
    """The closing quote at or after ``position``; a doubled quote closes nothing."""
    while position < len(data):
        if data[position] == quote:
            if position + 1 == len(data) or data[position + 1] != quote:
                return position
            position += 1
        position += 1
    return len(data)


@compiled
@no_type_check
def _flaw(data, begin, end):
    """NUL bytes and broken UTF-8 (the table of well-formed sequences, Unicode 3.9)."""
    high = 0
    least = 255
    for position in range(begin, end):
        high |= data[position]
        least = min(least, data[position])
    if least == 0:
        return _NUL
    if high < _HIGH:
        return 0
    position = begin
    while position < end:
        lead = data[position]
        position += 1
        if lead < _HIGH:
            continue
        low, top = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            low = 0xA0 if lead == 0xE0 else 0x80
            top = 0x9F if lead == 0xED else 0xBF
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            low = 0x90 if lead == 0xF0 else 0x80
            top = 0x8F if lead == 0xF4 else 0xBF
        else:
            return _UTF8
        for _ in range(more):
            if position >= end or data[position] < low or data[position] > top:
                return _UTF8
            low, top = 0x80, 0xBF
            position += 1
    return 0


@compiled
@no_type_check
def _ends_line(data, position):
    """Whether a ``\\r`` at ``position`` belongs to the line end."""
    return position + 1 < len(data) and data[position] == _RETURN and data[position + 1] == _NEWLINE


@compiled
@no_type_check
def _scan(data, final, clean, rule, slot, out):
    delimiter, quote, least, most, needed = rule
    start, end, line, status = out
    position = row = lines = 0
    while position < len(data):
        begin = position
        column = reason = 0
        while True:
            left = position
            if quote >= 0 and position < len(data) and data[position] == quote:
                left += 1
                right = _quote_end(data, left, quote)
                position = _field_end(data, min(right + 1, len(data)), delimiter)
                if right == len(data):
                    reason = _OPEN_QUOTE
                elif position > right + 1 and not (
                    position == right + 2 and _ends_line(data, right + 1)
                ):
                    reason = _AFTER_QUOTE
            else:
                right = position = _field_end(data, position, delimiter)
                if right > left and _ends_line(data, right - 1):
                    right -= 1
            if column < len(slot) and slot[column] >= 0:
                start[slot[column], row] = left
                end[slot[column], row] = right
                if left == right and reason == 0 and slot[column] < needed:
                    reason = _EMPTY
            column += 1
            if position >= len(data) or data[position] == _NEWLINE:
                break
            position += 1
        if position >= len(data) and not final:
            return row, begin, lines
        if column == 1 and left == right:
            reason = _BLANK
        elif column < least:
            reason = _FEW
        elif column > most:
            reason = _MANY
        flaw = 0 if clean else _flaw(data, begin, position)
        status[row] = flaw if flaw else reason
        line[row] = lines
        lines += 1
        if quote >= 0:
            for inner in range(begin, position):
                lines += data[inner] == _NEWLINE
        position += 1
        row += 1
    return row, min(position, len(data)), lines


@compiled
@no_type_check
def _copy(data, left, right, quote, offsets, values):
    size = 0
    offsets[0] = 0
    for row in range(len(left)):
        position, stop = left[row], right[row]
        if quote >= 0 and position > 0 and data[position - 1] == quote:
            while position < stop:
                values[size] = data[position]
                size += 1
                position += 2 if data[position] == quote else 1
        else:
            for at in range(position, stop):
                values[size + at - position] = data[at]
            size += stop - position
        offsets[row + 1] = size
