"""Anchors of a graph, and which of them are near each entity: made once, kept beside the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from kgscale.batch import TokenRows
from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.store import GraphStore
from kgscale.kernels.anchors import frequent_relations, nearest_anchors

BY_DEGREE = 0.8
"""Share of the anchors that have the most edges; the others are drawn."""
FILES = ("anchor", "hop", "relation")


@dataclass(frozen=True, kw_only=True)
class AnchorSettings:
    """What is looked for.

    Args:
        count: anchors of the graph.
        nearest: those that describe an entity.
        hops: how far away they may be.
        relations: those that describe an entity, the most frequent of its edges.
        seed: of the drawn anchors.
    """

    count: int = 1000
    nearest: int = 20
    hops: int = 4
    relations: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "nearest", "hops", "relations"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"inputs.anchors.{name} needs a positive int, got {getattr(self, name)}"
                )
        if self.hops > 254:
            raise ConfigError(f"inputs.anchors.hops can be 254 at most, got {self.hops}")


@dataclass(frozen=True, slots=True)
class Anchors:
    """For each entity the numbers that describe it, mapped: what isn't asked for isn't read."""

    anchor: Tensor
    hop: Tensor
    relation: Tensor

    def gather(self, entity_id: Int64[Tensor, " entity"]) -> TokenRows:
        anchor, hop, relation = (
            part[entity_id].long() for part in (self.anchor, self.hop, self.relation)
        )
        return TokenRows(anchor=anchor, hop=hop, relation=relation)


def find_anchors(store: GraphStore, settings: AnchorSettings) -> Anchors:
    """Of the train edges; a graph with fewer entities has all of them as anchors."""

    def write(directory: Path) -> None:
        graph = store.adjacency()
        anchors = choose_anchors(graph, settings.count, seed=settings.seed)
        near = nearest_anchors(
            graph.indptr, graph.source, anchors, nearest=settings.nearest, hops=settings.hops
        )
        # Whoever has none is told by the same number in all graphs.
        near.anchor[near.hop > settings.hops] = settings.count
        kinds = frequent_relations(
            graph.indptr,
            graph.relation,
            count=settings.relations,
            num_relations=2 * graph.num_relations,
        )
        for name, found in zip(FILES, (*near, kinds), strict=True):
            np.save(directory / f"{name}.npy", found.numpy(), allow_pickle=False)

    path = store.derived("anchors", asdict(settings), write)
    return Anchors(
        *(
            torch.from_numpy(np.load(path / f"{name}.npy", mmap_mode="c", allow_pickle=False))
            for name in FILES
        )
    )


def choose_anchors(graph: Adjacency, count: int, *, seed: int) -> Int64[Tensor, " anchor"]:
    """Most of them by degree, as they are near to many; the others drawn, to reach the rest.

    Galkin et al. 2022 take two fifths by degree, two by PageRank (which prefers the same
    entities) and one at random.
    """
    degree = graph.indptr.long().diff()
    count = min(count, len(degree))
    order = degree.argsort(descending=True, stable=True)
    first = round(BY_DEGREE * count)
    generator = torch.Generator().manual_seed(seed)
    others = order[first:]
    drawn = others[torch.randperm(len(others), generator=generator)[: count - first]]
    return torch.cat([order[:first], drawn])
