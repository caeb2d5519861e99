"""Every known fact of a store once, with all others between the same two entities beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kgscale.data.splits import SPLITS
from kgscale.data.spool import Array
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.store import GraphStore

PIECE: Final = 1 << 20
"""Edges that are looked at together; an entity with more is looked at by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllFacts:
    """The facts of all splits; those of several count in the first."""

    graph: Adjacency
    """Its triples are rows of train, valid and test, one after the other."""
    sizes: Sequence[int]
    """Rows of each split."""
    undirected: bool = False
    """Whether direction means nothing; ``graph`` has each fact one way alone."""

    @classmethod
    def of(cls, store: GraphStore) -> AllFacts:
        return cls(
            graph=Adjacency.open(store.path, "known", store.num_relations),
            sizes=[store.num_triples[split] for split in SPLITS],
            undirected=store.undirected,
        )

    @property
    def num_entities(self) -> int:
        return self.graph.indptr.shape[0] - 1

    @property
    def num_relations(self) -> int:
        return self.graph.num_relations


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """All in-edges of some consecutive entities, as an :class:`Adjacency` has them."""

    target: Array
    """Ascending."""
    source: Array
    relation: Array
    split: Array
    """Place in ``SPLITS`` of the first split that has the fact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All facts between the two entities of some pairs, by (pair, column)."""

    low: Array
    high: Array
    """The entity with the larger id; the same one in a loop."""
    pair: Array
    """Numbers from 0, ascending."""
    column: Array
    """The relation if ``high`` is the head; ``relation + num_relations`` if ``low`` is, as in a
    loop, or if direction means nothing."""
    split: Array


def rows_of(facts: AllFacts) -> Iterator[Rows]:
    """Each fact as an edge to either end."""
    graph, ends = facts.graph, np.cumsum(facts.sizes)
    indptr = graph.indptr.numpy()
    columns = [part.numpy() for part in (graph.source, graph.relation, graph.triple)]
    first, number = 0, len(indptr) - 1
    while first < number:
        last = int(np.searchsorted(indptr, int(indptr[first]) + PIECE, side="right")) - 1
        last = min(max(last, first + 1), number)
        edges = slice(int(indptr[first]), int(indptr[last]))
        source, relation, triple = (np.asarray(column[edges], np.int64) for column in columns)
        yield Rows(
            target=np.repeat(np.arange(first, last), np.diff(indptr[first : last + 1])),
            source=source,
            relation=relation,
            split=np.searchsorted(ends, triple, side="right"),
        )
        first = last


def pairs_of(rows: Rows, facts: AllFacts) -> Pairs:
    """Those facts of which the target is the entity with the smaller id."""
    size = facts.num_relations
    once = (rows.source > rows.target) | (rows.source == rows.target) & (rows.relation >= size)
    low, high, column, split = (
        part[once] for part in (rows.target, rows.source, rows.relation, rows.split)
    )
    if facts.undirected:
        column = column % size + size
    place = (low - low[:1]) * facts.num_entities + high
    order = np.lexsort((column, place))
    place = place[order]
    return Pairs(
        low=low[order],
        high=high[order],
        pair=np.cumsum(np.diff(place, prepend=place[:1]) != 0),
        column=column[order],
        split=split[order],
    )
