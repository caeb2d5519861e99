"""Layer-wise full-graph inference: every entity's vector, from all its edges, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

from kgscale.batch import Block
from kgscale.graph.adjacency import Adjacency
from kgscale.models.link import LinkModel
from kgscale.types import EntityVectors, RelationVectors, Vectors

ROWS: Final = 8192
"""Targets of a block. Fixed, since a product of another height may round differently."""


@dataclass(frozen=True, slots=True)
class GraphVectors:
    """What the decoder needs of a graph: a vector per entity and per (reciprocal) relation."""

    entity: EntityVectors
    relation: RelationVectors


@torch.no_grad()
def embed_graph(model: LinkModel, graph: Adjacency, *, memory: int) -> GraphVectors:
    """Vectors of all entities, layer by layer, a block of rows at a time.

    Needs the vectors of two layers at a time; where those exceed ``memory`` (bytes) on a CPU,
    they live in an unnamed temporary file instead.
    """
    training = model.training
    model.eval()
    x = model.entity.weight.detach()
    relations = model.encoder.relations()
    for index in range(model.encoder.num_layers):
        out = _matrix(x.shape[0], model.encoder.dim, x.device, memory)
        for block in row_blocks(graph, x.device):
            out[block.start : block.start + block.num_targets] = model.encoder.layer(
                index, x, relations[index], block
            )
        x = out
    model.train(training)
    return GraphVectors(entity=x, relation=relations[-1].detach())


def row_blocks(graph: Adjacency, device: torch.device) -> Iterator[Block]:
    """All rows with all their in-edges, ``ROWS`` at a time."""
    num_rows, degree = graph.indptr.shape[0] - 1, graph.indptr.diff().to(device)
    for start in range(0, num_rows, ROWS):
        indptr = graph.indptr[start : start + ROWS + 1]
        first, last = int(indptr[0]), int(indptr[-1])
        yield Block(
            indptr=(indptr - first).to(device),
            source=graph.source[first:last].to(device),
            relation=graph.relation[first:last].to(device),
            start=start,
            degree=degree,
        )


def _matrix(rows: int, dim: int, device: torch.device, memory: int) -> Vectors:
    size = rows * dim
    if device.type != "cpu" or 2 * 4 * size <= memory:
        return torch.empty(rows, dim, device=device)
    with tempfile.NamedTemporaryFile(prefix="kgscale-") as file:
        flat = torch.from_file(file.name, shared=True, size=size, dtype=torch.float32)
    return flat.view(rows, dim)
