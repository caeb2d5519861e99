"""What a data set is before it is a store: facts and labels by key, read in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pyarrow as pa

from kgscale.data.audit import Audit
from kgscale.data.splits import SplitRule

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Some triples by key, all of one split."""

    split: str
    """``train``, ``valid`` or ``test`` as given, ``open`` if the split is still to be made."""
    head: pa.Array
    relation: pa.Array
    tail: pa.Array


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
class Reading:
    """One pass over a source; consume ``facts`` first, then the labels."""

    facts: Iterator[Facts]
    entities: Iterator[Labels] = field(default_factory=lambda: iter(()))
    relations: Iterator[Labels] = field(default_factory=lambda: iter(()))


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

    def read(self, audit: Audit) -> Reading:
        """Start a pass; what is refused or noteworthy goes to ``audit``."""
        ...
