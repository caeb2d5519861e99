"""What a survey finds, in plain numbers that JSON holds; entities and relations by id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from kgscale.data.splits import SPLITS
from kgscale.graph.survey.leaks import HeldOut
from kgscale.graph.survey.relations import RelationPair

SHARED: Final = {f"{one} and {other}": (one, other) for one, other in combinations(SPLITS, 2)}
"""Every two splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRow:
    """A relation; its facts count in the first split that has them."""

    train: int
    valid: int
    test: int
    loops: int
    heads: int
    tails: int
    combinations: int
    """Of heads and tails; where direction means nothing, of two of its ends, which are both."""
    reversed: int
    """Facts (h, r, t) of all splits of which (t, r, h) is one too."""
    told: int
    """Facts of test that train tells of, see :class:`HeldOut`."""
    symmetric: bool
    cartesian: bool
    constant: bool
    """Whether it has a single head or a single tail, in all splits."""

    @property
    def facts(self) -> int:
        return self.train + self.valid + self.test

    @property
    def density(self) -> float:
        """Share of all combinations of its heads and tails that it joins."""
        return self.facts / max(self.combinations, 1)

    @property
    def mutual(self) -> float:
        """Share of its facts, but for loops, that hold both ways."""
        return self.reversed / max(self.facts - self.loops, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Degrees:
    """Train facts of each entity that has any; a loop counts twice."""

    histogram: list[tuple[int, int]]
    """(degree, entities), ascending."""
    hubs: list[tuple[int, int]]
    """(entity, degree), the largest."""
    mean: float
    median: float
    most: int
    once: int
    """Entities with a single train fact."""
    hub_share: float
    """Of the ends of all facts, at the hundredth of the entities that has the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """Of labelled entities."""

    entities: dict[str, int]
    classes: int
    largest: float
    """Share of the train labels that the most frequent class has."""
    alone: int
    """Labelled entities without any train fact."""
    joined: int
    """Those that a fact of the graph joins to an entity that their label names."""
    joined_by: list[tuple[int, int]]
    """(relation, how many entities it joins so), the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All of it."""

    entities: int
    seen: int
    """Entities with a train fact."""
    unseen: int
    """Those that only valid or test have."""
    alone: int
    """Those without any fact."""
    undirected: bool
    shared: dict[str, int]
    """Facts that two splits have, by ``SHARED``."""
    held_out: dict[str, HeldOut]
    relations: list[RelationRow]
    pairs: list[RelationPair]
    degrees: Degrees
    components: list[tuple[int, int]]
    """(entities, how many such components), the largest first, of entities with a train fact."""
    labels: LabelCounts | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Survey:
        """From what JSON holds."""
        degrees = told["degrees"]
        tuples = {name: [tuple(row) for row in degrees[name]] for name in ("histogram", "hubs")}
        labels = told["labels"]
        if labels is not None:
            own_by = [tuple(row) for row in labels["joined_by"]]
            sizes = {split: labels["entities"][split] for split in SPLITS}
            labels = {**labels, "joined_by": own_by, "entities": sizes}
        own = {
            "shared": {splits: told["shared"][splits] for splits in SHARED},
            "held_out": {split: HeldOut(**told["held_out"][split]) for split in SPLITS[1:]},
            "relations": [RelationRow(**row) for row in told["relations"]],
            "pairs": [RelationPair(**row) for row in told["pairs"]],
            "degrees": Degrees(**{**degrees, **tuples}),
            "components": [tuple(row) for row in told["components"]],
            "labels": None if labels is None else LabelCounts(**labels),
        }
        return cls(**{**told, **own})

    def total(self, split: str) -> int:
        return sum(getattr(row, split) for row in self.relations)
