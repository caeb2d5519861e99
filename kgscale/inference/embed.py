"""Layer-wise full-graph inference: every entity's vector, from all its edges, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import Block, Given
from kgscale.graph.adjacency import Adjacency
from kgscale.models.encoders.precomputed import MapEncoder, only_features
from kgscale.models.inputs import EntityInput
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.types import EntityVectors, RelationVectors, Vectors

ROWS: Final = 8192
"""Targets of a block. Fixed, since a product of another height may round differently."""


@dataclass(frozen=True, slots=True)
class GraphVectors:
    """What the decoder needs of a graph: a vector per entity and per (reciprocal) relation."""

    entity: EntityVectors
    relation: RelationVectors


Features = Callable[[Int64[Tensor, " entity"]], Given]
"""The given features of some entities."""


def no_features(entity_id: Int64[Tensor, " entity"]) -> Given:
    return ()


@torch.no_grad()
def embed_graph(
    model: LinkModel | NodeModel,
    graph: Adjacency,
    *,
    memory: int,
    features: Features = no_features,
) -> GraphVectors:
    """Vectors of all entities, layer by layer, a block of rows at a time.

    Needs the vectors of two layers at a time; where those exceed ``memory`` (bytes) on a CPU,
    they live in an unnamed temporary file instead.
    """
    training = model.training
    model.eval()
    relations = model.encoder.relations()
    device = model.encoder.relation.device
    rows = graph.indptr.shape[0] - 1
    if isinstance(model.encoder, MapEncoder):
        x = _matrix(rows, model.encoder.dim, device, memory)
        for entity_id in torch.split(torch.arange(rows), ROWS):
            x[entity_id[0] : entity_id[-1] + 1] = _mapped(model, entity_id, features)
    else:
        x = _inputs(model.inputs, rows, features, device, memory)
    for index in range(model.encoder.num_layers):
        out = _matrix(x.shape[0], model.encoder.dim, device, memory)
        for block in row_blocks(graph, device):
            out[block.start : block.start + block.num_targets] = model.encoder.layer(
                index, x, relations[index], block
            )
        x = out
    last = relations[-1]
    if isinstance(model, LinkModel):
        last = model.decoder.relations(last)
    model.train(training)
    return GraphVectors(entity=x, relation=last.detach())


@torch.no_grad()
def embed_some(
    model: LinkModel | NodeModel,
    graph: Adjacency,
    entity_id: Int64[Tensor, " entity"],
    *,
    memory: int,
    features: Features = no_features,
) -> EntityVectors:
    """Vectors of some entities: by these alone where the encoder reads rows and no edges."""
    if not isinstance(model.encoder, MapEncoder):
        every = embed_graph(model, graph, memory=memory, features=features).entity
        return every[entity_id.to(every.device)]
    training = model.training
    model.eval()
    found = [_mapped(model, part, features) for part in torch.split(entity_id, ROWS)]
    model.train(training)
    return torch.cat(found)


def _inputs(
    inputs: EntityInput, rows: int, features: Features, device: torch.device, memory: int
) -> Vectors:
    """What every entity brings to the first layer."""
    if inputs.is_table:
        assert inputs.table is not None
        return inputs.table.weight.detach()
    x = _matrix(rows, inputs.dim, device, memory)
    for entity_id in torch.split(torch.arange(rows), ROWS):
        given = tuple(part.to(device) for part in features(entity_id))
        x[entity_id[0] : entity_id[-1] + 1] = inputs(entity_id.to(device), given)
    return x


def _mapped(
    model: LinkModel | NodeModel, entity_id: Int64[Tensor, " entity"], features: Features
) -> Vectors:
    """The vectors of an encoder that reads rows alone."""
    assert isinstance(model.encoder, MapEncoder)
    device = model.encoder.relation.device
    given = only_features(tuple(part.to(device) for part in features(entity_id)))
    return model.encoder.rows(model.inputs(entity_id.to(device)), given)


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
