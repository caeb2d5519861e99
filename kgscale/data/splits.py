"""Made splits: seeded, the same for any order of lines, nothing unseen in training.

A pair is all triples between the same two entities, in either direction; it stays on one side,
because a reverse triple gives the answer away. Each pair draws a number from its entities and the
seed. Every entity and every relation keeps the pair with its largest number in training, which
leaves nothing unseen; of the other pairs those with the smallest numbers are held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kgscale.errors import ConfigError

Ints: TypeAlias = NDArray[np.integer]
Draws: TypeAlias = NDArray[np.uint64]
Columns: TypeAlias = tuple[Ints, Ints, Ints]
"""Head, relation, tail."""

TRAIN, VALID, TEST = range(3)
BINS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """Shares of train, valid and test, and the seed of the draw."""

    ratio: tuple[float, float, float] = (0.9, 0.05, 0.05)
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.ratio) != 3 or min(self.ratio) < 0 or abs(sum(self.ratio) - 1) > 1e-6:
            raise ConfigError(
                "data.split needs three shares for train, valid and test that add up to 1, "
                f"got {list(self.ratio)}"
            )
        if self.ratio[0] == 0:
            raise ConfigError(f"data.split leaves nothing to train on: {list(self.ratio)}")


def pair_draw(head: Ints, tail: Ints, *, seed: int) -> Draws:
    """A uniform 64-bit number per triple, the same for all triples of a pair (splitmix64)."""
    low = np.minimum(head, tail).astype(np.uint64)
    high = np.maximum(head, tail).astype(np.uint64)
    start = _mix(np.full(1, seed % (1 << 64), np.uint64))
    return _mix(_mix(low + start) ^ high)


def _mix(value: Draws) -> Draws:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Divider:
    """Decides the split of any triple; built from two passes over all of them."""

    seed: int
    entity_anchor: Draws
    """The draw of the pair that each entity keeps in training."""
    relation_anchor: Draws
    bounds: Draws
    """Free pairs below the first bound are valid, below the second test."""

    def free(self, head: Ints, tail: Ints, draw: Draws) -> NDArray[np.bool_]:
        kept = (draw == self.entity_anchor[head]) | (draw == self.entity_anchor[tail])
        free: NDArray[np.bool_] = ~(kept | np.isin(draw, self.relation_anchor))
        return free

    def __call__(self, head: Ints, tail: Ints) -> NDArray[np.uint8]:
        draw = pair_draw(head, tail, seed=self.seed)
        side = np.array([VALID, TEST, TRAIN], np.uint8)[
            np.searchsorted(self.bounds, draw, side="right")
        ]
        side[~self.free(head, tail, draw)] = TRAIN
        return side


def divide(
    chunks: Callable[[], Iterable[Columns]],
    *,
    num_entities: int,
    num_relations: int,
    valid: int,
    test: int,
    seed: int,
) -> Divider:
    """Hold out at most ``valid`` and ``test`` triples; ``chunks`` gives a fresh pass each time."""
    entity = np.zeros(num_entities, np.uint64)
    relation_anchor = np.zeros(num_relations, np.uint64)
    for head, relation, tail in chunks():
        draw = pair_draw(head, tail, seed=seed)
        np.maximum.at(entity, head, draw)
        np.maximum.at(entity, tail, draw)
        np.maximum.at(relation_anchor, relation, draw)
    start = Divider(seed, entity, relation_anchor, np.zeros(2, np.uint64))
    return Divider(
        seed, entity, relation_anchor, _bounds(start, chunks, np.array([valid, valid + test]))
    )


def _bounds(start: Divider, chunks: Callable[[], Iterable[Columns]], quota: Ints) -> Draws:
    """The largest bounds that hold out no more than ``quota`` triples.

    A histogram finds the bin of each bound, a second pass sorts the draws in that bin alone.
    """

    def draws() -> Iterable[Draws]:
        for head, _, tail in chunks():
            draw = pair_draw(head, tail, seed=start.seed)
            yield draw[start.free(head, tail, draw)]

    shift = np.uint64(64 - BINS.bit_length() + 1)
    count = np.zeros(BINS, np.int64)
    for draw in draws():
        count += np.bincount((draw >> shift).astype(np.int64), minlength=BINS)
    below = np.concatenate([[0], np.cumsum(count)])
    bins = np.clip(np.searchsorted(below, quota, side="right") - 1, 0, BINS - 1)
    inside: list[list[Draws]] = [[], []]
    for draw in draws():
        for found, bin_ in zip(inside, bins, strict=True):
            found.append(draw[(draw >> shift) == np.uint64(bin_)])
    return np.array(
        [
            _bound(np.sort(np.concatenate(found)), int(room), int(bin_) << int(shift))
            for found, room, bin_ in zip(inside, quota - below[bins], bins, strict=True)
        ],
        np.uint64,
    )


def _bound(draws: Draws, room: int, floor: int) -> int:
    """The smallest draw that does not fit: pairs are taken whole, in the order of their draws."""
    if room >= len(draws):
        return int(draws[-1]) + 1 if len(draws) else floor
    return int(draws[room])
