"""What a task's model and strategy see of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import Given
from kgscale.data.splits import SPLITS
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.anchors import AnchorSettings, find_anchors
from kgscale.graph.asked import Questions
from kgscale.graph.catalog import EntityType
from kgscale.graph.gather import StoredFeatures
from kgscale.graph.labels import NodeLabels
from kgscale.graph.partition import Partition, partition
from kgscale.graph.propagate import (
    Ingredients,
    MapSpec,
    Propagated,
    Propagation,
    map_specs,
    propagate,
)
from kgscale.graph.store import GraphStore
from kgscale.inference.embed import Features, no_features
from kgscale.sampling.precomputed import Propagator
from kgscale.types import Triples


@dataclass(frozen=True, kw_only=True)
class GraphParts:
    """Of a store, or of a graph of one triple on which settings are tried."""

    graph: Adjacency
    """Train edges, the only ones that carry messages."""
    known: Adjacency
    asked_links: Adjacency | None = None
    """Train triples that are asked, where these carry no messages."""
    valid: Triples
    labels: NodeLabels | None
    benchmark: str | None = None
    asked: Questions | None = None
    """What the benchmark asks of validation."""
    relations: tuple[str, ...] = ()
    """Their keys."""
    types: list[dict[str, Any]]
    """Storage types with ``name``, ``start``, ``stop`` and the number of ``features``."""
    features: Features
    partition: Callable[..., Partition]
    propagate: Propagator
    foresee: Propagator
    """What the maps will be, without rows."""

    @classmethod
    def of(cls, store: GraphStore, inputs: Mapping[str, Any]) -> GraphParts:
        """``inputs``: settings of what entities bring, as a model's specification has them."""
        matrices = store.features()
        return cls(
            graph=store.adjacency(),
            known=store.adjacency(known=True),
            asked_links=store.asked_links(),
            valid=store.triples("valid"),
            labels=store.labels(),
            benchmark=store.benchmark,
            asked=store.asked("valid"),
            relations=tuple(store.relation_keys(list(range(store.num_relations)))),
            types=[
                _type(kind, matrices[at].shape[1] if at in matrices else 0)
                for at, kind in enumerate(store.types)
            ],
            features=features_of(store, inputs),
            partition=partial(partition, store),
            propagate=partial(propagate, store),
            foresee=cache(partial(_foreseen, store)),
        )

    @classmethod
    def toy(cls, *, relation: str = "", users: str = "", items: str = "") -> GraphParts:
        """Two entities that a triple joins, of two types if these are called otherwise."""
        one = torch.tensor([1, 0], dtype=torch.int32)
        graph = Adjacency(
            indptr=torch.tensor([0, 1, 2], dtype=torch.int32),
            source=one,
            relation=one,
            triple=torch.zeros(2, dtype=torch.int32),
            num_relations=1,
        )
        labels = NodeLabels(
            indptr=torch.tensor([0, 1, 2]),
            label_id=torch.tensor([0, 1], dtype=torch.int32),
            split=torch.tensor([0, 1], dtype=torch.uint8),
            names=["0", "1"],
        )
        return cls(
            graph=graph,
            known=graph,
            valid=torch.tensor([[0, 0, 1]]),
            labels=labels,
            relations=(relation,),
            types=(
                [_type(EntityType(name=users, start=0, stop=2), 0)]
                if users == items
                else [
                    _type(EntityType(name=name, start=at, stop=at + 1), 0)
                    for at, name in enumerate((users, items))
                ]
            ),
            features=no_features,
            partition=_unused,
            propagate=_one_map,
            foresee=_one_map,
        )

    def miniature(self) -> GraphParts:
        """The toy with this graph's relations, types, classes and maps without rows: all of a model
        but its table."""
        toy = GraphParts.toy()
        assert toy.labels is not None
        graph = replace(toy.graph, num_relations=self.graph.num_relations)
        types = [
            {**kind, "start": number, "stop": number + 1} for number, kind in enumerate(self.types)
        ]
        labels = None if self.labels is None else replace(toy.labels, names=self.labels.names)
        return replace(
            toy,
            graph=graph,
            known=graph,
            labels=labels,
            relations=self.relations,
            types=types,
            propagate=self.foresee,
            foresee=self.foresee,
        )

    @property
    def num_entities(self) -> int:
        return self.graph.indptr.shape[0] - 1


def some_of(triples: Triples, number: int | None) -> Int64[Tensor, "some 3"]:
    """At most so many of them, drawn once and for all seeds of a run; all without a number."""
    if number is None or number >= len(triples):
        return triples
    generator = torch.Generator().manual_seed(number)
    return triples[torch.randperm(len(triples), generator=generator)[:number]]


def rows_of(store: GraphStore, split: str) -> tuple[int, int]:
    """Where a split begins and ends among all triples."""
    start = sum(store.num_triples[name] for name in SPLITS[: SPLITS.index(split)])
    return start, start + store.num_triples[split]


def features_of(store: GraphStore, inputs: Mapping[str, Any]) -> Features:
    """Reads the features of a store's entities, where it has any, and the anchors near them, where
    the inputs of a model ask for them."""
    matrices = store.features()
    given = StoredFeatures(store.types, matrices).gather if matrices else no_features
    if "anchors" not in inputs:
        return given
    names = [field.name for field in fields(AnchorSettings)]
    anchors = find_anchors(store, AnchorSettings(**{n: inputs["anchors"][n] for n in names}))

    def gather(entity_id: Int64[Tensor, " entity"]) -> Given:
        return (*given(entity_id), anchors.gather(entity_id))

    return gather


def _type(kind: EntityType, features: int) -> dict[str, Any]:
    return {"name": kind.name, "start": kind.start, "stop": kind.stop, "features": features}


def _foreseen(store: GraphStore, settings: Propagation) -> Propagated:
    maps = map_specs(Ingredients.of(store), settings)
    rows = [torch.empty(spec.stop - spec.start, spec.dim, device="meta") for spec in maps]
    return Propagated(maps, rows, [rows] * settings.folds)


def _one_map(settings: Propagation) -> Propagated:
    spec = MapSpec(name="", kind="feature", source="", hop=settings.hops, dim=1, start=0, stop=2)
    rows = [torch.zeros(2, 1)]
    return Propagated([spec], rows, [rows] * settings.folds)


def _unused(**_: Any) -> Partition:
    raise AssertionError("a rehearsal cuts no graph")
