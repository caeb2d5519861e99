"""Texts as numbers without a model: signed hashes of their words and parts of words.

The same text gives the same numbers on every machine: hashes and their sums are whole numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from numpy.typing import NDArray

from kgscale.errors import ConfigError
from kgscale.kernels.compile import compiled

WORD = re.compile(r"\w+")
DIM, SIZES = 256, (3, 4, 5)
LONGEST = 8
"""Characters of the longest part of a word."""
_START, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_BLANK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NGrams:
    """A text as ``dim`` numbers of length 1 in all (Weinberger et al. 2009); zeros without words.

    Words are cut as in fastText (Bojanowski et al. 2017): with a blank at each end, whole and into
    parts of so many characters. Each adds +1 or -1 to one place.
    """

    dim: int = DIM
    sizes: tuple[int, ...] = SIZES
    """Characters of parts; none: whole words alone."""

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= 1 << 16:
            raise ConfigError(f"data.features: dim needs 1 to 65536 numbers, got {self.dim}")
        if not all(1 <= size <= LONGEST for size in self.sizes):
            raise ConfigError(
                f"data.features: ngrams has numbers of characters from 1 to {LONGEST}, or none for"
                f" whole words alone, got {list(self.sizes)}"
            )

    def width(self) -> int:
        return self.dim

    def encode(self, texts: Sequence[str | None]) -> NDArray[np.float32]:
        """A row for each text."""
        letters = [f" {' '.join(words(text))} " if text else "" for text in texts]
        encoded = [np.frombuffer(one.encode("utf-32-le"), np.uint32) for one in letters]
        ends = np.cumsum([0, *(len(one) for one in encoded)])
        counts = np.zeros((len(texts), self.dim), np.int32)
        if ends[-1]:
            _count(np.concatenate(encoded), ends, np.array(self.sizes, np.int64), counts)
        whole = counts.astype(np.int64)
        length = np.sqrt((whole * whole).sum(axis=1, keepdims=True).astype(np.float64))
        return (counts / np.where(length > 0, length, 1.0)).astype(np.float32)


def words(text: str) -> list[str]:
    """Runs of letters and digits, without case and ways of writing (NFKC)."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@compiled
@no_type_check
def _hash(letters, start, stop):
    """FNV-1a over code points, mixed as splitmix64 does: for short texts its own bits are alike."""
    value = _START
    for at in range(start, stop):
        value = (value ^ np.uint64(letters[at])) * _PRIME
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
@no_type_check
def _add(letters, start, stop, row):
    value = _hash(letters, start, stop)
    place = np.int64((value >> np.uint64(1)) % np.uint64(len(row)))
    row[place] += 1 if value & np.uint64(1) else -1


@compiled
@no_type_check
def _count(letters, ends, sizes, counts):
    """Each word with the blanks at its ends, whole and in parts."""
    for text in range(len(counts)):
        start = ends[text]
        for at in range(ends[text] + 1, ends[text + 1]):
            if letters[at] != _BLANK:
                continue
            stop = at + 1
            if stop - start > 2:
                _add(letters, start, stop, counts[text])
                for size in sizes:
                    # A part as long as the word is the word.
                    if size < stop - start:
                        for first in range(start, stop - size + 1):
                            _add(letters, first, first + size, counts[text])
            start = at
