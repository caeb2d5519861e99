"""Keys to small numbers in memory, a generation at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, no_type_check

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.kernels.compile import compiled, prefetch

Array: TypeAlias = NDArray[Any]
Full: TypeAlias = Callable[[pa.Array], None]

MAX_KEYS = 1 << 22
MAX_BYTES = 1 << 27
"""Distinct keys, and their bytes, that are held at once; then a new generation begins."""
FIRST_KEYS, FIRST_BYTES = 1 << 12, 1 << 16
EMPTY, NUMBER = -1, 0xFFFFFFFF
TILE = 64
"""Rows whose memory is asked for together."""


class Interner:
    """A hash table of keys that never outgrows its limits.

    When it is full its keys are handed to ``full`` and it starts anew: a key that comes back gets
    a second number. A graph whose keys fit is thus encoded in one generation, and a larger one
    still costs no more memory.
    """

    def __init__(self, full: Full, *, max_keys: int = MAX_KEYS, max_bytes: int = MAX_BYTES) -> None:
        self._full, self._max_keys, self._max_bytes = full, max_keys, max_bytes
        self._first = 0
        """Number of the generation's first key."""
        self._clear()

    def _clear(self) -> None:
        keys, size = min(FIRST_KEYS, self._max_keys), min(FIRST_BYTES, self._max_bytes)
        self._table = np.full(2 * _power_of_two(keys), EMPTY, np.int64)
        self._ends, self._bytes = np.zeros(keys + 1, np.int32), np.empty(size, np.uint8)
        self._count = 0

    @property
    def size(self) -> int:
        """Numbers given so far."""
        return self._first + self._count

    def encode(self, column: pa.Array) -> NDArray[np.int64]:
        """The number of each key."""
        offsets, values = _buffers(column)
        found = np.empty(len(column), np.int64)
        done = 0
        while True:
            rows, self._count = _intern(
                values,
                offsets[done:],
                found[done:],
                (self._table, self._ends, self._bytes),
                self._count,
                self._first,
            )
            done += rows
            if done == len(column):
                return found
            self._make_room(int(offsets[done + 1] - offsets[done]))

    def _make_room(self, size: int) -> None:
        used = int(self._ends[self._count])
        if self._count == len(self._ends) - 1:
            if self._count >= self._max_keys:
                return self.flush()
            self._ends = np.resize(self._ends, min(2 * self._count, self._max_keys) + 1)
            self._table = np.full(2 * _power_of_two(len(self._ends) - 1), EMPTY, np.int64)
            _rehash(self._table, self._ends, self._bytes, self._count)
        if used + size > len(self._bytes):
            if self._count and used + size > self._max_bytes:
                return self.flush()
            self._bytes = np.resize(self._bytes, max(2 * len(self._bytes), used + size))
        return None

    def flush(self) -> None:
        """Hand over the keys of this generation, in the order of their numbers."""
        if self._count:
            offsets = pa.py_buffer(self._ends[: self._count + 1])
            values = pa.py_buffer(self._bytes[: self._ends[self._count]])
            buffers = [None, offsets, values]
            self._full(pa.Array.from_buffers(pa.string(), self._count, buffers))
        self._first += self._count
        self._clear()


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _buffers(column: pa.Array) -> tuple[Array, Array]:
    assert column.type == pa.string()
    assert column.null_count == 0
    _, offsets, values = column.buffers()
    if not len(column):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return bounds, np.frombuffer(values, np.uint8)


@compiled
@no_type_check
def _word(values, at):
    """Eight bytes as one number; written out, it becomes one load."""
    return (
        np.uint64(values[at])
        | np.uint64(values[at + 1]) << np.uint64(8)
        | np.uint64(values[at + 2]) << np.uint64(16)
        | np.uint64(values[at + 3]) << np.uint64(24)
        | np.uint64(values[at + 4]) << np.uint64(32)
        | np.uint64(values[at + 5]) << np.uint64(40)
        | np.uint64(values[at + 6]) << np.uint64(48)
        | np.uint64(values[at + 7]) << np.uint64(56)
    )


@compiled
@no_type_check
def _hash(values, left, right):
    """Multiply and fold, word by word, then byte by byte."""
    code = np.uint64(right - left)
    while left + 8 <= right:
        code = (code ^ _word(values, left)) * np.uint64(0x9E3779B97F4A7C15)
        code ^= code >> np.uint64(32)
        left += 8
    while left < right:
        code = (code ^ np.uint64(values[left])) * np.uint64(0x100000001B3)
        left += 1
    code *= np.uint64(0x9E3779B97F4A7C15)
    return code ^ (code >> np.uint64(32))


@compiled
@no_type_check
def _tag(code):
    """The upper hash bits, which stand beside the key's number in the table."""
    return np.int64((code >> np.uint64(33)) << np.uint64(32))


@compiled
@no_type_check
def _same(values, left, held, start, size):
    at = 0
    while at < size and values[left + at] == held[start + at]:
        at += 1
    return at == size


@compiled
@no_type_check
def _look_ahead(codes, table, ends, held):
    """Ask for all that a tile of rows will compare, stage by stage: the waits overlap."""
    mask = np.uint64(len(table) - 1)
    for code in codes:
        prefetch(table, np.int64(code & mask))
    for code in codes:
        entry = table[code & mask]
        if entry != EMPTY:
            prefetch(ends, entry & NUMBER)
    for code in codes:
        entry = table[code & mask]
        if entry != EMPTY:
            prefetch(held, np.int64(ends[entry & NUMBER]))


@compiled
@no_type_check
def _find(code, size, values, left, space):
    """The place in the table of an equal key, or of the first gap."""
    table, ends, held = space
    mask = np.uint64(len(table) - 1)
    place = code & mask
    while True:
        entry = table[place]
        if entry == EMPTY:
            return place
        number = entry & NUMBER
        start = ends[number]
        alike = entry - number == _tag(code) and ends[number + 1] - start == size
        if alike and _same(values, left, held, start, size):
            return place
        place = (place + np.uint64(1)) & mask


@compiled
@no_type_check
def _intern(values, offsets, found, space, count, first):
    """Number rows until all are done or there is no room; returns rows done and keys held."""
    table, ends, held = space
    codes = np.empty(TILE, np.uint64)
    for tile in range(0, len(found), TILE):
        rows = min(TILE, len(found) - tile)
        for i in range(rows):
            codes[i] = _hash(values, offsets[tile + i], offsets[tile + i + 1])
        _look_ahead(codes[:rows], table, ends, held)
        for i in range(rows):
            left, size = offsets[tile + i], offsets[tile + i + 1] - offsets[tile + i]
            place = _find(codes[i], size, values, left, space)
            if table[place] == EMPTY:
                start = ends[count]
                if count == len(ends) - 1 or start + size > len(held):
                    return tile + i, count
                for at in range(size):
                    held[start + at] = values[left + at]
                table[place] = _tag(codes[i]) | np.int64(count)
                count += 1
                ends[count] = start + size
            found[tile + i] = first + (table[place] & NUMBER)
    return len(found), count


@compiled
@no_type_check
def _rehash(table, ends, held, count):
    mask = np.uint64(len(table) - 1)
    for number in range(count):
        code = _hash(held, ends[number], ends[number + 1])
        place = code & mask
        while table[place] != EMPTY:
            place = (place + np.uint64(1)) & mask
        table[place] = _tag(code) | np.int64(number)
