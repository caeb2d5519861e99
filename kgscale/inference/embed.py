"""Layer-wise inference: the vectors of all entities or of some, from all edges that they need."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from kgscale.batch import Block, Given
from kgscale.graph.adjacency import Adjacency
from kgscale.kernels.sample import expand_runs, sample_neighbors
from kgscale.models.encoders.precomputed import MapEncoder, only_features
from kgscale.models.link import LinkModel
from kgscale.models.node import NodeModel
from kgscale.types import EntityVectors, RelationVectors, Vectors

ROWS: Final = 8192
"""Targets of a block. Fixed, since a product of another height may round differently."""


@dataclass(frozen=True, slots=True)
class GraphVectors:
    """What the decoder needs of a graph: a vector per entity and per (reciprocal) relation."""

    entity: EntityVectors
    """On the relations' device, or on the host where they are too many for it."""
    relation: RelationVectors

    @property
    def device(self) -> torch.device:
        """Where scores are computed."""
        return self.relation.device

    def rows(self, entity_id: Int64[Tensor, "*asked"]) -> Float[Tensor, "*asked dim"]:
        """The vectors of some entities, where scores are computed."""
        return self.entity[entity_id.to(self.entity.device)].to(self.device)

    def of(self, relation: Int64[Tensor, " query"]) -> Float[Tensor, "query relation_dim"]:
        return self.relation[relation.to(self.device)]


Features = Callable[[Int64[Tensor, " entity"]], Given]
"""The given features of some entities."""


class Hidden(NamedTuple):
    """Triples that a graph is to lack."""

    triple: Int64[Tensor, " triple"]
    end: Int64[Tensor, " entity"]
    """All that is head or tail of one."""


