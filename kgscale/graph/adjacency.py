"""Edges compressed by target, both directions in one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

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
        return cls(**arrays, num_relations=num_relations)


def only(graph: Adjacency, stays: Bool[Tensor, " edge"]) -> Adjacency:
    """Some edges of a graph; triples keep their ids."""
    before = torch.cat([stays.new_zeros(1, dtype=torch.int64), stays.cumsum(0)])
    return Adjacency(
        indptr=before[graph.indptr.long()].to(graph.indptr.dtype),
        source=graph.source[stays],
        relation=graph.relation[stays],
        triple=graph.triple[stays],
        num_relations=graph.num_relations,
    )


def first_triples(graph: Adjacency, triples: int) -> Adjacency:
    """The edges of the first triples alone."""
    kept = graph.triple < triples
    return graph if bool(kept.all()) else only(graph, kept)
