"""The edges of a graph by their relation, and what holds in it for certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from kgscale.graph.adjacency import Adjacency, first_triples
from kgscale.graph.store import GraphStore
from kgscale.inference.queries.formula import Anchor, Anything, Both, Either, Hop, Node, Without
from kgscale.types import Ids

SPLITS: Final = ("train", "valid", "test")
FAR: Final = 1 << 20
"""Missing links of what is no answer at all: more than any question has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Heads and tails of every relation and its reciprocal, one after the other."""

    start: Int64[Tensor, " relation_plus_one"]
    head: Ids
    tail: Ids
    held_out: Bool[Tensor, " batch"]
    """Of each edge, whether it is one that is not known yet."""
    num_entities: int

    @classmethod
    def of(cls, graph: Adjacency, *, known: int) -> Edges:
        """All edges of a graph, of which those of the first ``known`` triples are known."""
        degree = graph.indptr.long().diff()
        tail = torch.arange(len(degree)).repeat_interleave(degree)
        order = torch.argsort(graph.relation.long(), stable=True)
        size = torch.bincount(graph.relation.long(), minlength=2 * graph.num_relations)
        return cls(
            start=torch.cat([size.new_zeros(1), size.cumsum(0)]),
            head=graph.source[order].long(),
            tail=tail[order],
            held_out=graph.triple[order] >= known,
            num_entities=len(degree),
        )

    def of_relation(self, relation: int) -> slice:
        return slice(int(self.start[relation]), int(self.start[relation + 1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A graph of which some triples are taken to be unknown, and are to be found."""

    known: Adjacency
    every: Adjacency
    edges: Edges

    @classmethod
    def of(cls, graph: Adjacency, *, known: int, until: int) -> Observed:
        """The first ``known`` triples are known, those before ``until`` are true too."""
        every = first_triples(graph, until)
        edges = Edges.of(every, known=known)
        return cls(known=first_triples(graph, known), every=every, edges=edges)

    @classmethod
    def at(cls, store: GraphStore, unknown: str | None = None) -> Observed:
        """All that is known before a split, and the split; without one all is known."""
        sizes = [store.num_triples[split] for split in SPLITS]
        before = len(SPLITS) if unknown is None else SPLITS.index(unknown)
        return cls.of(
            store.adjacency(known=True), known=sum(sizes[:before]), until=sum(sizes[: before + 1])
        )


def holds(node: Node, edges: Edges, *, known: bool = False) -> Bool[Tensor, " entity"]:
    """Whether each entity answers a question (one, not many) by the edges alone.

    Args:
        known: by those that are known.
    """
    match node:
        case Anchor():
            found = torch.zeros(edges.num_entities, dtype=torch.bool)
            found[node.entity] = True
            return found
        case Anything():
            return torch.ones(edges.num_entities, dtype=torch.bool)
        case Hop():
            within = edges.of_relation(int(node.relation))
            good = holds(node.source, edges, known=known)[edges.head[within]]
            if known:
                good = good & ~edges.held_out[within]
            found = torch.zeros(edges.num_entities, dtype=torch.bool)
            found[edges.tail[within][good]] = True
            return found
        case Without():
            return ~holds(node.part, edges, known=known)
        case Both() | Either():
            parts = torch.stack([holds(part, edges, known=known) for part in node.parts])
            return parts.all(dim=0) if isinstance(node, Both) else parts.any(dim=0)


def missing(node: Node, edges: Edges) -> Int64[Tensor, " entity"]:
    """How many unknown links each entity needs at least to be an answer; ``FAR`` for none.

    An answer of a question with three links that needs one is as hard as a single missing link
    (Gregucci et al. 2024). What must not hold is taken from all edges and costs nothing.
    """
    match node:
        case Anchor():
            found = torch.full((edges.num_entities,), FAR)
            found[node.entity] = 0
            return found
        case Anything():
            return torch.zeros(edges.num_entities, dtype=torch.int64)
        case Hop():
            within = edges.of_relation(int(node.relation))
            cost = missing(node.source, edges)[edges.head[within]] + edges.held_out[within]
            found = torch.full((edges.num_entities,), FAR)
            return found.scatter_reduce(0, edges.tail[within], cost, "amin").clamp(max=FAR)
        case Without():
            return FAR * holds(node.part, edges).long()
        case Both():
            total = torch.stack([missing(part, edges) for part in node.parts]).sum(dim=0)
            return total.clamp(max=FAR)
        case Either():
            return torch.stack([missing(part, edges) for part in node.parts]).amin(dim=0)
