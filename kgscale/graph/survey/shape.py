"""Degrees of entities, and which of them some path of train facts joins."""

from __future__ import annotations

import numpy as np

from kgscale.data.splits import TRAIN
from kgscale.data.spool import Array
from kgscale.graph.survey.pieces import Pairs, Rows


class Components:
    """Entities that paths join, found a piece of the edges at a time: the memory is a number for
    each entity, and a piece."""

    def __init__(self, num_entities: int) -> None:
        self._parent = np.arange(num_entities)

    def join(self, one: Array, other: Array) -> None:
        """Edges between the entities of two lists."""
        # Late, since importing it takes a while.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        one, other = self._roots(one), self._roots(other)
        apart = one != other
        ends = np.concatenate([one[apart], other[apart]])
        if not len(ends):
            return
        roots, local = np.unique(ends, return_inverse=True)
        left, right = np.split(local, 2)
        edges = coo_array((np.ones(len(left), bool), (left, right)), shape=(len(roots),) * 2)
        _, component = connected_components(edges.tocsr(), directed=False)
        _, first = np.unique(component, return_index=True)
        self._parent[roots] = roots[first][component]

    def _roots(self, entity: Array) -> Array:
        found = self._parent[entity]
        while not np.array_equal(found, above := self._parent[found]):
            found = above
        self._parent[entity] = found
        return found

    def labels(self) -> Array:
        """For each entity the smallest id of those that it is joined with."""
        return self._roots(np.arange(len(self._parent)))


class Shape:
    """Adds up train degrees and components over the pieces of a graph."""

    def __init__(self, num_entities: int) -> None:
        self.degree = np.zeros(num_entities, np.int64)
        """Train facts of each entity; a loop counts twice."""
        self.known = np.zeros(num_entities, np.int64)
        """The same of all splits."""
        self.components = Components(num_entities)

    def add(self, rows: Rows, pairs: Pairs) -> None:
        if not len(rows.target):
            return
        first = int(rows.target[0])
        train = rows.target[rows.split == TRAIN] - first
        for degree, place in ((self.degree, train), (self.known, rows.target - first)):
            found = np.bincount(place)
            degree[first : first + len(found)] += found
        train = pairs.split == TRAIN
        self.components.join(pairs.low[train], pairs.high[train])
