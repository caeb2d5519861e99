"""A graph in memory as a data set: what other libraries' graphs become on their way to a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit
from kgscale.data.features import Features, NumberedFeatures
from kgscale.data.matrices import DenseMatrix, Matrix
from kgscale.data.source import (
    DEFAULT_TYPE,
    Facts,
    Labels,
    NodeLabelRows,
    Numbered,
    NumberedFacts,
    Reading,
)
from kgscale.data.splits import LabelRule, SplitRule
from kgscale.data.spool import Array

Ids: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Triples of a split; ends are numbers among all entities."""

    split: str
    """``train``, ``valid``, ``test``, or ``open`` where it is still to be made."""
    head: Ids
    relation: Sequence[str] | str
    """The key of each, or of all."""
    tail: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Labels of entities, one row for each (entity, label)."""

    entity: Ids
    label: Sequence[str | None]
    """``None``: the entity is asked about and has none."""
    split: NDArray[np.uint8]
    """Places in ``SPLITS``, or ``OPEN``."""
    numbers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedFeatures:
    """A row of numbers for each of some keys."""

    path: str
    type: str | None
    keys: Sequence[str]
    rows: Array

    def open(self, scratch: Path, add: Callable[[pa.Array], None]) -> Matrix:
        scratch.mkdir()
        add(pa.array(self.keys, pa.string()))
        return DenseMatrix(Path(self.path), self.rows)


@dataclass(slots=True, kw_only=True)
class MemoryGraph:
    """Entities are numbers among all, type after type in the order of the types' names."""

    name: str
    sizes: Mapping[str, int]
    """Entities of each type, a single ``DEFAULT_TYPE`` where there are none."""
    keys: Sequence[str] | None = None
    """Of all entities; ``None``: they are called by type and number, and all are kept, with edges
    or without."""
    names: Mapping[int, str] = field(default_factory=dict)
    classes: Sequence[tuple[int, str]] = ()
    """Pairs of an entity and a class; none: types are the classes."""
    relation_names: Mapping[str, str] = field(default_factory=dict)
    edges: Sequence[Edges]
    features: Mapping[str, Array] = field(default_factory=dict)
    """By type, a row for each of its entities."""
    targets: Targets | None = None
    undirected: bool = False
    split: SplitRule = field(default_factory=SplitRule)
    label_split: tuple[float | int, float | int, float | int] = (0.6, 0.2, 0.2)

    def describe(self) -> str:
        return "A graph of another library; its terms of use are yours to know."

    def digest(self) -> str:
        """Of its arrays."""
        about = hashlib.blake2b(repr((self.name, self.split, self.label_split)).encode())
        for edges in self.edges:
            about.update(repr((edges.split, edges.relation)).encode())
            for column in (edges.head, edges.tail):
                about.update(np.ascontiguousarray(column).data)
        for name, rows in self.features.items():
            about.update(name.encode())
            about.update(np.ascontiguousarray(rows).data)
        said = (self.sizes, self.keys, self.names, self.classes, self.relation_names)
        about.update(repr((*said, self.undirected)).encode())
        if (targets := self.targets) is not None:
            columns = (targets.entity.tolist(), list(targets.label), targets.split.tolist())
            about.update(repr((*columns, targets.numbers)).encode())
        return about.hexdigest()

    def stamp(self) -> tuple[str, float]:
        return self.digest(), 0.0

    @property
    def starts(self) -> dict[str, int]:
        """The number of each type's first entity."""
        return dict(zip(self.sizes, accumulate(self.sizes.values(), initial=0), strict=False))

    def read(self, audit: Audit, scratch: Path) -> Reading:
        numbered = None if self.keys is not None else Numbered(self.sizes)
        rule = LabelRule(ratio=self.label_split, seed=self.split.seed)
        if self.targets is not None and self.targets.numbers:
            rule = LabelRule(ratio=self.label_split, seed=self.split.seed, numbers=True)
        return Reading(
            facts=self._numbered_facts(audit) if numbered else self._facts(audit),
            numbered=numbered,
            entities=self._entities(),
            relations=self._relations(),
            node_labels=self._node_labels(),
            label_rule=None if self.targets is None else rule,
            features=self._features(),
            undirected=self.undirected,
        )

    def _facts(self, audit: Audit) -> Iterator[Facts]:
        keys = self._keys()
        for edges in self.edges:
            head, tail = keys.take(pa.array(edges.head)), keys.take(pa.array(edges.tail))
            audit.accept(len(head))
            yield Facts(split=edges.split, head=head, relation=_relation(edges), tail=tail)

    def _numbered_facts(self, audit: Audit) -> Iterator[NumberedFacts]:
        for edges in self.edges:
            audit.accept(len(edges.head))
            yield NumberedFacts(
                split=edges.split, head=edges.head, relation=_relation(edges), tail=edges.tail
            )

    def _keys(self) -> pa.Array:
        if self.keys is not None:
            return pa.array(self.keys, pa.string())
        prefix = Numbered(self.sizes).prefix
        return pa.array(
            [f"{prefix(kind)}{at}" for kind, size in self.sizes.items() for at in range(size)],
            pa.string(),
        )

    def _entities(self) -> Iterator[Labels]:
        keys = self._keys()
        if self.names:
            named = keys.take(pa.array(list(self.names), pa.int64()))
            yield Labels(key=named, name=pa.array(self.names.values(), pa.string()))
        if self.classes:
            entity, class_ = zip(*self.classes, strict=True)
            of = keys.take(pa.array(entity, pa.int64()))
            yield Labels(key=of, class_=pa.array(class_, pa.string()))
        if self.keys is not None and list(self.sizes) != [DEFAULT_TYPE]:
            kinds = np.repeat(list(self.sizes), list(self.sizes.values()))
            yield Labels(key=keys, type=pa.array(kinds.tolist(), pa.string()))

    def _relations(self) -> Iterator[Labels]:
        if self.relation_names:
            key, name = (pa.array(some, pa.string()) for some in _columns(self.relation_names))
            yield Labels(key=key, name=name)

    def _node_labels(self) -> Iterator[NodeLabelRows]:
        if (targets := self.targets) is not None:
            yield NodeLabelRows(
                key=self._keys().take(pa.array(targets.entity)),
                label=pa.array(targets.label, pa.string()),
                split=targets.split,
                file=f"labels of {self.name}",
                line=targets.entity + 1,
            )

    def _features(self) -> list[Features]:
        found: list[Features] = []
        for kind, rows in self.features.items():
            path = f"features of {kind}"
            if self.keys is None:
                found.append(NumberedFeatures(path=Path(path), type=kind, load=lambda _, x=rows: x))  # type: ignore[misc]
                continue
            start = self.starts[kind]
            keys = self.keys[start : start + len(rows)]
            found.append(KeyedFeatures(path=path, type=kind, keys=keys, rows=rows))
        return found


def _relation(edges: Edges) -> pa.Array:
    if isinstance(edges.relation, str):
        return pa.repeat(pa.scalar(edges.relation, pa.string()), len(edges.head))
    return pa.array(edges.relation, pa.string())


def _columns(names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(names), list(names.values())