def no_features(entity_id: Int64[Tensor, " entity"]) -> Given:
    return ()


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """Makes vectors of a model as it stands.

    Args:
        memory: bytes that two layers of all vectors may take. An accelerator may spend half of
            what it has left. Vectors beyond that live in an unnamed temporary file of the host.
        features: given ones, of a model that reads them.
    """

    model: LinkModel | NodeModel
    graph: Adjacency
    memory: int
    features: Features = no_features

    @property
    def rows(self) -> int:
        return self.graph.indptr.shape[0] - 1

    @property
    def device(self) -> torch.device:
        return self.model.encoder.relation.device

    @property
    def layers(self) -> int:
        return self.model.encoder.num_layers

    @cached_property
    def every(self) -> GraphVectors:
        """Of all entities, layer by layer, a block of rows at a time."""
        with self.inference():
            last = self.model.encoder.relations()[-1]
            if isinstance(self.model, LinkModel):
                last = self.model.decoder.relations(last)
            return GraphVectors(entity=self._every(), relation=last.detach())

    def some(self, entity_id: Int64[Tensor, " entity"]) -> EntityVectors:
        """Of some entities; where all would be too many, from what these read alone."""
        whole = self.fits and not isinstance(self.model.encoder, MapEncoder)
        if whole or "every" in self.__dict__:
            entity = self.every.entity
            return entity[entity_id.to(entity.device)]
        with self.inference():
            asked, place = torch.unique(entity_id, return_inverse=True)
            found = self.gathered(asked)
            return found[place.to(found.device)]

    @property
    def fits(self) -> bool:
        """Whether two layers of all vectors find room beside the model."""
        return fits(2 * self.rows, self.model.encoder.dim, self.device, self.memory)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """The model as it answers: no dropout, no gradients."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(training)

    def _every(self) -> EntityVectors:
        encoder, inputs = self.model.encoder, self.model.inputs
        if self.layers and not self.fits and self.device.type != "cpu":
            return self.gathered(torch.arange(self.rows))
        if inputs.is_table and not isinstance(encoder, MapEncoder):
            assert inputs.table is not None
            x = inputs.table.weight.detach()
        else:
            x = self._brought(torch.arange(self.rows))
        relations = encoder.relations()
        for index in range(self.layers):
            out = self._matrix(self.rows)
            for block in row_blocks(self.graph, self.device):
                out[block.start : block.start + block.num_targets] = encoder.layer(
                    index, x, relations[index], block
                )
            x = out
        return x

    def gathered(self, entity_id: Int64[Tensor, " entity"]) -> EntityVectors:
        """Layer by layer too, but a block's inputs are copied from where they are, and no row is
        made that nobody reads. Ids are ascending."""
        if not self.layers:
            return self._brought(entity_id)
        relations, needed = self.model.encoder.relations(), self.needed(entity_id)
        before: EntityVectors | None = None
        for index, rows in enumerate(needed):
            out = self._matrix(len(rows))
            for first in range(0, len(rows), ROWS):
                read, block = self.block(rows[first : first + ROWS])
                x = (
                    self.rows_of(read)
                    if before is None
                    else before[torch.searchsorted(needed[index - 1], read).to(before.device)]
                )
                out[first : first + block.num_targets] = self.model.encoder.layer(
                    index, x.to(self.device), relations[index], block
                )
            before = out
        assert before is not None
        return before

    def needed(self, entity_id: Int64[Tensor, " entity"]) -> list[Int64[Tensor, " row"]]:
        """What of each layer's output the next one reads, ascending."""
        needed = [entity_id]
        for _ in range(self.layers - 1):
            marked = torch.zeros(self.rows, dtype=torch.bool)
            for part in torch.split(needed[0], ROWS):
                marked[self.block(part)[0]] = True
            needed.insert(0, marked.nonzero()[:, 0])
        return needed

    def block(
        self, targets: Int64[Tensor, " target"], hidden: Hidden | None = None
    ) -> tuple[Int64[Tensor, " input"], Block]:
        """Some rows with all their in-edges but the hidden, and the entities that they read, these
        first."""
        graph = self.graph
        found = sample_neighbors(
            graph.indptr,
            graph.source,
            graph.relation,
            targets,
            [-1],
            seed=0,
            with_edge=hidden is not None,
        )
        indptr, source, relation = found.indptr[: len(targets) + 1], found.source, found.relation
        degree = graph.degree(found.entity_id)
        if hidden is not None:
            assert found.edge is not None
            stays = ~torch.isin(graph.triple[found.edge.long()].long(), hidden.triple)
            indptr = functional.pad(stays.cumsum(0), (1, 0))[indptr.long()]
            source, relation = source[stays], relation[stays]
            degree = degree - self._hidden_edges(found.entity_id, hidden)
        block = Block(indptr=indptr, source=source, relation=relation, degree=degree)
        return found.entity_id, block.to(self.device)

    def _hidden_edges(
        self, entity_id: Int64[Tensor, " entity"], hidden: Hidden
    ) -> Int64[Tensor, " entity"]:
        """How many in-edges of each entity are hidden."""
        bounds, place = self.graph.indptr.long(), torch.isin(entity_id, hidden.end).nonzero()[:, 0]
        edge, row = expand_runs(bounds[entity_id[place]], bounds[entity_id[place] + 1])
        gone = torch.isin(self.graph.triple[edge].long(), hidden.triple)
        return torch.bincount(place[row[gone]], minlength=len(entity_id))

    def _brought(self, entity_id: Int64[Tensor, " entity"]) -> EntityVectors:
        """The rows of entities, made a block at a time."""
        x = self._matrix(len(entity_id))
        for first in range(0, len(entity_id), ROWS):
            part = entity_id[first : first + ROWS]
            x[first : first + len(part)] = self.rows_of(part)
        return x

    def rows_of(self, entity_id: Int64[Tensor, " entity"]) -> Vectors:
        """What entities bring to the first layer, or all that an encoder makes of rows alone."""
        encoder, inputs = self.model.encoder, self.model.inputs
        given = tuple(part.to(self.device) for part in self.features(entity_id))
        number = entity_id.to(self.device)
        if isinstance(encoder, MapEncoder):
            return encoder.rows(inputs(number), only_features(given))
        return inputs(number, given)  # type: ignore[no-any-return]

    def _matrix(self, rows: int) -> Vectors:
        dim, device = self.model.encoder.dim, self.device
        if fits(2 * rows, dim, device, self.memory):
            return torch.empty(rows, dim, device=device)
        size = rows * dim
        with tempfile.NamedTemporaryFile(prefix="kgscale-") as file:
            flat = torch.from_file(file.name, shared=True, size=size, dtype=torch.float32)
        return flat.view(rows, dim)


def fits(rows: int, dim: int, device: torch.device, memory: int) -> bool:
    """Whether so many vectors find room where the model is."""
    if device.type == "cuda":
        memory = max(memory, torch.cuda.mem_get_info(device)[0] // 2)
    return 4 * rows * dim <= memory


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
