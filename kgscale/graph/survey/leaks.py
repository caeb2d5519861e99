"""Held-out facts that another fact of train gives away, and those that train says nothing about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kgscale.data.splits import SPLITS, TRAIN
from kgscale.data.spool import Array
from kgscale.graph.survey.pieces import Pairs
from kgscale.graph.survey.relations import RelationPair

COUNTED: Final = ("facts", "reverse", "inverse", "duplicate", "told", "joined", "unseen", "apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Facts of a split that no earlier split has, and how many of them train tells something of."""

    facts: int
    reverse: int
    """(t, r, h) is in train."""
    inverse: int
    """(t, s, h) is in train, and s is inverse to r."""
    duplicate: int
    """(h, s, t) is in train, and s is a duplicate of r."""
    told: int
    """Any of these three."""
    joined: int
    """Any fact of train is between h and t, either way: FB15k-237 was made free of these in
    validation and test (Toutanova & Chen 2015)."""
    unseen: int
    """h or t is in no fact of train."""
    apart: int
    """Both are, but no path of train facts joins them."""


@dataclass(frozen=True, slots=True)
class Tellers:
    """The relations that tell of each: ``other[indptr[r] : indptr[r + 1]]``."""

    indptr: Array
    other: Array
    turned: bool
    """Whether they lead the other way."""

    @classmethod
    def of(cls, pairs: Sequence[RelationPair], num_relations: int, *, turned: bool) -> Tellers:
        both = [(pair.one, pair.other) for pair in pairs]
        both += [(other, one) for one, other in both]
        relation, other = np.array(sorted(both), np.int64).reshape(-1, 2).T
        return cls(np.searchsorted(relation, np.arange(num_relations + 1)), other, turned)

    @classmethod
    def itself(cls, num_relations: int) -> Tellers:
        """A relation tells of itself, backwards."""
        return cls(np.arange(num_relations + 1), np.arange(num_relations), turned=True)


class LeakCounter:
    """Adds up :class:`HeldOut` over the pieces of a graph.

    Args:
        tellers: by what they are to a relation: ``reverse``, ``inverse``, ``duplicate``.
        degree: train facts of each entity.
        component: of each entity in train.
    """

    def __init__(
        self, tellers: Mapping[str, Tellers], num_relations: int, degree: Array, component: Array
    ) -> None:
        self._tellers, self._size = tellers, num_relations
        self._degree, self._component = degree, component
        self._counts = {name: np.zeros(len(SPLITS), np.int64) for name in COUNTED}
        self.told = np.zeros((num_relations, len(SPLITS)), np.int64)
        """Facts of each relation and split that are told."""

    def add(self, pairs: Pairs) -> None:
        held = np.flatnonzero(pairs.split != TRAIN)
        if not len(held):
            return
        low, high = pairs.low[held], pairs.high[held]
        by_train = np.bincount(pairs.pair, pairs.split == TRAIN)
        seen = (self._degree[low] > 0) & (self._degree[high] > 0)
        found = {name: self._told(pairs, held, by) for name, by in self._tellers.items()}
        told = np.logical_or.reduce([*found.values(), np.zeros(len(held), bool)])
        found |= {
            "facts": np.ones(len(held), bool),
            "told": told,
            "joined": by_train[pairs.pair[held]] > 0,
            "unseen": ~seen,
            "apart": seen & (self._component[low] != self._component[high]),
        }
        split = pairs.split[held]
        for name, mask in found.items():
            self._counts[name] += np.bincount(split[mask], minlength=len(SPLITS))
        cell = (pairs.column[held] % self._size) * len(SPLITS) + split
        shape = self.told.shape
        self.told += np.bincount(cell[told], minlength=self.told.size).reshape(shape)

    def _told(self, pairs: Pairs, held: Array, by: Tellers) -> Array:
        """Which of the held-out facts have another of train in the same pair."""
        columns, column = 2 * self._size, pairs.column[held]
        relation, way = column % self._size, column // self._size
        number = by.indptr[relation + 1] - by.indptr[relation]
        row = np.repeat(np.arange(len(held)), number)
        place = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number)
        other = by.other[by.indptr[relation][row] + place]
        direction = 1 - way[row] if by.turned else way[row]
        wanted = pairs.pair[held][row] * columns + direction * self._size + other
        own = pairs.pair * columns + pairs.column
        at = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        there = (own[at] == wanted) & (pairs.split[at] == TRAIN)
        found = np.zeros(len(held), bool)
        found[row[there]] = True
        return found

    def total(self, split: str) -> HeldOut:
        at = SPLITS.index(split)
        return HeldOut(**{name: int(counts[at]) for name, counts in self._counts.items()})
