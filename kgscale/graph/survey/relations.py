"""Which relations say the same, or the same backwards, and which hold between all there are.

A relation is told by its set of pairs (head, tail) in all splits. Two are duplicates if more than
a share of the pairs of either are pairs of the other, and inverse if that is so of one's pairs
turned round; a relation that is its own inverse is symmetric; one that joins more than a share of
all combinations of its heads and tails is a Cartesian product (Akrami et al., SIGMOD 2020, who
take 0.8 for all of these; Toutanova & Chen 2015 removed the first two kinds from FB15k, Dettmers
et al. 2018 inverse relations from WN18). One with a single head, or a single tail, joins all there
are whatever it says: it is constant, and no product. Loops have no direction, and are left out
where it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from kgscale.data.splits import SPLITS
from kgscale.data.spool import Array
from kgscale.graph.survey.pieces import Pairs, Rows

Kind = Literal["duplicate", "inverse"]
KINDS: Final[tuple[Kind, ...]] = ("duplicate", "inverse")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationPair:
    """Two relations that say the same of most of their pairs."""

    kind: Kind
    one: int
    other: int
    common: int
    share_of_one: float
    share_of_other: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Counts for each relation, and of what every two have in common."""

    facts: Array
    """``[relation, split]``; a fact counts in the first split that has it."""
    loops: Array
    heads: Array
    """Distinct ones, as are tails; where direction means nothing all ends are both."""
    tails: Array
    combinations: Array
    """Of heads and tails, or of two ends."""
    same: Any
    """Sparse ``[relation, relation]``: facts whose pair another relation has too."""
    turned: Any
    """Sparse: facts, loops left out, whose pair turned round a relation has."""

    @property
    def reversed(self) -> Array:
        """Facts (h, r, t) of which (t, r, h) is one too."""
        found: Array = self.turned.diagonal()
        return found

    @property
    def density(self) -> Array:
        """Share of all combinations of a relation's heads and tails that it joins."""
        share: Array = self.facts.sum(axis=1) / np.maximum(self.combinations, 1)
        return share

    def symmetric(self, *, overlap: float, least: int) -> Array:
        """Which relations are their own inverse."""
        turnable = self.facts.sum(axis=1) - self.loops
        found: Array = (self.reversed >= least) & (self.reversed > overlap * turnable)
        return found

    def cartesian(self, *, density: float, least: int) -> Array:
        """Which hold between all; not those that are constant, which do so anyway."""
        enough = (self.facts.sum(axis=1) >= least) & (np.minimum(self.heads, self.tails) > 1)
        found: Array = enough & (self.density > density)
        return found

    def constant(self, *, least: int) -> Array:
        """Which have a single head, or a single tail, so that the relation tells it."""
        # Of few facts that is so by chance: every relation with one fact has one head and one tail.
        single = np.minimum(self.heads, self.tails) == 1
        found: Array = single & (self.facts.sum(axis=1) >= least)
        return found

    def pairs(self, *, overlap: float, least: int) -> list[RelationPair]:
        """Duplicate and inverse relations, those with most in common first."""
        facts = self.facts.sum(axis=1)
        found = []
        for kind, matrix, size in zip(
            KINDS, (self.same, self.turned), (facts, facts - self.loops), strict=True
        ):
            cells = matrix.tocoo()
            one, other, common = cells.row, cells.col, cells.data
            shares = common / size[one], common / size[other]
            enough = (one < other) & (common >= least) & (np.minimum(*shares) > overlap)
            found += [
                RelationPair(
                    kind=kind,
                    one=int(one[at]),
                    other=int(other[at]),
                    common=int(common[at]),
                    share_of_one=float(shares[0][at]),
                    share_of_other=float(shares[1][at]),
                )
                for at in np.flatnonzero(enough)
            ]
        return sorted(found, key=lambda pair: (-pair.common, pair.one, pair.other))


class RelationCounter:
    """Adds up :class:`Related` over the pieces of a graph."""

    def __init__(self, num_relations: int, *, undirected: bool = False) -> None:
        # Late, since importing it takes a while.
        from scipy.sparse import csr_array

        self._size, self._array, self._undirected = num_relations, csr_array, undirected
        self._facts = np.zeros((num_relations, len(SPLITS)), np.int64)
        self._loops = np.zeros(num_relations, np.int64)
        self._ends = np.zeros(2 * num_relations, np.int64)
        self._together = csr_array((2 * num_relations, 2 * num_relations), dtype=np.int64)

    def add(self, rows: Rows, pairs: Pairs) -> None:
        if self._undirected:
            ends = np.unique(rows.target * self._size + rows.relation % self._size) % self._size
            self._ends += np.tile(np.bincount(ends, minlength=self._size), 2)
        else:
            # A row is sorted by relation: an entity is a tail of each run of one below
            # num_relations, and a head of each other.
            begins = np.diff(rows.target, prepend=-1) != 0
            begins[1:] |= np.diff(rows.relation) != 0
            self._ends += np.bincount(rows.relation[begins], minlength=2 * self._size)
        relation = pairs.column % self._size
        cell = relation * len(SPLITS) + pairs.split
        self._facts += np.bincount(cell, minlength=self._facts.size).reshape(self._facts.shape)
        self._loops += np.bincount(relation[pairs.low == pairs.high], minlength=self._size)
        self._count_together(pairs)

    def _count_together(self, pairs: Pairs) -> None:
        several = np.bincount(pairs.pair)[pairs.pair] > 1
        if not several.any():
            return
        column, pair = pairs.column[several], pairs.pair[several]
        _, starts = np.unique(pair, return_index=True)
        shape = len(starts), 2 * self._size
        indptr = np.append(starts, len(pair))
        joined = self._array((np.ones(len(pair), np.int64), column, indptr), shape=shape)
        self._together = self._together + joined.T @ joined

    def total(self) -> Related:
        size, found = self._size, self._together
        backward, forward = found[:size], found[size:]
        tails, heads = self._ends[:size], self._ends[size:]
        return Related(
            facts=self._facts,
            loops=self._loops,
            tails=tails,
            heads=heads,
            combinations=heads * (heads - 1) // 2 if self._undirected else heads * tails,
            same=self._array(backward[:, :size] + forward[:, size:]),
            turned=self._array(backward[:, size:] + forward[:, :size]),
        )
