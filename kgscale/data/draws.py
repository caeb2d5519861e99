"""Random numbers by their place: the ``i``-th is a function of seed, stream and ``i`` alone.

So any part can be made without the others, in any order and in chunks of any size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Bits: TypeAlias = NDArray[np.uint64]


def mix(value: Bits) -> Bits:
    """One step of splitmix64 (Steele et al. 2014): a bijection that looks like chance."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of random numbers, independent of those with another seed or name."""

    seed: int
    name: str

    def bits(self, index: Ints) -> Bits:
        return mix(mix(index.astype(np.uint64)) ^ np.uint64(self._start()))

    def uniform(self, index: Ints) -> NDArray[np.float64]:
        """In [0, 1)."""
        return (self.bits(index) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: int | Ints, index: Ints) -> Ints:
        """Uniform over the whole numbers below ``limit``."""
        return (self.uniform(index) * limit).astype(np.int64)

    def normal(self, row: Ints, dim: int) -> NDArray[np.float32]:
        """Standard normal, ``dim`` numbers for each row (Box and Muller 1958)."""
        half = (dim + 1) // 2
        index = (row[:, None] * half + np.arange(half)) * 2
        # 1 - u is never 0.
        radius = np.sqrt(-2 * np.log1p(-self.uniform(index))).astype(np.float32)
        angle = (2 * np.pi * self.uniform(index + 1)).astype(np.float32)
        both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return both[:, :dim]

    def _start(self) -> int:
        text = f"{self.seed} {self.name}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Shuffle:
    """A bijection of the whole numbers below ``size``, so that an order tells nothing.

    A bijection of all numbers of as many bits, repeated until it is small enough.
    """

    def __init__(self, size: int, stream: Stream) -> None:
        self.size = size
        width = max((size - 1).bit_length(), 1)
        self._shift, self._mask = np.uint64((width + 1) // 2), np.uint64((1 << width) - 1)
        self._keys = stream.bits(np.arange(8))

    def __call__(self, index: Ints) -> Ints:
        value = self._once(index.astype(np.uint64))
        while len(out := np.flatnonzero(value >= self.size)):
            value[out] = self._once(value[out])
        return value.astype(np.int64)

    def _once(self, value: Bits) -> Bits:
        for factor, addend in self._keys.reshape(-1, 2):
            value = (value * (factor | np.uint64(1)) + addend) & self._mask
            value ^= value >> self._shift
        return value
