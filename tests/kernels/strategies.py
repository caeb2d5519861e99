"""Small random rows of edges and adjacency arrays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

SEEDS = st.integers(0, 2**31)


class Edges(NamedTuple):
    weight: Tensor
    indptr: Tensor
    source: Tensor
    relation: Tensor


def random_edges(
    targets: int, sources: int, relations: int, num_edges: int, generator: torch.Generator
) -> Edges:
    """Edges in rows, in any order within a row."""
    target = torch.randint(targets, (num_edges,), generator=generator).sort().values
    return Edges(
        weight=torch.rand(num_edges, generator=generator),
        indptr=torch.searchsorted(target, torch.arange(targets + 1)),
        source=torch.randint(sources, (num_edges,), generator=generator, dtype=torch.int32),
        relation=torch.randint(relations, (num_edges,), generator=generator, dtype=torch.int16),
    )


def adjacency(
    entities: int, num_edges: int, relations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """``indptr``, ``source`` and ``relation`` as a store holds them, with hubs and loners."""
    target = (torch.rand(num_edges, generator=generator) ** 3 * entities).long()
    source = torch.randint(entities, (num_edges,), generator=generator)
    relation = torch.randint(relations, (num_edges,), generator=generator)
    order = torch.argsort((target * relations + relation) * entities + source)
    indptr = torch.searchsorted(target[order], torch.arange(entities + 1)).int()
    return indptr, source[order].int(), relation[order].short()


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Targets, sources, relations, edges; rows may be empty, and so may the graph."""
    targets, sources, relations = (draw(st.integers(1, highest)) for highest in (9, 9, 5))
    return targets, sources, relations, draw(st.integers(0, 25))
