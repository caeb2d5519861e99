"""Made splits: seeded, the same for any order of lines, nothing unseen in training.

A pair is all triples between the same two entities, in either direction; it stays on one side,
because a reverse triple gives the answer away. Each pair draws a number from its entities and the
seed. Every entity and every relation keeps the pair with its largest number in training, which
leaves nothing unseen; of the other pairs those with the smallest numbers are held out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kgscale.data.draws import mix
from kgscale.data.spool import Spool
from kgscale.errors import ConfigError

Ints: TypeAlias = NDArray[np.integer]
Draws: TypeAlias = NDArray[np.uint64]
Columns: TypeAlias = tuple[Ints, Ints, Ints]
"""Head, relation, tail."""
Shares: TypeAlias = tuple[float | int, float | int, float | int]
"""Of train, valid and test."""

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
OPEN, NO_SPLIT = 3, 4
"""Of node labels: the split is still to be made, or the label is in none."""
BINS, SHIFT = 1 << 16, np.uint64(48)
LARGEST = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """Shares of train, valid and test, and the seed of the draw."""

    ratio: Shares = (0.9, 0.05, 0.05)
    seed: int = 0

    def __post_init__(self) -> None:
        _check_shares(self.ratio, "data.split")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """How node labels are divided, and which of them may be left out."""

    ratio: Shares = (0.6, 0.2, 0.2)
    seed: int = 0
    drop_unknown: bool = False
    """Leave out labels of keys without facts."""
    drop_rare: bool = False
    """Leave out labels that a single entity has."""
    entities: bool = False
    """Whether labels are keys of entities: triples that join an entity to its own are counted."""
    numbers: bool = False
    """Whether labels are numbers, one for each entity, and splits are made whatever they are."""

    def __post_init__(self) -> None:
        _check_shares(self.ratio, "data.label_split")


def three(shares: Sequence[float | int], name: str) -> Shares:
    """Those of train, valid and test."""
    if len(shares) != 3:
        raise ConfigError(f"data.{name} needs three shares, got {list(shares)}")
    return shares[0], shares[1], shares[2]


def _check_shares(ratio: Shares, setting: str) -> None:
    # NaN is neither too small nor too large.
    if len(ratio) != 3 or not all(0 <= share <= 1 for share in ratio) or abs(sum(ratio) - 1) > 1e-6:
        raise ConfigError(
            f"{setting} needs three shares for train, valid and test that add up to 1, "
            f"got {list(ratio)}"
        )
    if ratio[0] == 0:
        raise ConfigError(f"{setting} leaves nothing to train on: {list(ratio)}")


def pair_draw(head: Ints, tail: Ints, *, seed: int) -> Draws:
    """A uniform 64-bit number per triple, the same for all triples of a pair (splitmix64)."""
    low = np.minimum(head, tail).astype(np.uint64)
    high = np.maximum(head, tail).astype(np.uint64)
    start = mix(np.full(1, seed % (1 << 64), np.uint64))
    return mix(mix(low + start) ^ high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """The pairs that stay in training, by their draws."""

    seed: int
    entity: Draws
    """The draw of the pair that each entity keeps."""
    relation: Draws
    marks: NDArray[np.bool_]
    """Which upper bits occur among ``relation``: most draws need no closer look."""

    @classmethod
    def choose(
        cls, chunks: Iterable[Columns], *, num_entities: int, num_relations: int, seed: int
    ) -> Anchors:
        entity, of_relation = np.zeros(num_entities, np.uint64), np.zeros(num_relations, np.uint64)
        for head, relation, tail in chunks:
            draw = pair_draw(head, tail, seed=seed)
            np.maximum.at(entity, head, draw)
            np.maximum.at(entity, tail, draw)
            np.maximum.at(of_relation, relation, draw)
        marks = np.zeros(BINS, bool)
        marks[of_relation >> SHIFT] = True
        return cls(seed=seed, entity=entity, relation=of_relation, marks=marks)

    def free(self, head: Ints, tail: Ints) -> tuple[Draws, NDArray[np.bool_]]:
        """The draw of each triple, and whether its pair may leave training."""
        draw = pair_draw(head, tail, seed=self.seed)
        free = (draw != self.entity[head]) & (draw != self.entity[tail])
        marked = np.flatnonzero(free & self.marks[draw >> SHIFT])
        free[marked] = ~np.isin(draw[marked], self.relation)
        return draw, free


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The split of every triple, in the order in which they were given."""

    draws: Spool
    """The draw of a triple's pair; the largest number for pairs that stay in training."""
    bounds: Draws
    """Draws below the first bound are valid, below the second test."""
    held: tuple[int, int]
    """Triples of valid and test."""

    def sides(self, start: int, stop: int) -> NDArray[np.uint8]:
        draw = self.draws.read("draw", start, stop)
        sides: NDArray[np.uint8] = np.array([VALID, TEST, TRAIN], np.uint8)[
            (draw >= self.bounds[0]).astype(np.int8) + (draw >= self.bounds[1])
        ]
        return sides


def divide(
    chunks: Callable[[], Iterable[Columns]],
    scratch: Path,
    *,
    num_entities: int,
    num_relations: int,
    valid: int,
    test: int,
    seed: int,
) -> Division:
    """Hold out at most ``valid`` and ``test`` triples; ``chunks`` gives a fresh pass each time.

    A histogram finds the bin of each bound, a second pass sorts the draws of that bin alone.
    """
    anchors = Anchors.choose(
        chunks(), num_entities=num_entities, num_relations=num_relations, seed=seed
    )
    draws, count = Spool(scratch, "division", {"draw": np.uint64}), np.zeros(BINS, np.int64)
    for head, _, tail in chunks():
        draw, free = anchors.free(head, tail)
        count += np.bincount((draw[free] >> SHIFT).astype(np.int64), minlength=BINS)
        draw[~free] = LARGEST
        draws.append(draw=draw)
    bounds, held = _bounds(draws, count, (valid, valid + test))
    return Division(draws=draws, bounds=bounds, held=held)


def _bounds(draws: Spool, count: Ints, quota: tuple[int, int]) -> tuple[Draws, tuple[int, int]]:
    below = np.concatenate([[0], np.cumsum(count)])
    bins = np.clip(np.searchsorted(below, quota, side="right") - 1, 0, BINS - 1)
    inside: tuple[list[Draws], ...] = ([], [])
    for (draw,) in draws.pieces("draw"):
        draw = draw[draw < LARGEST]
        for found, bin_ in zip(inside, bins, strict=True):
            found.append(draw[(draw >> SHIFT) == np.uint64(bin_)])
    cuts = [
        _cut(np.sort(np.concatenate(found)), int(room), int(bin_))
        for found, room, bin_ in zip(inside, quota - below[bins], bins, strict=True)
    ]
    first, both = (int(below[bin_]) + taken for bin_, (_, taken) in zip(bins, cuts, strict=True))
    return np.array([bound for bound, _ in cuts], np.uint64), (first, both - first)


def _cut(draws: Draws, room: int, bin_: int) -> tuple[int, int]:
    """The first draw of a bin that is not taken, and how many are: pairs are taken whole."""
    if room < len(draws):
        return int(draws[room]), int(np.searchsorted(draws, draws[room]))
    return min((bin_ + 1) << int(SHIFT), LARGEST), len(draws)
