"""Edges compressed by target, both directions in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from kgscale.graph.reciprocal import inverse
from kgscale.kernels.sample import expand_runs
from kgscale.types import EdgeSource, EdgeType, Indptr

FIELDS = ("indptr", "source", "relation", "triple")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjacency:
    """The in-edges of every entity; a row is sorted by (relation, source).

    A triple (h, r, t) is an in-edge of t with source h and relation r, and an in-edge of h with
    source t and relation ``r + num_relations``. The tails of (h, r, ?) are thus the sources of
    h's in-edges with the inverse relation: one run.
    """

    indptr: Indptr
    source: EdgeSource
    relation: EdgeType
    triple: Int[Tensor, " edge"]
    """Row of the triple in train, or in train, valid and test one after the other."""
    num_relations: int
    one_way: bool = False
    """Whether some triples are an edge to one end alone."""
    undirected: bool = False
    """Whether a triple holds both ways, and so is four edges, as :func:`both_ways` makes them."""

    def degree(self, entity: Int64[Tensor, " entity"]) -> Int[Tensor, " entity"]:
        """In-edges of some entities; what all have would cost the whole graph's memory."""
        return self.indptr[entity + 1] - self.indptr[entity]

    @classmethod
    def open(cls, directory: Path, prefix: str, num_relations: int) -> Adjacency:
        """Copy-on-write maps: nothing is read before it is used, nothing is ever written."""
        arrays = {
            field: torch.from_numpy(
                np.load(directory / f"{prefix}_{field}.npy", mmap_mode="c", allow_pickle=False)
            )
            for field in FIELDS
        }
        return cls(
            indptr=arrays["indptr"],
            source=arrays["source"],
            relation=arrays["relation"],
            triple=arrays["triple"],
            num_relations=num_relations,
        )


def with_neighbors(graph: Adjacency, entity: Int64[Tensor, " some"]) -> Int64[Tensor, " all"]:
    """Entities and those that an edge joins them to, ascending."""
    bounds = graph.indptr.long()
    edge, _ = expand_runs(bounds[entity], bounds[entity + 1])
    found: Tensor = torch.unique(torch.cat([entity, graph.source[edge].long()]))
    return found


def readers(
    graph: Adjacency, entity: Int64[Tensor, " some"], rows: Int64[Tensor, " row"]
) -> Int64[Tensor, " reader"]:
    """Those of some ascending rows that an edge from one of the entities reaches, ascending."""
    if not graph.one_way:
        found = with_neighbors(graph, entity)
        return found[torch.isin(found, rows)]
    bounds = graph.indptr.long()
    edge, row = expand_runs(bounds[rows], bounds[rows + 1])
    reached: Tensor = torch.isin(rows, entity)
    reached[row[torch.isin(graph.source[edge].long(), entity)]] = True
    return rows[reached]


def only(graph: Adjacency, stays: Bool[Tensor, " edge"]) -> Adjacency:
    """Some edges of a graph; triples keep their ids."""
    before = torch.cat([stays.new_zeros(1, dtype=torch.int64), stays.cumsum(0)])
    return Adjacency(
        indptr=before[graph.indptr.long()].to(graph.indptr.dtype),
        source=graph.source[stays],
        relation=graph.relation[stays],
        triple=graph.triple[stays],
        num_relations=graph.num_relations,
        one_way=graph.one_way,
        undirected=graph.undirected,
    )


def both_ways(graph: Adjacency) -> Adjacency:
    """The graph in which (t, r, h) holds wherever (h, r, t) does: of each edge another, with the
    inverse relation and the same triple, so that what hides a triple hides all four.

    In memory, unlike what it is made of.
    """
    row = torch.arange(graph.indptr.shape[0] - 1).repeat_interleave(graph.indptr.long().diff())
    relation, size = graph.relation.long(), 2 * graph.num_relations
    other = inverse(relation, num_relations=graph.num_relations)
    order = torch.cat([graph.source, graph.source]).argsort(stable=True)
    key = torch.cat([row * size + relation, row * size + other])
    order = order[key[order].argsort(stable=True)]
    twice = (torch.cat([part, part])[order] for part in (graph.source, graph.triple))
    source, triple = twice
    return Adjacency(
        indptr=graph.indptr * 2,
        source=source,
        relation=torch.cat([graph.relation, other.to(graph.relation.dtype)])[order],
        triple=triple,
        num_relations=graph.num_relations,
        undirected=True,
    )


def first_triples(graph: Adjacency, triples: int) -> Adjacency:
    """The edges of the first triples alone."""
    kept = graph.triple < triples
    return graph if bool(kept.all()) else only(graph, kept)
