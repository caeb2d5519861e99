"""What is propagated, how far and over which relations; and from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from kgscale.errors import ConfigError
from kgscale.graph.adjacency import Adjacency
from kgscale.graph.catalog import EntityType
from kgscale.graph.labels import NodeLabels
from kgscale.graph.store import GraphStore

Paths = Literal["all", "metapaths", "subsets"]
Normalize = Literal["mean", "symmetric"]

LEAST = {"hops": 0, "subsets": 1, "label_hops": 0, "folds": 0, "profile": 1, "max_paths": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """Settings of a propagation; each stands below ``strategy`` under the same name."""

    hops: int = 2
    """Steps of the longest map; 0 leaves the features as they are."""
    paths: Paths = "all"
    """One map a hop over all relations together (SGC, SIGN), over each of several random subsets
    of them (NARS), or over each sequence of relations by itself (SeHGNN)."""
    normalize: Normalize = "mean"
    """The mean over in-edges; or symmetric with self loops, for ``all`` of one type of entity."""
    normalize_rows: bool = False
    """Divide an entity's features by the sum of their absolute values first."""
    subsets: int = 8
    """How many subsets, the first of which is all relations."""
    label_hops: int = 0
    """Steps that train labels go, 2 at most."""
    folds: int = 0
    """Times that all is made again without a share of the triples, for questions about links; 0
    for questions about nodes: then maps end at the types that have labels."""
    profile: int = 128
    """Columns made of an entity's counts of relations where nothing has features."""
    max_paths: int = 64
    """Sequences of relations beyond which ``metapaths`` is refused."""
    seed: int = 0
    """Of subsets, folds and the profile's projection."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f"strategy.{name} needs an int of at least {least}, got {getattr(self, name)}"
                )
        for name, offered in (("paths", Paths), ("normalize", Normalize)):
            value = getattr(self, name)
            if value not in get_args(offered):
                known = ", ".join(get_args(offered))
                raise ConfigError(f"strategy.{name} is one of {known}; got {value!r}")
        if self.normalize == "symmetric" and self.paths != "all":
            raise ConfigError(
                f"strategy.normalize=symmetric goes over all relations together, but"
                f" strategy.paths is {self.paths}: set strategy.normalize=mean"
            )
        if self.folds == 1:
            raise ConfigError("strategy.folds needs an int of at least 2: one holds every triple")
        if self.label_hops > 2:
            raise ConfigError(f"strategy.label_hops is 0, 1 or 2, got {self.label_hops}")
        if self.label_hops and self.folds:
            raise ConfigError(
                f"strategy.label_hops={self.label_hops} gives away labels of nodes, and links are"
                " asked for: set strategy.label_hops=0"
            )

    def about(self, *, profiled: bool) -> dict[str, Any]:
        """What the maps depend on."""
        told: dict[str, Any] = {"hops": self.hops, "paths": self.paths, "folds": self.folds}
        told |= {"normalize": self.normalize, "label_hops": self.label_hops}
        if self.paths == "subsets":
            told["subsets"] = self.subsets
        if profiled:
            told["profile"] = self.profile
        else:
            told["normalize_rows"] = self.normalize_rows
        if self.folds or profiled or self.paths == "subsets":
            told["seed"] = self.seed
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """The parts of a store that a propagation reads."""

    graph: Adjacency
    types: Sequence[EntityType]
    features: Mapping[int, Tensor]
    """By the place of the type; those that have some."""
    relation_names: Sequence[str]
    labels: NodeLabels | None = None

    @classmethod
    def of(cls, store: GraphStore) -> Ingredients:
        return cls(
            graph=store.adjacency(),
            types=store.types,
            features=store.features(),
            relation_names=store.relation_names(list(range(store.num_relations))),
            labels=store.labels(),
        )

    @property
    def everything(self) -> EntityType:
        """All entities, as one range."""
        name = self.types[0].name if len(self.types) == 1 else "all"
        return EntityType(name=name, start=0, stop=self.types[-1].stop)

    def relation_name(self, relation: int) -> str:
        """In words, of a relation or a reciprocal one."""
        size = self.graph.num_relations
        name = self.relation_names[relation % size]
        return name if relation < size else f"inverse {name}"

    def labelled(self) -> list[EntityType]:
        """The types of which some entity has a label."""
        if self.labels is None:
            return []
        bounds = self.labels.indptr
        return [kind for kind in self.types if bounds[kind.stop] > bounds[kind.start]]
