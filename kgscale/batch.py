"""The one thing that sampling and models both know: a subgraph and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias, TypeVar

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from kgscale.types import EdgeSource, EdgeType, Indptr

Part = TypeVar("Part", bound="Movable")


class Movable:
    """Tensors that travel together between devices; a base for frozen dataclasses."""

    __slots__ = ()

    def to(self: Part, device: torch.device | str, *, non_blocking: bool = False) -> Part:
        return _map(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self: Part) -> Part:
        return _map(self, lambda tensor: tensor.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until ``stream`` has used it (a copy made on another stream)."""

        def record(tensor: Tensor) -> Tensor:
            tensor.record_stream(stream)
            return tensor

        _map(self, record)


def _map(part: Part, change: Callable[[Tensor], Tensor]) -> Part:
    changed: dict[str, Tensor | Movable | tuple[Movable, ...]] = {}
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = change(value)
        elif isinstance(value, Movable):
            changed[field.name] = _map(value, change)
        elif isinstance(value, tuple) and value and isinstance(value[0], Movable):
            changed[field.name] = tuple(_map(one, change) for one in value)
    return replace(part, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Movable):
    """The in-edges of consecutive rows: what one layer of message passing needs.

    The targets are the rows ``start : start + num_targets`` of the layer's input; the messages
    to target ``start + i`` are the edges ``indptr[i] : indptr[i + 1]``.
    """

    indptr: Indptr
    source: EdgeSource
    """Rows of the layer's input."""
    relation: EdgeType
    """In ``0 .. 2 * num_relations``; the upper half is reciprocal."""
    start: int = 0
    degree: Int[Tensor, " entity"] | None = None
    """In-edges that each input row has in the whole graph, where the batch tells them."""

    @property
    def num_targets(self) -> int:
        return self.indptr.shape[0] - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQueries(Movable):
    """Questions ``(head, relation, ?)`` with all their known tails.

    Each query is a *distinct* (head, relation); its tails are listed once in ``answer``.
    """

    head: Int64[Tensor, " query"]
    """Local entity."""
    relation: Int64[Tensor, " query"]
    num_candidates: int
    """The tail is sought among the first so many local entities, the same for all queries."""
    answer_query: Int64[Tensor, " answer"]
    """Row of the query, ascending."""
    answer: Int64[Tensor, " answer"]
    """Local entity, one of the candidates."""
    candidate_weight: Float[Tensor, " candidate"] | None
    """How many entities a candidate stands for where candidates are sampled."""
    step_queries: int
    """Queries of this step over all ranks, at least 1: what a mean must divide by."""
    step_answers: int
    """The same for answers."""
    known: Int64[Tensor, "known 2"] | None = None
    """Rows of (query, candidate) that are true and not asked here: no answers, and no rivals."""

    def of_step(self, ranks: Sequence[LinkQueries]) -> LinkQueries:
        """These, as part of what all ranks ask in a step."""
        return replace(
            self,
            step_queries=max(1, sum(other.head.shape[0] for other in ranks)),
            step_answers=max(1, sum(other.answer.shape[0] for other in ranks)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeQueries(Movable):
    """Entities whose labels are asked for."""

    node: Int64[Tensor, " query"]
    """Local entity."""
    label: Int64[Tensor, " query"] | Float[Tensor, "query class"]
    """The class, or 1 for each of several classes that an entity has."""
    step_queries: int
    """Queries of this step over all ranks, at least 1: what a mean must divide by."""

    def of_step(self, ranks: Sequence[NodeQueries]) -> NodeQueries:
        """These, as part of what all ranks ask in a step."""
        return replace(self, step_queries=max(1, sum(other.node.shape[0] for other in ranks)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEdges(Movable):
    """The edges along which one step of messages goes further from the heads."""

    indptr: Indptr
    """One row for each entity of the batch that is reached after the step, which come first."""
    source: EdgeSource
    """Entities of the batch that are reached before the step."""
    relation: EdgeType
    """``query * 2 num_relations + relation``: every query has relations of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Movable):
    """How many in-edges of every relation some entities have."""

    indptr: Int64[Tensor, " entity_plus_one"]
    relation: Int64[Tensor, " entry"]
    value: Float[Tensor, " entry"]
    """``1 + log n`` for ``n`` edges, 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarEntities(Movable):
    """Candidates outside the subgraphs, and what is known of all candidates wherever they lie."""

    entity_id: Int64[Tensor, " far"]
    owner: Int64[Tensor, " far"]
    """The query that each is a candidate of; they come after the entities of the batch."""
    weight: Float[Tensor, " far"]
    """The logarithm of how many entities each stands for as a rival; 0 for an answer."""
    profile: Profile
    """Of the entities of the batch and of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathQueries(Movable):
    """Questions ``(head, relation, ?)``, each about a subgraph of its own.

    The subgraphs stand side by side in the batch; a query's head is the entity of its number, and
    its answers are sought among the entities of its subgraph.
    """

    relation: Int64[Tensor, " query"]
    owner: Int64[Tensor, " entity"]
    """The query to whose subgraph an entity of the batch belongs."""
    answer: Int64[Tensor, " answer"]
    """Candidates that are asked for, each the tail of its query."""
    known: Int64[Tensor, " known"]
    """Candidates that are true tails and not asked for: no answers, and no rivals."""
    steps: tuple[StepEdges, ...]
    """One for each layer."""
    step_answers: int
    """Answers of this step over all ranks, at least 1."""
    far: FarEntities | None = None
    """For a model that knows what lies outside the subgraphs."""

    @property
    def candidate_owner(self) -> Int64[Tensor, " candidate"]:
        """The query of every entity that has a score."""
        return self.owner if self.far is None else torch.cat([self.owner, self.far.owner])

    def of_step(self, ranks: Sequence[PathQueries]) -> PathQueries:
        """These, as part of what all ranks ask in a step."""
        return replace(self, step_answers=max(1, sum(len(other.answer) for other in ranks)))


Queries: TypeAlias = LinkQueries | NodeQueries | PathQueries


def number_asked(query: Queries) -> int:
    """How many questions there are."""
    return (query.node if isinstance(query, NodeQueries) else query.relation).shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRows(Movable):
    """The given features of those entities of a batch that have some, of one storage type."""

    entity: Int64[Tensor, " row"]
    """Local entity."""
    value: Float[Tensor, "row feature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRows(Movable):
    """What describes each entity of a batch that has no vector of its own."""

    anchor: Int64[Tensor, "entity nearest"]
    hop: Int64[Tensor, "entity nearest"]
    relation: Int64[Tensor, "entity relations"]


Given: TypeAlias = tuple[FeatureRows | TokenRows, ...]
"""One for each storage type with features, in the order of the model's maps; tokens last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubgraphBatch(Movable):
    """A sampled subgraph and what is asked of it; indices are local.

    Entities are numbered by their distance from the seeds, so that the entities within ``k``
    hops are the first ``hop_size[k]`` and their in-edges the first ``hop_edges[k]``.
    """

    entity_id: Int64[Tensor, " entity"]
    indptr: Indptr
    source: EdgeSource
    relation: EdgeType
    triple: Int64[Tensor, " edge"]
    """The train triple behind each message."""
    hop_size: tuple[int, ...]
    """Entities within 0, 1, … hops; the last is the number of entities."""
    hop_edges: tuple[int, ...]
    """In-edges of the entities within 0, 1, … hops, one number fewer than ``hop_size``."""
    query: Queries
    features: Given = ()
    degree: Int[Tensor, " entity"] | None = None
    """In-edges that each entity has in the whole graph, hidden ones included."""

    @property
    def num_entities(self) -> int:
        return self.hop_size[-1]

    def block(self, layer: int, num_layers: int) -> Block:
        """The edges of layer ``layer`` of ``num_layers``: its targets are nearer by one hop."""
        hop = num_layers - 1 - layer
        targets, edges = self.hop_size[hop], self.hop_edges[hop]
        return Block(
            indptr=self.indptr[: targets + 1],
            source=self.source[:edges],
            relation=self.relation[:edges],
            degree=None if self.degree is None else self.degree[: self.hop_size[hop + 1]],
        )
