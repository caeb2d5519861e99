"""What a data set is before it is a store: facts, and what is known about keys, in chunks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgscale.data.audit import Audit, Tell
from kgscale.data.features import Features
from kgscale.data.splits import LabelRule, SplitRule

DEFAULT_TYPE = "entity"
"""The storage type of entities about which nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLabelRows:
    """What node classification asks for, by key: one row per (key, label)."""

    key: pa.Array
    label: pa.Array
    """Null: the key is in the split, and has none of the labels."""
    split: NDArray[np.uint8]
    """Its place in ``SPLITS``; ``OPEN`` if it is still to be made, ``NO_SPLIT`` to leave it out."""
    file: str
    line: NDArray[np.int64]


Role = Literal["both", "asked", "head", "tail"]
"""Messages both ways; no message, but a question to train on; a message to the head, or to the
tail, alone. Where some are asked, no others are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Some triples by key, all of one split."""

    split: str
    """``train``, ``valid`` or ``test`` as given, ``open`` if the split is still to be made."""
    head: pa.Array
    relation: pa.Array
    tail: pa.Array
    role: Role = "both"
    """What train triples are for."""
    node_labels: NodeLabelRows | None = None
    """Triples of the same chunk that are labels, and no facts."""

    def filter(self, keep: pa.Array) -> Facts:
        columns = (column.filter(keep) for column in (self.head, self.relation, self.tail))
        head, relation, tail = columns
        return replace(self, head=head, relation=relation, tail=tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedFacts:
    """Some triples of ``Numbered`` entities, or of ``earlier`` ones, all of one split."""

    split: str
    head: NDArray[np.int64]
    relation: pa.Array
    """Keys."""
    tail: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Numbered:
    """Entities that are numbers in the input, from 0 for each type: they become ids as they are.

    All of them are entities, with facts or without. Facts have the number of an entity among all,
    the types in the order of their names: ``starts`` of its type and its own.
    """

    sizes: Mapping[str, int]
    """By type; a single ``DEFAULT_TYPE`` where there are none."""

    @property
    def starts(self) -> dict[str, int]:
        names = sorted(self.sizes, key=_in_order)
        ends = itertools.accumulate((self.sizes[name] for name in names), initial=0)
        return dict(zip(names, ends, strict=False))

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    def prefix(self, type: str) -> str:
        """What stands before the number in an entity's key."""
        return "" if type == DEFAULT_TYPE else f"{type}:"


def _in_order(type: str) -> tuple[bool, bytes]:
    """As a store has types: without one first, the others by their bytes."""
    return type != DEFAULT_TYPE, type.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known about keys besides facts; a key without facts is counted and left out."""

    key: pa.Array
    name: pa.Array | None = None
    type: pa.Array | None = None
    """Storage type: one per entity."""
    class_: pa.Array | None = None
    """One row per (key, class)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Numbers of entities, a row for each question: ``number[i] + start[i]`` among all."""

    number: NDArray[np.integer]
    """``[question, candidate]``, perhaps mapped."""
    start: NDArray[np.int64] | int = 0

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        start = self.start if isinstance(self.start, int) else self.start[first:last, None]
        return self.number[first:last].astype(np.int64) + start


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a benchmark asks of a split, in its own order; entities are numbers among all."""

    split: str
    head: NDArray[np.integer]
    """For questions about entities alone, these."""
    relation: pa.Array | None = None
    """Keys; ``None`` if entities alone are asked about."""
    tail: NDArray[np.integer] | None = None
    """``None`` where the benchmark keeps the answers."""
    head_negative: Candidates | None = None
    tail_negative: Candidates | None = None
    other: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None
    """Heads and tails of pairs that are not joined, the rivals of all questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One pass over a source; consume ``facts`` first, then what is said about their keys."""

    facts: Iterator[Facts] | Iterator[NumberedFacts] | Iterator[Facts | NumberedFacts]
    numbered: Numbered | None = None
    """If the facts have numbers for entities."""
    earlier: Iterator[pa.Array] = field(default_factory=lambda: iter(()))
    """Keys of entities that facts may name by their place here; consume it before the facts."""
    entities: Iterator[Labels] = field(default_factory=lambda: iter(()))
    relations: Iterator[Labels] = field(default_factory=lambda: iter(()))
    node_labels: Iterator[NodeLabelRows] = field(default_factory=lambda: iter(()))
    label_rule: LabelRule | None = None
    """How node labels are checked and divided; ``None``: there are none."""
    features: Sequence[Features] = ()
    benchmark: str | None = None
    """The name under which OGB measures it."""
    roles: bool = False
    """Whether train triples have other roles than messages both ways."""
    undirected: bool = False
    """Whether relations hold both ways; each triple comes one way."""
    asked: Iterator[Asked] = field(default_factory=lambda: iter(()))
    """Of ``numbered`` entities; consume it after the facts."""


@runtime_checkable
class Source(Protocol):
    """A data set."""

    name: str
    split: SplitRule
    """How open facts are divided."""

    def describe(self) -> str:
        """Origin and terms of use, one short paragraph."""
        ...

    def digest(self) -> str:
        """Hash of the inputs' content and of the settings that change the result."""
        ...

    def stamp(self) -> tuple[str, float]:
        """A cheap sign of what ``digest`` would hash, and when an input last changed.

        Two equal stamps mean equal digests, unless the last change was moments ago.
        """
        ...

    def read(self, audit: Audit, scratch: Path) -> Reading:
        """Start a pass; what is refused or noteworthy goes to ``audit``.

        ``scratch`` is an empty directory for what must be unpacked; it lasts as long as the pass.
        """
        ...


@runtime_checkable
class Ready(Protocol):
    """A data set that is a store already."""

    store_path: Path


@runtime_checkable
class Fetched(Protocol):
    """A data set that may have to be fetched first."""

    def wanted(self) -> str | None:
        """What would be fetched, and how large it is; nothing if all is there, or not allowed."""
        ...

    def fetch(self, tell: Tell) -> None:
        """Fetch it, if it is wanted."""
        ...
